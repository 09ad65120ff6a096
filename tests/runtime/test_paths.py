import pytest

from vvi.data import crops, open_dataset
from vvi.runtime import atomic, paths
from vvi.video import own

FOLDERS = {
    "VVI_CACHE": paths.cache,
    "VVI_RUNS": paths.runs,
    "VVI_FIGURES": paths.figures,
}


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("inside", ["", "deeper/still"])
def test_a_file_where_a_variable_wants_a_folder_is_named(
    name, inside, tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    monkeypatch.setenv(name, str(tmp_path / "file" / inside))
    with pytest.raises(NotADirectoryError, match=f"{name}=.*file is a file: set it to"):
        FOLDERS[name]()


@pytest.mark.parametrize("name", FOLDERS)
def test_a_folder_that_is_not_there_yet_is_taken(name, tmp_path, monkeypatch):
    monkeypatch.setenv(name, str(tmp_path / "new" / "one"))
    assert FOLDERS[name]() == tmp_path / "new" / "one"


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("text", ["", "  "])
def test_an_empty_variable_counts_as_unset(name, text, monkeypatch):
    monkeypatch.setenv(name, text)
    monkeypatch.setenv("VVI_DATA", text)
    assert FOLDERS[name]().parent == paths.root()
    assert paths.real_data() is None


@pytest.mark.parametrize("name", ["VVI_ROOT", "VVI_CACHE", "VVI_RUNS"])
def test_the_home_folder_is_filled_in_everywhere(name, tmp_path, monkeypatch):
    (tmp_path / "here" / "vvi").mkdir(parents=True)
    (tmp_path / "here" / paths.CONFIG).touch()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(name, "~/here")
    readers = {"VVI_ROOT": paths.root, **FOLDERS}
    assert readers[name]() == tmp_path / "here"


def test_a_folder_that_is_no_repository_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_ROOT", str(tmp_path))
    with pytest.raises(FileNotFoundError, match="has no _config.yml and vvi/"):
        paths.root()


@pytest.mark.parametrize("name", ["VVI_ROOT", "VVI_DATA", *FOLDERS])
def test_a_user_whom_nobody_knows_is_named(name, monkeypatch):
    monkeypatch.setenv(name, "~nobody-here/data")
    readers = {"VVI_ROOT": paths.root, "VVI_DATA": paths.real_data, **FOLDERS}
    with pytest.raises(ValueError, match="no home folder is known for ~nobody-here"):
        readers[name]()


def test_readers_name_a_user_whom_nobody_knows():
    with pytest.raises(ValueError, match="no home folder is known for ~nobody-here"):
        open_dataset("~nobody-here/set")
    with pytest.raises(ValueError, match="no home folder is known for ~nobody-here"):
        crops.read("~nobody-here/night", "ir")
    with pytest.raises(ValueError, match="no home folder is known for ~nobody-here"):
        own.embed("~nobody-here/night", None, "ir")


@pytest.mark.parametrize(
    "text, wanted", [("Yes", True), ("off", False), ("none", None), (" ", None)]
)
def test_strictness_is_read_as_other_switches_are(text, wanted, monkeypatch):
    monkeypatch.setenv("VVI_STRICT", text)
    assert paths.strictness() is wanted


def test_advice_to_go_on_is_given_only_where_it_helps(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="as it was, choose a folder that can be written"):
        atomic.write(tmp_path / "file" / "new.txt", b"")
