"""Files that appear whole or not at all, and work that one process does at a time.

Both together make `kill -9` harmless.
"""

from __future__ import annotations

import contextlib
import errno
import os
import platform
import re
import shutil
import threading
import time
import warnings
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

HALF = ".part"  # ends the name of a file that is being written
#: Refusals that the same command meets again.
LASTING = (errno.EACCES, errno.EEXIST, errno.ENOTDIR, errno.EPERM, errno.EROFS)


class WriteError(OSError):
    """A file could not be written: the message names where and why.

    What was there before is as it was.
    """


def write(path: Path, content: bytes) -> None:
    """Write one file whole or not at all."""
    write_all(path.parent, {path.name: content})


def write_all(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files of one folder, of which the last tells that the others are there.

    Everything is on the disk before anything old is touched, so a full disk costs
    nothing. The last is missing while the others change, so a reader never meets a
    mixture. Where the system refuses in between, what was there is put back.

    Args:
        folder: made where it is missing.
        contents: name -> content.

    Raises:
        WriteError: the system refuses. The message names the last file.
    """
    mark = f"{os.getpid()}"
    placed: list[str] = []
    halves = {name: folder / f".{name}.{mark}{HALF}" for name in contents}
    before = {name: folder / f".{name}.{mark}.old{HALF}" for name in contents}
    *_, last = contents
    with os_errors_explained(folder / last):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for name, half in halves.items():
                _write(half, contents[name])
            _set_aside(folder, before)
            for name, half in halves.items():
                os.replace(half, folder / name)
                placed.append(name)
        except BaseException:
            _put_back(folder, before, placed)
            raise
        finally:
            for half in (*halves.values(), *before.values()):
                with contextlib.suppress(OSError):
                    half.unlink(missing_ok=True)


def _set_aside(folder: Path, before: Mapping[str, Path]) -> None:
    """Link old files to second names, and remove the one that tells of the others."""
    *_, last = before
    if len(before) > 1 and (folder / last).exists():
        for name, old in before.items():
            if (folder / name).exists():
                link(folder / name, old)
        (folder / last).unlink()


def _put_back(
    folder: Path, before: Mapping[str, Path], placed: Collection[str]
) -> None:
    """Move old files back to where they were.

    Args:
        folder: of the files.
        before: name -> second name of the old file.
        placed: names of the new files that are there already. Where the old files are
            put back, those without an old one go.
    """
    *_, last = before
    with contextlib.suppress(OSError):
        was_whole = before[last].exists()
        for name, old in before.items():
            if old.exists():
                os.replace(old, folder / name)
            elif was_whole and name in placed:
                (folder / name).unlink(missing_ok=True)


def link(source: str | Path, target: str | Path) -> None:
    """Give a file a second name, or copy it on a file system without links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


@contextlib.contextmanager
def os_errors_explained(path: Path) -> Iterator[None]:
    """Turn any refusal of the system in here into one line.

    It says where, why, and that nothing is lost.

    Raises:
        WriteError: in place of any OSError.
    """
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        cure = "the same command goes on from it"
        if error.errno in LASTING:
            cure = "choose a folder that can be written"
        raise WriteError(
            f"cannot write {path}: {error.strerror or error}; what was there is as it "
            f"was, {cure}"
        ) from error


@contextlib.contextmanager
def exclusive_lock(target: Path) -> Iterator[None]:
    """Let one process at a time work on a file or folder, which need not exist yet.

    Others wait, and a warning says for whom. The system frees the lock when its holder
    dies. Inside, what a killed holder left half-written in the folder, or beside the
    file, is removed.
    """
    import fcntl

    target = target.absolute()  # "." has no name to make a lock of
    lock = target.with_name(f".{target.name}.lock")
    with os_errors_explained(target):
        lock.parent.mkdir(parents=True, exist_ok=True)
        handle = _locked(lock, target)
    try:
        _remove_halves(target)
        yield
    finally:
        with contextlib.suppress(OSError):
            lock.unlink()
        # also for children that inherited the handle
        fcntl.flock(handle, fcntl.LOCK_UN)
        os.close(handle)


def _remove_halves(target: Path) -> None:
    """Remove what a killed holder left half-written.

    The folder in which another target is being made may be called so: it stays.
    """
    if target.is_dir():
        pattern = re.compile(rf"\..*{re.escape(HALF)}", re.DOTALL)
        folder = target
    else:  # of all that have its name but for the end, as features and their table
        ends = rf"(\.[^.]+)?\.\d+(\.old)?{re.escape(HALF)}"
        pattern = re.compile(rf"\.{re.escape(target.stem)}{ends}")
        folder = target.parent
    for half in folder.iterdir():
        if pattern.fullmatch(half.name) and half.is_file():
            half.unlink()


def quit_with_parent(parent: int) -> None:
    """End a worker soon after the process that started it.

    A process whose parent is gone gets another parent. The parent says who it is: it
    may have been killed before its worker could look.

    Args:
        parent: id of the process that started this one.
    """

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
    """Lock a file and return its handle.

    A holder removes the file on the way out, so the one that was locked must still be
    the one that others will open.
    """
    while True:
        handle = os.open(lock, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _wait_for(handle, target)
            if _is_at(handle, lock):
                os.ftruncate(handle, 0)
                holder = f"process {os.getpid()} on {platform.node()}"
                os.pwrite(handle, holder.encode(), 0)
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _wait_for(handle: int, target: Path) -> None:
    """Lock a handle, and warn where another process holds it."""
    import fcntl

    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 200, 0).decode() or "another process"
        warnings.warn(
            f"{holder} works on {target}: waiting until it is done", stacklevel=5
        )
        fcntl.flock(handle, fcntl.LOCK_EX)


def _is_at(handle: int, path: Path) -> bool:
    """Return whether a handle is that of the file now at a path."""
    try:
        return os.path.samestat(os.fstat(handle), os.stat(path))
    except FileNotFoundError:
        return False
