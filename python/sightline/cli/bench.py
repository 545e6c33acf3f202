"""sightline bench [boxes] [growth] [--device cpu|cuda] [--peers PYTHON] [--threads N] [--only NAME]
                [--shapes SHAPE,...] [--arrays] [--quick] [--json FILE] [--plot FILE]
                [--compare FILE] [--tolerance SHARE]
sightline bench coco ...: COCO evaluation and other evaluators; `sightline bench coco --help`
sightline bench batch_norm ...: fused batch norm and torch's; `sightline bench batch_norm --help`

Times the ops, the libraries that people use now and this machine's own limits, alternately in one
run, after checking that the results agree. Prints one line per benchmark: the median time and half
the interquartile range, the bytes that must be moved at least and their rate, the share of the
limit that is reached, and for each other library how many times as long as ours it takes. "goal"
is what this project aims at; "noisy" marks times, or a limit, whose samples vary too much to be
relied on.

The suite boxes times the ops, growth times nms with up to a million boxes; both by default.

  --device     cpu (default), cuda, or cpu,cuda for both
  --peers      the Python of another environment that has torchvision; `make peers` creates
               build/peers. Where our op writes into a given output, so that its memory is reused,
               torchvision is also timed with a malloc (glibc's) that keeps freed memory: the column
               "memory kept"
  --threads    1 by default; with more, the gain over one thread is printed
  --only       run only the benchmarks whose name contains this text
  --quick      take fewer samples, and leave out the long benchmarks
  --shapes     time the ops at shapes of your own: one size (5000: losses, NMS and fusion of 5,000
               boxes), two (1000x8400: IoU of all pairs) or three (16x8400x80: decoding and
               multiclass_nms of images, anchors and classes); several as 300,5000,1000x8400
  --arrays     give our ops NumPy arrays instead of tensors, as happens where torch is not installed
  --json       write all figures to a file, with the machine and the versions
  --plot       draw how the time of nms grows with the number of boxes (suite growth)
  --compare    print the ratio to the figures of an earlier --json, and what differs otherwise. The
               exit status is 1 where a benchmark takes longer by more than the tolerance
  --tolerance  share of the earlier time, 0.1 by default
"""

import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.cli.bench_files import OPTIONS, take_files

SUBCOMMANDS = ("coco", "batch_norm")  # each in bench_<name>.py
_FLAGS = ("quick", "arrays")
_OPTIONS = ("--device", "--peers", "--threads", "--only", "--shapes", "--plot", *OPTIONS)


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=_FLAGS, known=_OPTIONS)
    devices = arguments.take_text("device", "cpu").split(",")
    peers_python = arguments.take("peers")
    threads = arguments.take_count("threads", 1)
    only, shapes = arguments.take_text("only", ""), arguments.take("shapes")
    files = take_files(arguments)
    arguments.finish((*_OPTIONS, *(f"--{flag}" for flag in _FLAGS)))
    files.check()
    if wrong := set(devices) - {"cpu", "cuda"}:
        raise UsageError(f"device must be cpu or cuda, got {', '.join(sorted(wrong))}")

    from sightline.bench.machine import require_cuda
    from sightline.bench.run_program import ARRAYS, torch

    arrays = "arrays" in arguments.flags
    if "cuda" in devices:
        if arrays:
            raise UsageError("--arrays runs on the CPU; leave out --device cuda")
        require_cuda()
    if arrays or torch is None:
        devices = [ARRAYS]
    quick = "quick" in arguments.flags
    works = [
        work
        for work in _works(arguments.positional, shapes)
        if only in work.name and not (quick and work.long)
    ]
    if not works:
        raise UsageError(f"no benchmark's name contains {only!r}")
    if files.plot:
        _check_plot(works)
    found: list[dict[str, Any]] = []
    outcomes: list[Any] = []
    with ExitStack() as stack:
        peers = _start_peers(peers_python, threads, works, devices, stack)
        for device in devices:
            summary, outcomes = _run_on(device, works, threads, peers, 0.2 if quick else 1.0)
            found.append(summary)
    from sightline.bench.growth import draw

    return files.finish(found, lambda path: draw(outcomes, path))


def _works(suites: list[str], shapes: str | None) -> list[Any]:
    from sightline.bench.boxes import of_shape
    from sightline.bench.suites import SUITES

    if unknown := set(suites) - set(SUITES):
        for name in unknown & set(SUBCOMMANDS):
            raise UsageError(f"{name} comes first: sightline bench {name} ...")
        raise UsageError(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    if shapes is None:
        return [work for suite in suites or SUITES for work in SUITES[suite]]
    if suites:
        raise UsageError(f"--shapes does not go with a suite; leave out {', '.join(suites)}")
    works: dict[str, Any] = {}
    for text in shapes.split(","):
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){0,2}", text):
            raise UsageError(
                f"shapes must be one, two or three sizes, such as 5000, 1000x8400 or 16x8400x80, "
                f"got {text!r}"
            )
        shape = tuple(int(size) for size in text.split("x"))
        works |= {work.name: work for work in of_shape(shape)}
    return list(works.values())


def _check_plot(works: list[Any]) -> None:
    from sightline.bench import growth

    if len(set(works) & set(growth.WORKS)) < 2:
        raise UsageError("--plot needs the suite growth: add `growth` and leave out --only")


def _start_peers(
    python: str | None, threads: int, works: list[Any], devices: list[str], stack: ExitStack
) -> list[Any]:
    """Their processes: as they are, and one that keeps memory where a work compares that."""
    from sightline.bench.peers import Peers

    if not python:
        return []
    peers = [stack.enter_context(Peers(python, threads))]
    if not peers[0].contenders:
        raise UsageError(
            f"--peers {python} has no torchvision that can be imported: `make peers` creates one"
        )
    if devices != ["cuda"] and any(work.writes_out for work in works):
        peers.append(stack.enter_context(Peers(python, threads, keeps_memory=True)))
    return peers


def _run_on(
    device: str, works: list[Any], threads: int, peers: list[Any], seconds: float
) -> tuple[dict[str, Any], list[Any]]:
    """The figures as JSON has them, and the outcomes."""
    from sightline.bench import lines
    from sightline.bench.run import run as run_works

    found = lines.announce(device, threads)
    if peers:
        versions = peers[0].contenders
        found["versions"] |= versions
        say("peers: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    outcomes = []
    for outcome in run_works(works, device=device, threads=threads, peers=peers, seconds=seconds):
        say(lines.line(outcome))
        outcomes.append(outcome)
    found["works"] = [outcome.as_json() for outcome in outcomes]
    return found, outcomes
