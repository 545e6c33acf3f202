"""Sends batches, or an error, from a process that loads images to the one that trains."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import torch
from numpy.typing import NDArray

from sightline.formats.records import DataError

__all__ = ["Failure", "Targets", "samples_or_failure"]


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
