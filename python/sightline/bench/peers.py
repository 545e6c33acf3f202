"""Programs in another process, reached through a worker that lives as long as the run."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from .work import Work

# Loads this folder as a package of its own: the other Python has no sightline, and must not see the
# packages that lie beside ours.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sightline_bench", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
sys.modules["sightline_bench"] = importlib.util.module_from_spec(spec)
importlib.import_module("sightline_bench." + sys.argv[2]).main()
"""


def command(python: str | os.PathLike, module: str) -> list[str]:
    """What runs `main` of a module of this folder in a Python that has no sightline."""
    if not os.access(python, os.X_OK):
        raise FileNotFoundError(
            f"--peers must be a Python interpreter, got {python}: `make peers` makes one"
        )
    return [str(python), "-c", _BOOT, str(Path(__file__).parent), module]


def environment() -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}


class WorkerProcess:
    """A process that answers requests, a line of JSON each. Use it as a context manager."""

    def __init__(
        self, python: str | os.PathLike, module: str, settings: Mapping[str, str] | None = None
    ) -> None:
        self._process = subprocess.Popen(
            command(python, module),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**environment(), **(settings or {})},
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


# glibc takes no large block from the system anew, and gives none back: what the process allocated
# once, it has.
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


class Peers(WorkerProcess):
    """The contenders of `worker.py`; `contenders` maps names to versions.

    With `keeps_memory` malloc keeps what they free, as memory for `out` is kept: such a process
    takes part in benchmarks that write to `out`, on the CPU. `suffix` is what it adds to their
    names.
    """

    def __init__(
        self, python: str | os.PathLike, threads: int, *, keeps_memory: bool = False
    ) -> None:
        super().__init__(python, "worker", KEEPS_MEMORY if keeps_memory else None)
        self.threads = threads
        self.keeps_memory = keeps_memory
        self.suffix = ", memory kept" if keeps_memory else ""
        try:
            self.contenders: dict[str, str] = self.ask("contenders")["contenders"]
        except BaseException:
            self.close()
            raise

    def open(self, work: Work, device: str) -> list[str]:
        """Make the programs of a work ready; the contenders that have one and take part."""
        if self.keeps_memory and not (work.writes_out and device == "cpu"):
            return []
        names = [name for name in self.contenders if name not in work.without]
        settings = {"names": names, "device": device, "threads": self.threads}
        return self.ask("open", work=work.name, shape=work.shape, **settings)["opened"]

    def result(self, name: str) -> list[np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.npz"
            self.ask("result", name=name, file=str(file))
            with np.load(file) as arrays:
                return [arrays[key] for key in arrays.files]

    def sample(self, name: str, calls: int) -> float:
        return self.ask("sample", name=name, calls=calls)["seconds"]
