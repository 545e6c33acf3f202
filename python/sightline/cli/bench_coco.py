"""sightline bench coco [--peers PYTHON] [--quick] [--threads N] [--only NAME] [--data FOLDER]
                     [--slow] [--record] [--json FILE] [--plot FILE] [--compare FILE]
                     [--tolerance SHARE]

Times COCO evaluation against the evaluators that people use, each in a process of its own: two json
files to twelve numbers in a running process and as whole processes with their peak memory, loaded
arrays to twelve numbers, accumulation alone, streaming, masks, keypoints, bootstrap. Contenders
take turns. Our arrays must equal pycocotools' bit for bit before anything is timed. Prints one
block per benchmark, one line per contender.

--peers is the Python of an environment that has them: `make peers` makes build/peers. One that is
missing or fails is a line that says why.
--threads is the number of threads of each; all cores unless it is given.
--quick takes a tenth of the images, on which pycocotools runs, too. --slow also times those that
take minutes. Without it ours are held to the recorded digests of pycocotools' arrays; --record
runs pycocotools and records them.
--only times the benchmarks whose name holds that text.
--data keeps the data sets, which are drawn from a seed, in a folder; a temporary one without it.
--json writes all figures. --plot draws time and memory over the number of images, up to 50,000.
--compare prints the ratio to the figures that --json wrote earlier, and what else is not the same.
The exit status is 1 where a benchmark takes longer by more than --tolerance, a share of the earlier
time; 0.1 unless it is given.
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
        command(peers, "")  # which says what is wrong with it
    quick = "quick" in arguments.flags
    works = [work.quick() if quick else work for work in WORKS if not (quick and work.long)]
    works = [work for work in works if only in work.name]
    if files.plot:
        works = list(growth.works(quick=quick))
    if not works:
        raise UsageError(f"no benchmark's name holds {only!r}")
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
