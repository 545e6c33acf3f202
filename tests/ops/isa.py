"""Runs the same code at every ISA level this machine has. A process chooses its level once.

One process per level serves all tests.
"""

import contextlib
import functools
import io
import os
import traceback
from multiprocessing.connection import Connection
from typing import Any

from ..fresh import context

LEVELS = ("baseline", "avx2", "avx512")


def _serve(level: str, connection: Connection) -> None:
    """Send the level, then run each snippet received and send what it prints or raises."""
    os.environ["SIGHTLINE_ISA"] = level
    import torch

    from sightline import _numpy

    try:
        connection.send(_numpy.isa())
    except ValueError:  # this machine lacks it
        return connection.send(None)
    threads = torch.get_num_threads(), _numpy.get_num_threads()
    while True:
        code, printed, error = connection.recv(), io.StringIO(), None
        with contextlib.redirect_stdout(printed):
            try:  # in a namespace of its own, with as many threads as the first
                exec(compile(code, "<at every level>", "exec"), {"__name__": "__main__"})
            except Exception:
                error = traceback.format_exc()
        torch.set_num_threads(threads[0])
        _numpy.set_num_threads(threads[1])
        connection.send((printed.getvalue(), error))


class _Level:
    def __init__(self, name: str) -> None:
        self._connection, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(name, other), daemon=True)
        self._process.start()
        other.close()
        self.isa = self._read()

    def output_of(self, code: str) -> str:
        self._connection.send(code)
        printed, error = self._read()
        assert error is None, f"at {self.isa}: {error}"
        return printed

    def _read(self) -> Any:
        try:
            return self._connection.recv()
        except EOFError:
            raise AssertionError("the process of a level ended; its error is above") from None


@functools.cache
def _levels() -> dict[str, _Level]:
    started = {name: _Level(name) for name in LEVELS}
    return {name: level for name, level in started.items() if level.isa == name}


def output_of_every_level(code: str) -> str:
    """What `code` prints at each level that the machine has, which must be the same."""
    outputs = {name: level.output_of(code) for name, level in _levels().items()}
    assert "baseline" in outputs
    assert len(set(outputs.values())) == 1, outputs
    return outputs["baseline"]
