"""The page "Use it on your own data" does what it says: its commands and its Python, in
their order.
"""

import re
import shlex
import sys
from pathlib import Path

import own_people
import pytest

from vvi.cli.main import main

PAGE = Path(__file__).parent.parent / "book" / "own_data.md"
BLOCK = re.compile(
    r"^```(bash|python|\{code-block\} python\n:caption: (\S+))\n(.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture
def here(tiny_root, tmp_path, monkeypatch):
    """What the page asks its reader to bring: crops of the night, tracklets of the day."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    for name in ("RUNS", "CACHE", "FIGURES"):
        monkeypatch.setenv(f"VVI_{name}", str(tmp_path / name.lower()))
    own_people.write(tiny_root, tmp_path)
    return tmp_path


def test_the_page_does_what_it_says(here, capsys):
    shown, scope, count = "", {}, 0
    for language, file, content in BLOCK.findall(PAGE.read_text()):
        if file:
            (here / file).write_text(content.lstrip("\n"))
        elif language == "python":
            exec(compile(content, PAGE.name, "exec"), scope)
        else:
            for line in content.splitlines():
                command = shlex.split(line, comments=True)
                assert command[0] == "vvi" and main(command[1:]) == 0, line
                count += 1
        shown += capsys.readouterr().out
    assert count == 12
    written = (
        "day.features.npz",
        "day.features.csv",
        "ranked.csv",
        "ranked.png",
        "night.features.npz",
        "known.csv",
        "video.csv",
        "video.png",
        "lists.png",
    )
    assert [name for name in written if not (here / name).is_file()] == []
    assert (
        "right" in (here / "known.csv").read_text()
        and "night.mp4/track" in (here / "video.csv").read_text()
    )
    assert shown.count("re-ranked") == 2 and shown.count("query in gallery  ") == 5


def test_every_command_and_option_that_it_names_exists(capsys):
    for command in re.findall(r"`(vvi [a-z][^`]*)`", PAGE.read_text()):
        with pytest.raises(SystemExit) as ended:
            main([command.split()[1], "--help"])
        helped = capsys.readouterr().out
        assert ended.value.code == 0 and all(
            flag in helped for flag in re.findall(r"--[\w-]+", command)
        ), command
