"""Files that are the old one or the whole new one, also when the machine stops in between; and one
writer at a time."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path beside `path`; on success it is synced and takes its place.

    The folder is created if needed. When the block raises, `path` is as it was and the
    temporary file is gone. Raises OSError as the file system does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    os.close(handle)
    part = Path(name)
    try:
        yield part
        # mkstemp makes files only their owner can read; give what a plain open() would.
        part.chmod(0o666 & ~_umask())
        sync(part)
        part.replace(path)
        sync(path.parent)
    finally:
        part.unlink(missing_ok=True)


@contextmanager
def alone(lock: Path) -> Iterator[None]:
    """Hold the lock of this file, alone among processes and threads; it is freed if this one dies.
    Raises OSError where it cannot be opened."""
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def write_text(path: Path, text: str) -> None:
    """Replace the file with `text` in UTF-8, line ends as they are."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="")


def sync(path: Path) -> None:
    """Have a file's bytes, or a folder's list of names, reach the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    """The process's umask; reading it means setting it for a moment."""
    current = os.umask(0o022)
    os.umask(current)
    return current
