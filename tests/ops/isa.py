"""Runs the same code at every ISA level this machine has: the level is chosen once a process.

One process a level serves all tests, as starting one costs more than most of what it runs.
"""

import atexit
import functools
import json
import os
import subprocess
import sys
from typing import Any

LEVELS = ("baseline", "avx2", "avx512")

# Every snippet has a namespace of its own and finds the thread counts as the process had them.
_SERVE = """
import contextlib, io, json, sys, traceback
import torch
from sightline import _numpy
threads = torch.get_num_threads(), _numpy.get_num_threads()
try:
    level = _numpy.isa()
except ValueError:  # this machine lacks it
    level = None
print(json.dumps(level), flush=True)
for line in sys.stdin:
    printed, error = io.StringIO(), None
    with contextlib.redirect_stdout(printed):
        try:
            exec(compile(json.loads(line), "<at every level>", "exec"), {"__name__": "__main__"})
        except Exception:
            error = traceback.format_exc()
    torch.set_num_threads(threads[0])
    _numpy.set_num_threads(threads[1])
    print(json.dumps([printed.getvalue(), error]), flush=True)
"""


class _Level:
    def __init__(self, name: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", _SERVE],
            env={**os.environ, "SIGHTLINE_ISA": name},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.communicate)  # which closes its input
        self.isa = self._read()

    def output_of(self, code: str) -> str:
        assert self._process.stdin
        print(json.dumps(code), file=self._process.stdin, flush=True)
        printed, error = self._read()
        assert error is None, f"at {self.isa}: {error}"
        return printed

    def _read(self) -> Any:
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "the process of a level ended; its error is above"
        return json.loads(line)


@functools.cache
def _levels() -> dict[str, _Level]:
    started = {name: _Level(name) for name in LEVELS}
    return {name: level for name, level in started.items() if level.isa == name}


def outputs_of_every_level(code: str) -> dict[str, str]:
    """What `code` prints at each level that the machine has."""
    outputs = {name: level.output_of(code) for name, level in _levels().items()}
    assert "baseline" in outputs
    return outputs
