"""Peers in another Python, reached through a worker that lives as long as the run."""

import json
import os
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

# Loads this folder as a package of its own: the other Python has no sightline, and must not see the
# packages that lie beside ours.
_BOOT = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sightline_bench", sys.argv[1] + "/__init__.py",
                                              submodule_search_locations=[sys.argv[1]])
sys.modules["sightline_bench"] = importlib.util.module_from_spec(spec)
importlib.import_module("sightline_bench.worker").main()
"""


class Peers:
    """A worker process. Use it as a context manager; `contenders` maps names to versions."""

    def __init__(self, python: str | os.PathLike, threads: int) -> None:
        if not os.access(python, os.X_OK):
            raise FileNotFoundError(
                f"--peers must be a Python interpreter, got {python}: `make peers` makes one"
            )
        self.threads = threads
        hidden = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        self._process = subprocess.Popen(
            [str(python), "-c", _BOOT, str(Path(__file__).parent)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=hidden,
        )
        try:
            self.contenders: dict[str, str] = self._ask("contenders")["contenders"]
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> "Peers":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._process.kill()
        self._process.communicate()

    def open(self, work: str, names: list[str], device: str) -> list[str]:
        """Make the programs of a work ready; the contenders that have one."""
        settings = {"names": names, "device": device, "threads": self.threads}
        return self._ask("open", work=work, **settings)["opened"]

    def result(self, name: str) -> list[np.ndarray]:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "result.npz"
            self._ask("result", name=name, file=str(file))
            with np.load(file) as arrays:
                return [arrays[key] for key in arrays.files]

    def sample(self, name: str, calls: int) -> float:
        return self._ask("sample", name=name, calls=calls)["seconds"]

    def _ask(self, what: str, **request: Any) -> dict[str, Any]:
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
