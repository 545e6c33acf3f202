"""Benchmarks two checkouts alternately, and says what became slower.

    python tools/compare_checkouts.py "../old/.venv/bin/python" ".venv/bin/python"
    python tools/compare_checkouts.py OLD NEW --verb "bench --only nms" --verb "bench coco --quick"

OLD and NEW are commands that run a Python in which that checkout is installed. Each verb runs with
both, and every second repeat starts with the other one, so that what else the machine does affects
both. Prints, per verb, the geometric mean of the speeds and the benchmarks that took longer by more
than the tolerance in every repeat. The exit status is 1 where there are any, or where the mean is
below 0.98. Without --verb all benchmarks run with --quick. Nothing else should run meanwhile.
"""

import argparse
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

from sightline.bench.compare import Repeats, compare, load

VERBS = ("bench --quick", "bench coco --quick", "bench batch_norm --quick")
LEAST_SPEED = 0.98


def measure(command: str, verb: str, file: Path) -> None:
    words = [*shlex.split(command), "-m", "sightline", *shlex.split(verb), "--json", str(file)]
    subprocess.run(words, check=True, stdout=subprocess.DEVNULL)


def repeats_of(verb: str, old: str, new: str, count: int, tolerance: float) -> Repeats:
    comparisons = []
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder) / "old.json", Path(folder) / "new.json"
        for repeat in range(count):
            turns = list(zip((old, new), files))
            for command, file in turns[:: -1 if repeat % 2 else 1]:
                measure(command, verb, file)
            comparisons.append(compare(*map(load, files), tolerance))
            print(f"{verb}, repeat {repeat + 1}: {Repeats(comparisons[-1:]).speed:.3f}", flush=True)
    return Repeats(comparisons)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("old", help="command of the old checkout's Python")
    parser.add_argument("new", help="command of the new checkout's Python")
    parser.add_argument("--verb", action="append", help="such as 'bench coco --quick'; repeatable")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tolerance", type=float, default=0.1, help="a share of the old time")
    given = parser.parse_args()
    failed = False
    for verb in given.verb or VERBS:
        found = repeats_of(verb, given.old, given.new, given.repeats, given.tolerance)
        print(f"{verb}: {found.text()}", flush=True)
        failed |= bool(found.slower) or found.speed < LEAST_SPEED
    sys.exit(failed)


if __name__ == "__main__":
    main()
