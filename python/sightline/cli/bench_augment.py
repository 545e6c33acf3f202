"""sightline bench augment [--peers PYTHON] [--threads N] [--quick] [--only NAME] [--list]
                        [--json FILE] [--compare FILE] [--tolerance SHARE]

Times the augmentation of images with boxes beside albumentations and torchvision's transforms v2:
flip, affine map, colours and normalisation at random, and the same with an elastic map. The
libraries take turns, after a check that a mirrored image and its boxes are the same in all. Prints
one block per benchmark with one line per library: the median time for 16 images, the images per
second, and how many times as long as ours it takes. "met" and "missed" refer to the goals of this
project, "noisy" to samples that vary too much to be relied on.

  --peers      the Python of an environment that has albumentations or torchvision; `make peers`
               creates build/peers
  --threads    threads of each library; 1 by default, as in a process that loads images
  --quick      take fewer samples
  --only       run only the benchmarks whose name contains this text
  --list       print the names of the benchmarks that would be timed, and time none
  --json       write all figures to a file, with the machine and the versions
  --compare    print the ratio to the figures of an earlier --json, and what differs otherwise. The
               exit status is 1 where a benchmark takes longer by more than the tolerance
  --tolerance  share of the earlier time, 0.1 by default
"""

from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.cli.bench_files import OPTIONS, take_files

_OPTIONS = ("--peers", "--threads", "--only", *OPTIONS)
_FLAGS = ("quick", "list")


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=_FLAGS, known=_OPTIONS)
    python = arguments.take("peers")
    threads, only = arguments.take_count("threads", 1), arguments.take_text("only", "")
    files = take_files(arguments)
    arguments.finish((*_OPTIONS, *(f"--{name}" for name in _FLAGS)))
    files.check()
    if arguments.positional:
        raise UsageError(
            f"augment has no part {arguments.positional[0]!r}; --only chooses benchmarks"
        )

    from sightline.bench.augment.benchmark import BENCHMARKS
    from sightline.bench.augment.contest import prepare
    from sightline.bench.process import WorkerProcess, thread_settings
    from sightline.bench.report import announce, as_json, list_names, show

    benchmarks = [one for one in BENCHMARKS if only in one.name]
    if not benchmarks:
        raise UsageError(f"no benchmark's name contains {only!r}")
    if "list" in arguments.flags:
        list_names(benchmarks)
        return 0
    with ExitStack() as stack:
        peers = None
        if python:
            peers = stack.enter_context(WorkerProcess(python, thread_settings(threads)))
            versions = peers.ask("versions", subject="augment")["versions"]
            if not versions:
                raise UsageError(
                    f"--peers {python} has neither albumentations nor torchvision: `make peers` "
                    "creates one that has"
                )
        found = announce("cpu", threads)
        if peers:
            found["versions"] |= versions
            say("peers: " + ", ".join(f"{name} {one}" for name, one in versions.items()))
        seconds = 0.5 if "quick" in arguments.flags else 3.0
        outcomes = show(partial(prepare, peers=peers), benchmarks, threads=threads, seconds=seconds)
    return files.finish(as_json(found, outcomes))
