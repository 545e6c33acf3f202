"""One evaluation as a whole process: wall time and peak memory."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from ..peers import command, environment
from .files import Files

# A process inherits the peak of the one that starts it, so a small one stands between: it needs
# 10 MB, and this one has torch.
_LAUNCH = """
import os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Run:
    seconds: float
    peak: int  # bytes of resident memory
    stats: list[float]


def run_process(
    python: str, contender: str, files: Files, kind: str, threads: int, *, own: bool = False
) -> Run:
    """Evaluate files in a new process; `own` keeps PYTHONPATH, by which ours may be found.

    Raises RuntimeError with the last line of what it said where it fails.
    """
    arguments = [contender, str(threads), kind, str(files.gt), str(files.dt)]
    settings = {**(os.environ if own else environment()), **thread_settings(threads)}
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCH, *command(python, "coco.once"), *arguments],
        capture_output=True,
        text=True,
        env=settings,
    )
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) < 2 or lines[-1].split()[2] != "0":
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(said[-1])
    seconds, kilobytes, _ = lines[-1].split()
    return Run(float(seconds), 1024 * int(kilobytes), json.loads(lines[-2]))


def thread_settings(threads: int) -> dict[str, str]:
    """What contenders take their number of threads from, when they start."""
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))
