"""Runs the same code at every ISA level this machine has: the level is chosen once a process."""

import os
import subprocess
import sys

LEVELS = ("baseline", "avx2", "avx512")


def outputs_of_every_level(code: str) -> dict[str, str]:
    """What `code` prints at each level that the machine has; the code runs in fresh processes."""
    outputs = {}
    for level in LEVELS:
        done = subprocess.run(
            [sys.executable, "-c", "from sightline import _numpy; print(_numpy.isa())\n" + code],
            env={**os.environ, "SIGHTLINE_ISA": level},
            capture_output=True,
            text=True,
            check=True,
        )
        got, _, output = done.stdout.partition("\n")
        if got == level:  # a machine without it falls back to what it has
            outputs[level] = output
    assert "baseline" in outputs
    return outputs
