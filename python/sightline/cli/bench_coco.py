"""sightline bench coco [--peers PYTHON] [--quick] [--threads N] [--only NAME] [--data FOLDER]
                     [--slow] [--record] [--list] [--json FILE] [--plot FILE] [--compare FILE]
                     [--tolerance SHARE]

Times COCO evaluation beside the evaluators that people use, each in a process of its own: from two
JSON files to twelve numbers within a running process, the same as a whole process with its peak
memory, from loaded arrays to twelve numbers, accumulation alone, streaming, masks, keypoints, and
bootstrap. The evaluators take turns. Before anything is timed, our arrays must equal those of
pycocotools bit for bit. Prints one block per benchmark, with one line per evaluator.

  --peers      the Python of an environment that has the other evaluators; `make peers` creates
               build/peers. The line of one that is missing or fails says why
  --threads    threads of each evaluator; all cores by default
  --quick      use a tenth of the images, which is few enough for pycocotools to be timed too
  --slow       also time the evaluators that take minutes. Without it, our arrays are compared with
               recorded digests of pycocotools' arrays
  --record     run pycocotools and record these digests
  --only       run only the benchmarks whose name contains this text
  --list       print the names of the benchmarks that would be timed, and time none
  --data       folder in which the generated data sets are kept; a temporary one by default
  --json       write all figures to a file
  --plot       draw time and memory over the number of images, up to 50,000
  --compare    print the ratio to the figures of an earlier --json, and what differs otherwise. The
               exit status is 1 where a benchmark takes longer by more than the tolerance
  --tolerance  share of the earlier time, 0.1 by default
"""

import os
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.cli.bench_files import OPTIONS, take_files

_OPTIONS = ("--peers", "--threads", "--only", "--data", "--plot", *OPTIONS)
_FLAGS = ("quick", "slow", "record", "list")


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=_FLAGS, known=_OPTIONS)
    peers = arguments.take("peers")
    threads = arguments.take_count("threads", len(os.sched_getaffinity(0)))
    only, data = arguments.take_text("only", ""), arguments.take("data")
    files = take_files(arguments)
    arguments.finish((*_OPTIONS, *(f"--{name}" for name in _FLAGS)))
    files.check()
    if arguments.positional:
        raise UsageError(f"coco has no part {arguments.positional[0]!r}; --only chooses benchmarks")

    from sightline.bench.coco import growth
    from sightline.bench.coco.benchmark import BENCHMARKS
    from sightline.bench.coco.contest import prepare
    from sightline.bench.process import worker_command
    from sightline.bench.report import announce, as_json, list_names, show

    if peers:
        worker_command(peers)  # raises an error that says what is wrong with it
    quick = "quick" in arguments.flags
    chosen = [one for one in BENCHMARKS if not (quick and one.long) and only in one.name]
    benchmarks = [one.quick() if quick else one for one in chosen]
    if files.plot:
        benchmarks = list(growth.benchmarks(quick=quick))
    if not benchmarks:
        raise UsageError(f"no benchmark's name contains {only!r}")
    if "list" in arguments.flags:
        list_names(benchmarks)
        return 0
    with nullcontext(data) if data else tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        if "record" in arguments.flags:
            return _record(benchmarks, threads, peers, folder)
        found = announce("cpu", threads)
        ready = partial(prepare, peers=peers, folder=folder, slow="slow" in arguments.flags)
        seconds = 0.5 if quick or files.plot else 2.0
        outcomes = show(ready, benchmarks, threads=threads, seconds=seconds)
    return files.finish(as_json(found, outcomes), lambda path: growth.draw(outcomes, path))


def _record(benchmarks: Sequence[Any], threads: int, peers: str | None, folder: Path) -> int:
    from sightline.bench.coco.contest import record

    if not peers:
        raise UsageError("--record needs --peers with pycocotools")
    for name, benchmark in {one.recipe.name: one for one in benchmarks}.items():
        say(f"{name}: {record(benchmark, threads=threads, peers=peers, folder=folder)}")
    return 0
