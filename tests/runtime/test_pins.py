"""A name with a digest belongs to one content."""

import pytest

from vvi.runtime import pins


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("VVI_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_file_is_named_by_its_content_and_outlives_its_path(here):
    (here / "a.pt").write_bytes(b"one")
    (here / "b.pt").write_bytes(b"one")
    name = pins.pin_file(here / "a.pt")
    assert name == pins.pin_file(here / "b.pt") and name.startswith("file:")
    (here / "a.pt").write_bytes(b"two")
    assert pins.pin_file(here / "a.pt") != name
    assert pins.pinned_file(name).read_bytes() == b"one"


def test_a_file_that_this_machine_never_saw_is_asked_for_again():
    with pytest.raises(FileNotFoundError, match="give the file again, weights=FILE"):
        pins.pinned_file("file:0123456789ab")


def test_a_function_is_named_with_the_digest_of_its_source(here):
    (here / "pinned_here.py").write_text("def trunk():\n    return 1\n")
    name = pins.pin_function("pinned_here:trunk")
    assert name == pins.pin_function(name) and name.startswith("pinned_here:trunk@")
    assert pins.pinned_function(name)() == 1
    (here / "pinned_here.py").write_text("def trunk():\n    return 2\n")
    assert pins.pin_function("pinned_here:trunk") != name
    assert pins.pinned_function("pinned_here:trunk")() == 2, "the code is the new one"
    with pytest.raises(ValueError, match="has changed since this run was made"):
        pins.pinned_function(name)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("mine.py:trunk", "is not module:function"),
        ("mine:", "is not module:function"),
        (":trunk", "is not module:function"),
        ("folder/mine:trunk", "is not module:function"),
        ("no_such_module:trunk", "no module no_such_module in this folder"),
        ("broken_here:trunk", "broken_here fails with NameError"),
        ("json:nothing", "json has no function nothing"),
        ("json:__name__", "json has no function __name__"),
    ],
)
def test_what_is_no_function_is_refused_in_one_line(name, said, here):
    (here / "broken_here.py").write_text("oops\n")
    with pytest.raises(ValueError, match=said) as caught:
        pins.pin_function(name)
    assert "\n" not in str(caught.value)
