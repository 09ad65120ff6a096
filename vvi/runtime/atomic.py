"""Files that appear whole or not at all, and work that one process does at a time: what makes `kill -9` harmless."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import threading
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path

HALF = ".part"  # ends the name of a file that is being written


class WriteError(OSError):
    """A file could not be written; the message names where and why. What was there before is as it was."""


def write(path: Path, content: bytes) -> None:
    """Write one file whole or not at all."""
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of one folder, the last of which tells a reader that the others are there.

    Everything is on the disk before anything old is touched, so a full disk costs nothing; the last is missing while the others change, so a reader never meets a mixture; and
    where the system refuses in between, what was there is put back.
    """
    halves, before = (
        {name: folder / f".{name}.{os.getpid()}{end}" for name in contents}
        for end in (HALF, f".old{HALF}")
    )
    *_, last = contents
    with os_errors_explained(folder):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, half in halves.items():
                _write(half, contents[name])
            if len(contents) > 1 and (folder / last).exists():
                for name in contents:
                    link(folder / name, before[name])
                (folder / last).unlink()
            for name, half in halves.items():
                os.replace(half, folder / name)
        except BaseException:
            with contextlib.suppress(OSError):
                for name, old in before.items():
                    if old.exists():
                        os.replace(old, folder / name)
            raise
        finally:
            for half in (*halves.values(), *before.values()):
                with contextlib.suppress(OSError):
                    half.unlink(missing_ok=True)


def link(source: str | Path, target: str | Path) -> None:
    """A second name for a file; a copy on a file system without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.contextmanager
def os_errors_explained(place: Path) -> Iterator[None]:
    """Any refusal of the system in here as one line: where, why, and that nothing is lost."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(
            f"cannot write {place}: {error.strerror or error}; what was there is as it was, the same command goes on from it"
        ) from error


@contextlib.contextmanager
def exclusive_lock(target: Path) -> Iterator[None]:
    """One process at a time for a file or folder, which need not exist yet; others wait, and are told for whom. The system frees the lock when its holder dies.

    Inside, what a killed holder left half-written in the folder, or beside the file, is removed.
    """
    import fcntl

    target = target.absolute()  # "." has no name to make a lock of
    lock = target.with_name(f".{target.name}.lock")
    with os_errors_explained(target):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock, target)
    try:
        for half in (
            target.glob(f".*{HALF}")
            if target.is_dir()
            else target.parent.glob(f".{target.stem}.*{HALF}")
        ):
            if (
                half.is_file()
            ):  # the folder in which another target is being made may be called so
                half.unlink()
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        fcntl.flock(
            handle, fcntl.LOCK_UN
        )  # also for children that inherited the handle
        os.close(handle)


def quit_with_parent() -> None:
    """End a worker soon after the process that started it, rather than go on for nobody.

    A process whose parent is gone gets another parent, whichever way it was started.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _write(half: Path, content: bytes) -> None:
    with open(half, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _locked(lock: Path, target: Path) -> int:
    """The handle of a lock file that is ours and still the one that others will find: a holder removes it on the way out."""
    import fcntl

    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(handle, 200, 0).decode() or "another process"
                warnings.warn(
                    f"{holder} works on {target}: waiting until it is done",
                    stacklevel=4,
                )
                fcntl.flock(handle, fcntl.LOCK_EX)
            if _is_at(handle, lock):
                os.ftruncate(handle, 0)
                os.pwrite(
                    handle, f"process {os.getpid()} on {platform.node()}".encode(), 0
                )
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
