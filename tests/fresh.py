"""Processes that have called no op yet, forked from one that has imported what they need.

Starting Python and importing torch and the package takes two seconds of a core; a fork takes none.
Such a process can still choose `SIGHTLINE_ISA`, which the first call fixes, and limit its memory.
"""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from pathlib import Path

context = multiprocessing.get_context("forkserver")
context.set_forkserver_preload(
    ["torch", "sightline.ops", "sightline.metrics", "sightline.models", "sightline.train.session"]
)


def run(
    code: str, *arguments: object, env: dict[str, str] | None = None, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Like `python -c code arguments`; `env` holds what differs from this process's environment."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["-c", *map(str, arguments)]
        given = (code, words, {**os.environ, **(env or {})}, folder)
        process = context.Process(target=_run, args=given)
        process.start()
        process.join(timeout)
        process.kill()
        process.join()
        said = (Path(folder, name).read_text() for name in ("stdout", "stderr"))
        assert process.exitcode is not None
        return subprocess.CompletedProcess(words, process.exitcode, *said)


def _run(code: str, words: list[str], env: dict[str, str], folder: str) -> None:
    for number, name in enumerate(("stdout", "stderr"), 1):
        os.dup2(os.open(f"{folder}/{name}", os.O_WRONLY | os.O_CREAT), number)
    sys.argv[:] = words
    os.environ.clear()
    os.environ.update(env)
    exec(compile(code, "<fresh>", "exec"), {"__name__": "__main__"})
