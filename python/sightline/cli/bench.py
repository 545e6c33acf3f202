"""sightline bench [boxes] [growth] [--device cpu|cuda] [--peers PYTHON] [--threads N] [--only NAME]
                [--quick] [--json FILE] [--plot FILE]
sightline bench coco ...: COCO evaluation against other evaluators; `sightline bench coco --help`
sightline bench batch_norm ...: fused batch norm against torch; `sightline bench batch_norm --help`

Times the ops against what people use now and against this machine's own limits, all in turns in one
run, after a check that they agree. A line a work: the median time and half the distance of its
quartiles, the bytes that must be moved at least and their rate, the share of the limit that is
reached, and for each peer how many times ours its time is.

--device cuda times on the GPU; `--device cpu,cuda` on both.
--peers is the Python of another environment that has torchvision: `make peers` makes build/peers.
--threads is 1 unless it is given; with more, the gain over one thread is printed.
--only times the works whose name holds that text. --quick takes fewer samples of small works.
--json writes all figures, with machine and versions. --plot draws how nms grows with
the number of boxes, from the suite growth.
"""

import json
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline.cli.arguments import UsageError, parse

SUBCOMMANDS = ("coco", "batch_norm")  # each in bench_<name>.py
_OPTIONS = ("--device", "--peers", "--threads", "--only", "--quick", "--json", "--plot")


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=("quick",))
    devices = arguments.take_text("device", "cpu").split(",")
    peers_python = arguments.take("peers")
    threads = arguments.take_count("threads", 1)
    only = arguments.take_text("only", "")
    json_file, plot_file = arguments.take("json"), arguments.take("plot")
    arguments.finish(_OPTIONS)
    if wrong := set(devices) - {"cpu", "cuda"}:
        raise UsageError(f"device must be cpu or cuda, got {', '.join(sorted(wrong))}")

    from sightline.bench.peers import Peers
    from sightline.bench.suites import SUITES

    suites = arguments.positional or list(SUITES)
    if unknown := set(suites) - set(SUITES):
        raise UsageError(f"no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    quick = "quick" in arguments.flags
    works = [
        work
        for suite in suites
        for work in SUITES[suite]
        if only in work.name and not (quick and work.long)
    ]
    if not works:
        raise UsageError(f"no work's name holds {only!r}")
    found: list[dict[str, Any]] = []
    outcomes: list[Any] = []
    with Peers(peers_python, threads) if peers_python else nullcontext() as peers:
        for device in devices:
            summary, outcomes = _run_on(device, works, threads, peers, 0.2 if quick else 1.0)
            found.append(summary)
    if json_file:
        Path(json_file).write_text(json.dumps(found, indent=1) + "\n")
    if plot_file:
        from sightline.bench.growth import draw

        draw(outcomes, Path(plot_file))
    return 0


def _run_on(
    device: str, works: list, threads: int, peers: Any, seconds: float
) -> tuple[dict[str, Any], list]:
    """The figures as JSON has them, and the outcomes."""
    from sightline.bench import lines
    from sightline.bench.run import run as run_works

    found = lines.announce(device, threads)
    if peers:
        found["versions"] |= peers.contenders
        say("peers: " + ", ".join(f"{n} {version}" for n, version in peers.contenders.items()))
    outcomes = []
    for outcome in run_works(works, device=device, threads=threads, peers=peers, seconds=seconds):
        say(lines.line(outcome))
        outcomes.append(outcome)
    found["works"] = [outcome.as_json() for outcome in outcomes]
    return found, outcomes
