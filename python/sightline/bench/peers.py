"""Programs in another process, reached through a worker that lives as long as the run."""

import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

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


class Peers(WorkerProcess):
    """The contenders of `worker.py`; `contenders` maps names to versions."""

    def __init__(self, python: str | os.PathLike, threads: int) -> None:
        super().__init__(python, "worker")
        self.threads = threads
        try:
            self.contenders: dict[str, str] = self.ask("contenders")["contenders"]
        except BaseException:
            self.close()
            raise

    def open(self, work: str, names: list[str], device: str) -> list[str]:
        """Make the programs of a work ready; the contenders that have one."""
        settings = {"names": names, "device": device, "threads": self.threads}
        return self.ask("open", work=work, **settings)["opened"]

    def result(self, name: str) -> list[np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.npz"
            self.ask("result", name=name, file=str(file))
            with np.load(file) as arrays:
                return [arrays[key] for key in arrays.files]

    def sample(self, name: str, calls: int) -> float:
        return self.ask("sample", name=name, calls=calls)["seconds"]
