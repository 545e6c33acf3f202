"""sightline bench [boxes] [growth] [--device cpu|cuda] [--peers PYTHON] [--threads N] [--only NAME]
                [--shapes SHAPE,...] [--arrays] [--quick] [--list] [--json FILE] [--plot FILE]
                [--compare FILE] [--tolerance SHARE]
sightline bench coco ...: COCO evaluation and other evaluators; `sightline bench coco --help`
sightline bench batch_norm ...: fused batch norm and torch's; `sightline bench batch_norm --help`
sightline bench augment ...: augmentation of images; `sightline bench augment --help`

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
  --list       print the names of the benchmarks that would be timed, and time none
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
from functools import partial
from typing import Any

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.cli.bench_files import OPTIONS, take_files

SUBCOMMANDS = ("coco", "batch_norm", "augment")  # each in bench_<name>.py
_FLAGS = ("quick", "arrays", "list")
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

    from sightline.bench.device import ARRAYS, torch
    from sightline.bench.machine import require_cuda

    arrays, quick = "arrays" in arguments.flags, "quick" in arguments.flags
    if "cuda" in devices:
        if arrays:
            raise UsageError("--arrays runs on the CPU; leave out --device cuda")
        require_cuda()
    if arrays or torch is None:
        devices = [ARRAYS]
    benchmarks = [
        benchmark
        for benchmark in _benchmarks(arguments.positional, shapes)
        if only in benchmark.name and not (quick and benchmark.long)
    ]
    if not benchmarks:
        raise UsageError(f"no benchmark's name contains {only!r}")

    from sightline.bench.ops import growth
    from sightline.bench.report import list_names

    if "list" in arguments.flags:
        list_names(benchmarks)
        return 0
    if files.plot:
        growth.check_drawn(benchmarks)
    found: list[dict[str, Any]] = []
    outcomes: list[Any] = []
    with ExitStack() as stack:
        peers = _start_peers(peers_python, threads, benchmarks, devices, stack)
        for device in devices:
            summary, outcomes = _run_on(device, benchmarks, threads, peers, 0.2 if quick else 1.0)
            found.append(summary)
    return files.finish(found, lambda path: growth.draw(outcomes, path))


def _benchmarks(suites: list[str], shapes: str | None) -> list[Any]:
    from sightline.bench.ops.boxes import of_shape
    from sightline.bench.ops.suites import SUITES

    if unknown := set(suites) - set(SUITES):
        for name in unknown & set(SUBCOMMANDS):
            raise UsageError(f"{name} comes first: sightline bench {name} ...")
        raise UsageError(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    if shapes is None:
        return [benchmark for suite in suites or SUITES for benchmark in SUITES[suite]]
    if suites:
        raise UsageError(f"--shapes does not go with a suite; leave out {', '.join(suites)}")
    benchmarks: dict[str, Any] = {}
    for text in shapes.split(","):
        if not re.fullmatch(r"[1-9]\d*(x[1-9]\d*){0,2}", text):
            raise UsageError(
                f"shapes must be one, two or three sizes, such as 5000, 1000x8400 or 16x8400x80, "
                f"got {text!r}"
            )
        shape = tuple(int(size) for size in text.split("x"))
        benchmarks |= {benchmark.name: benchmark for benchmark in of_shape(shape)}
    return list(benchmarks.values())


def _start_peers(
    python: str | None, threads: int, benchmarks: list[Any], devices: list[str], stack: ExitStack
) -> list[Any]:
    """Their process, and one whose malloc keeps memory if a benchmark compares that."""
    from sightline.bench.ops.peers import Peers

    if not python:
        return []
    peers = [stack.enter_context(Peers(python, threads))]
    if not peers[0].contenders:
        raise UsageError(
            f"--peers {python} has no torchvision that can be imported: `make peers` creates one"
        )
    if devices != ["cuda"] and any(benchmark.writes_out for benchmark in benchmarks):
        peers.append(stack.enter_context(Peers(python, threads, keeps_memory=True)))
    return peers


def _run_on(
    device: str, benchmarks: list[Any], threads: int, peers: list[Any], seconds: float
) -> tuple[dict[str, Any], list[Any]]:
    """The figures for JSON, and the outcomes."""
    from sightline.bench.ops.contest import prepare
    from sightline.bench.report import announce, as_json, show

    found = announce(device, threads)
    if peers:
        versions = peers[0].contenders
        found["versions"] |= versions
        say("peers: " + ", ".join(f"{name} {version}" for name, version in versions.items()))
    ready = partial(prepare, peers=peers)
    outcomes = show(ready, benchmarks, device=device, threads=threads, seconds=seconds)
    return as_json(found, outcomes), outcomes
