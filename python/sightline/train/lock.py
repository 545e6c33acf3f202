"""Locks a folder for one process at a time."""

import contextlib
import errno
import fcntl
import os
import socket
import time
import warnings
import weakref
from pathlib import Path
from types import TracebackType
from typing import IO

__all__ = ["FolderLock"]

_NAME = ".lock"
# Errors of file systems without locks, such as some network mounts.
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)


class FolderLock:
    """Locks a folder for this process until `release` or the end of the process.

    It is the system's lock (flock) on `<folder>/.lock`, which ends with the process in any case, so
    a killed process leaves nothing to clean up. On NFS it works between hosts where the mount
    supports locks. Where a file system has none, there is a RuntimeWarning and no lock.

    Args:
        folder: an existing folder.

    Raises:
        BlockingIOError: another process (or another lock of this one) has locked the folder; the
            message names its process id and host.
        OSError: the lock file cannot be written.
    """

    def __init__(self, folder: str | os.PathLike) -> None:
        self.path = Path(folder) / _NAME
        self._file: IO[str] | None = None
        while self._file is None:
            file = os.fdopen(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                holder = file.read().strip() or "another process"
                file.close()
                if error.errno in _UNSUPPORTED:
                    warnings.warn(
                        f"the file system of {folder} has no locks: make sure that no second "
                        "process trains into this folder",
                        RuntimeWarning,
                        stacklevel=2,
                    )
                    return
                if error.errno not in (errno.EWOULDBLOCK, errno.EACCES):
                    raise
                raise BlockingIOError(
                    errno.EWOULDBLOCK,
                    f"{folder} is in use by {holder}: wait until it ends, or stop it, or choose "
                    "another folder",
                ) from None
            # The previous holder may have removed the file between the two calls: then this lock is
            # on a file that no other process will see.
            if _is_at(file.fileno(), self.path):
                self._file = file
            else:
                file.close()
        _HELD.add(self)
        started = time.strftime("%Y-%m-%d %H:%M:%S")
        with contextlib.suppress(OSError):  # on a full disk the lock works without its text
            self._file.truncate(0)
            self._file.write(f"process {os.getpid()} on {socket.gethostname()} since {started}\n")
            self._file.flush()

    def release(self) -> None:
        """Release the lock; a second call does nothing."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self.path.unlink()  # while locked, so that it cannot be another process's file
            with contextlib.suppress(OSError):
                fcntl.flock(self._file, fcntl.LOCK_UN)
            self._forget()

    def _forget(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def __enter__(self) -> "FolderLock":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


# A forked child, such as a loader's worker, shares its parent's lock and may live slightly longer:
# it must not keep the folder of a killed parent locked.
_HELD: "weakref.WeakSet[FolderLock]" = weakref.WeakSet()


def _forget_in_child() -> None:
    for lock in list(_HELD):
        lock._forget()


os.register_at_fork(after_in_child=_forget_in_child)
