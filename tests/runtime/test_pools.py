"""A pool starts from wherever Python reads its program: no guard, no file needed."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

import pytest

from vvi.runtime import pools

DRAW = """
from vvi.data import synthetic
from vvi.data.synthetic.presets import Plan, Preset
small = Preset("small", Plan(4, full=0, last=(12, 13)), Plan(2, full=0), 32, 16)
print(synthetic.write("set", small, workers=2, progress=False))
"""
SWEEP = """
from vvi.experiment import executors
with executors.connect("processes", 1) as pool:
    print(sum(pool.map(abs, range(-9, 1))))
"""

WAIT = """
import signal

# a shell that starts a program in the background lets it ignore interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
import time
from vvi.runtime import pools
def wait(number): time.sleep(60)
with pools.processes(2) as pool:
    print("here", flush=True)
    list(pool.map(wait, range(9)))
"""


@pytest.mark.parametrize(
    ("program", "says", "place"),
    [
        (DRAW, "set", "a script"),
        (DRAW, "set", "a pipe"),
        (DRAW, "set", "the command line"),
        (SWEEP, "45", "a script"),
    ],
)
def test_a_program_without_a_guard_ends(tmp_path, program, says, place):
    """Both take their processes from `pools`, so one place is enough for the second."""
    (tmp_path / "script.py").write_text(program)
    what = {
        "a script": ["script.py"],
        "a pipe": ["-"],
        "the command line": ["-c", program],
    }
    done = subprocess.run(
        [sys.executable, *what[place]],
        input=program if place == "a pipe" else None,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=tmp_path,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [says]


def test_each_process_is_prepared_once_before_its_first_task(tmp_path):
    def prepare():
        (tmp_path / str(os.getpid())).touch()

    with pools.processes(2, prepare) as pool:
        found = list(pool.map(lambda _: os.getpid(), range(20)))
    assert {str(pid) for pid in found} <= {path.name for path in tmp_path.iterdir()}
    assert os.getpid() not in found


@pytest.mark.parametrize("seconds", [0.1, 4])
def test_an_interrupt_is_for_the_process_that_started_the_others(tmp_path, seconds):
    """While they start, and while they work, the terminal sends it to them, too."""
    script = tmp_path / "script.py"
    script.write_text(WAIT)
    started = subprocess.Popen(
        [sys.executable, script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert started.stdout.readline() == "here\n"
        time.sleep(seconds)
        os.killpg(started.pid, signal.SIGINT)
        _, said = started.communicate(timeout=30)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
    assert said.count("Traceback") == 1 and said.endswith("\nKeyboardInterrupt\n")
