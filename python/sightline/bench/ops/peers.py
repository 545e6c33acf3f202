"""Contenders that run in a worker under another Python."""

import os

from ..process import WorkerProcess
from .benchmark import OpBenchmark

# glibc then neither maps large blocks anew nor returns any: the process keeps what it allocated.
KEEPS_MEMORY = {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**40)}


class Peers(WorkerProcess):
    """The contenders of one worker; `contenders` maps names to versions.

    With `keeps_memory` malloc keeps freed memory, as memory for `out` is kept: such a process takes
    part in benchmarks that write to `out`, on the CPU. `suffix` is added to the names.
    """

    def __init__(
        self, python: str | os.PathLike, threads: int, *, keeps_memory: bool = False
    ) -> None:
        super().__init__(python, KEEPS_MEMORY if keeps_memory else None)
        self.threads = threads
        self.keeps_memory = keeps_memory
        self.suffix = ", memory kept" if keeps_memory else ""
        try:
            self.contenders: dict[str, str] = self.ask("versions", subject="ops")["versions"]
        except BaseException:
            self.close()
            raise

    def open(self, benchmark: OpBenchmark, device: str) -> list[str]:
        """Set up a benchmark; returns the names of the contenders that take part."""
        if self.keeps_memory and not (benchmark.writes_out and device == "cpu"):
            return []
        names = [name for name in self.contenders if name not in benchmark.without]
        what = {"benchmark": benchmark.name, "shape": benchmark.shape}
        settings = {"device": device, "threads": self.threads}
        return self.ask("open", subject="ops", names=names, **what, **settings)["opened"]
