"""Sends batches, or an error, from a process that loads images to the one that trains."""

from __future__ import annotations

import pickle
import signal
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from sightline.formats.records import DataError

__all__ = ["BatchToPin", "Failure", "Labels", "Targets", "samples_or_failure", "worker_error"]


class Targets(list[dict[str, torch.Tensor]]):
    """Targets of a set of boxes: pickled as NumPy arrays, they arrive as a list of tensors.

    torch would send every tensor in shared memory, with one file descriptor each: a few batches of
    many small tensors exceed the 1,024 descriptors that a process may have open.
    """

    def __reduce__(self) -> Any:
        rows = [{name: value.numpy() for name, value in target.items()} for target in self]
        return _targets, (rows,)


def _targets(rows: list[dict[str, NDArray[Any]]]) -> list[dict[str, torch.Tensor]]:
    return [{name: torch.from_numpy(value) for name, value in row.items()} for row in rows]


class Labels:
    """Labels of a set of classes: pickled as a NumPy array, they arrive as a tensor.

    A process that sends a tensor makes a folder for it, which stays when the process is ended.
    """

    def __init__(self, labels: torch.Tensor) -> None:
        self.labels = labels

    def __reduce__(self) -> Any:
        return torch.from_numpy, (self.labels.numpy(),)


class BatchToPin:
    """A batch whose images, and labels of a set of classes, are to be in page-locked memory.

    torch would also pin each of the many small tensors of boxes, which takes longer than it saves.
    """

    def __init__(self, batch: tuple[torch.Tensor, Any, list[Any]]) -> None:
        self.batch = batch

    def pin_memory(self) -> tuple[torch.Tensor, Any, list[Any]]:
        """The batch; called by torch's loader, in a thread where there are worker processes."""
        images, targets, samples = self.batch
        if isinstance(targets, torch.Tensor):
            targets = targets.pin_memory()
        return images.pin_memory(), targets, samples


class Failure:
    """An error that is raised where the batch is requested.

    torch's own error would have the traceback of the other process as its message.
    """

    def __init__(self, error: Exception) -> None:
        if not isinstance(error, DataError):  # whose message is sufficient
            error.add_note("in a process that loads images:\n" + traceback.format_exc())
        try:
            pickle.loads(pickle.dumps(error))
        except Exception:
            notes = error.__notes__
            error = RuntimeError(f"{type(error).__name__}: {error}")
            error.__notes__ = notes
        self.error = error


def samples_or_failure(get: Callable[[Any], Any], keys: Sequence[Any], *, send: bool) -> list[Any]:
    """`get(key)` of each key; with `send`, a single `Failure` where one of them raises."""
    try:
        return [get(key) for key in keys]
    except Exception as error:
        if not send:
            raise
        return [Failure(error)]


def worker_error(workers: Sequence[Any]) -> RuntimeError | None:
    """What to say where processes that load images died; None where all are alive.

    Args:
        workers: the processes (`multiprocessing.Process`).
    """
    # A SIGTERM is how torch ends the others once one has died.
    dead = [w for w in workers if w.exitcode not in (None, 0, -signal.SIGTERM)]
    dead = dead or [w for w in workers if w.exitcode is not None]
    if not dead:
        return None
    process, code = dead[0].pid, dead[0].exitcode
    how, fix = f"ended with exit code {code}", "its last words, if any, are above"
    if code < 0:
        name = signal.Signals(-code).name
        how = f"was killed by {name}"
        fix = "if memory ran out, lower data.workers, data.batch_size or data.cache_mb"
        if -code == signal.SIGBUS:
            fix = "shared memory (/dev/shm) is full: enlarge it, or lower data.workers"
        elif -code == signal.SIGSEGV:
            fix = "data.workers=0 shows where, with python -X faulthandler"
    return RuntimeError(f"process {process}, which loads images, {how}; {fix}")
