"""Programs in other processes: many in one worker, or one in a whole process."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

# Imports this folder as a package of another name: the other Python has no sightline, and must not
# see the packages installed beside ours.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sightline_bench", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
sys.modules["sightline_bench"] = importlib.util.module_from_spec(spec)
importlib.import_module("sightline_bench.worker").main()
"""
# A process inherits the peak memory of the one that starts it, so a small one of 10 MB starts it:
# this one has torch.
_LAUNCH = """
import os, sys, time
start = time.perf_counter()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ)
_, status, usage = os.wait4(pid, 0)
print(time.perf_counter() - start, usage.ru_maxrss, os.waitstatus_to_exitcode(status))
"""


@dataclass(frozen=True)
class Result:
    """The result of one run of a contender."""

    seconds: float
    stats: list[float]
    arrays: list[np.ndarray] = field(default_factory=list)  # empty if it does not expose them
    peak: int = 0  # bytes of resident memory, for a whole process


def worker_command(python: str | os.PathLike) -> list[str]:
    """The command that runs `worker.py` under a Python that need not have sightline."""
    if not os.access(python, os.X_OK):
        raise FileNotFoundError(
            f"--peers must be a Python interpreter, got {python}: `make peers` makes one"
        )
    return [str(python), "-c", _BOOT, str(Path(__file__).parent)]


def environment(settings: Mapping[str, str] | None = None, *, own: bool = False) -> dict[str, str]:
    """The environment of a process; `own` keeps PYTHONPATH, through which ours may be found."""
    kept = {key: value for key, value in os.environ.items() if own or key != "PYTHONPATH"}
    return {**kept, **(settings or {})}


def thread_settings(threads: int) -> dict[str, str]:
    """Variables from which libraries take their number of threads when they start."""
    names = ("RAYON_NUM_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")
    return dict.fromkeys(names, str(threads))


class WorkerProcess:
    """A process that answers the requests of `worker.py`. Use it as a context manager."""

    def __init__(
        self,
        python: str | os.PathLike,
        settings: Mapping[str, str] | None = None,
        *,
        own: bool = False,
    ) -> None:
        self._process = subprocess.Popen(
            worker_command(python),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(settings, own=own),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, what: str, **request: Any) -> dict[str, Any]:
        assert self._process.stdin and self._process.stdout
        try:
            print(json.dumps({"do": what, **request}), file=self._process.stdin, flush=True)
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise RuntimeError(f"the worker of --peers ended at {what!r}; its error is above")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{what} in the worker of --peers: {answer['error']}")
        return answer

    def result(self, name: str) -> Result:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.npz"
            answer = self.ask("result", name=name, file=str(file))
            arrays = []
            if file.exists():
                with np.load(file) as saved:
                    arrays = [saved[key] for key in saved.files]
        return Result(**answer, arrays=arrays)

    def sample(self, name: str, calls: int) -> float:
        return self.ask("sample", name=name, calls=calls)["seconds"]


def run_process(
    python: str | os.PathLike,
    requests: Sequence[Mapping[str, Any]],
    settings: Mapping[str, str],
    *,
    own: bool = False,
) -> Result:
    """Answer requests in a new process, the last for a result; the time is that of the process.

    Raises RuntimeError with the last line of its output if it fails.
    """
    command = [*worker_command(python), *map(json.dumps, requests)]
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", _LAUNCH, *command],
        capture_output=True,
        text=True,
        env=environment(settings, own=own),
    )
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) <= len(requests) or lines[-1].split()[2] != "0":
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise RuntimeError(said[-1])
    answers = [json.loads(line) for line in lines[:-1]]
    for answer in answers:
        if "error" in answer:
            raise RuntimeError(answer["error"])
    seconds, kilobytes, _ = lines[-1].split()
    return Result(float(seconds), answers[-1]["stats"], peak=1024 * int(kilobytes))
