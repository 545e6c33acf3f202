"""sightline bench coco [--peers PYTHON] [--quick] [--threads N] [--only NAME] [--data FOLDER]
                     [--slow] [--record] [--json FILE] [--plot FILE] [--compare FILE]
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
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.cli.bench_files import OPTIONS, take_files

_OPTIONS = ("--peers", "--threads", "--only", "--data", "--plot", *OPTIONS)
_FLAGS = ("quick", "slow", "record")


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

    from sightline.bench.coco import growth, lines
    from sightline.bench.coco.run import Settings, record
    from sightline.bench.coco.run import run as run_works
    from sightline.bench.coco.work import WORKS
    from sightline.bench.lines import announce
    from sightline.bench.peers import command

    if peers:
        command(peers, "")  # raises an error that says what is wrong with it
    quick = "quick" in arguments.flags
    works = [work.quick() if quick else work for work in WORKS if not (quick and work.long)]
    works = [work for work in works if only in work.name]
    if files.plot:
        works = list(growth.works(quick=quick))
    if not works:
        raise UsageError(f"no benchmark's name contains {only!r}")
    folder = nullcontext(data) if data else tempfile.TemporaryDirectory()
    outcomes = []
    with folder as path:
        slow, seconds = "slow" in arguments.flags, 0.5 if quick or files.plot else 2.0
        settings = Settings(peers, threads, Path(path), slow, seconds)
        if "record" in arguments.flags:
            return _record(works, settings, record)
        found = announce("cpu", threads)
        for outcome in run_works(works, settings):
            say(lines.block(outcome))
            outcomes.append(outcome)
    found["works"] = [outcome.as_json() for outcome in outcomes]
    return files.finish(found, lambda path: growth.draw(outcomes, path))


def _record(works: Sequence[Any], settings: Any, record: Any) -> int:
    if not settings.peers:
        raise UsageError("--record needs --peers with pycocotools")
    done = set()
    for work in works:
        if work.recipe.name not in done:
            say(f"{work.recipe.name}: {record(work, settings)}")
            done.add(work.recipe.name)
    return 0
