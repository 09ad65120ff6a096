"""Kernels of notebooks that are forked off one server, which has imported torch."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping

from interrupted import CONTEXT


class Kernel:
    """A kernel in a process of its own, as Jupyter expects one from Popen."""

    stdin = stdout = stderr = None

    def __init__(
        self,
        command: list[str],
        env: Mapping[str, str],
        cwd: str | None = None,
        **unused: object,
    ):
        module = command.index("-m")
        assert command[module + 1] == "ipykernel_launcher", command
        given = (command[module + 2 :], dict(env), cwd or os.getcwd())
        self._process = CONTEXT.Process(target=_serve, args=given)
        self._process.start()
        self.pid = self._process.pid
        while self.poll() is None and os.getpgid(self.pid) != self.pid:
            time.sleep(0.005)  # its group is killed with it: not yet that of the server

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self) -> int | None:
        self._process.join()
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)


def _serve(arguments: list[str], env: dict[str, str], cwd: str) -> None:
    """Be a kernel, with the environment and in the folder of whoever starts it."""
    os.setsid()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = ["ipykernel_launcher", *arguments]
    from ipykernel import kernelapp

    kernelapp.launch_new_instance()
