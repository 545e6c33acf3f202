"""python -m tests.fuzz [--cases N | --seconds S] [--seed K] [--case I] [names...]

Runs the random cases of the named ops, of all by default: `CASES` of each module, or N, or as many
as fit into S seconds an op. `--case I` runs that case alone. The first case of an op that fails is
printed with the command that repeats it; the exit status is then 1.
"""

import argparse
import os
import sys
import time
import traceback
from itertools import count
from types import ModuleType

from sightline import _numpy

from . import modules, run_case


def main() -> int:
    available = modules()
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz", description=__doc__.split("\n")[0]
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--cases", type=int)
    length.add_argument("--seconds", type=float)
    length.add_argument("--case", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(available))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(available):
        parser.error(f"no {', '.join(sorted(unknown))} among {', '.join(available)}")
    print(f"instruction set: {_numpy.isa()}, seed {arguments.seed}")
    failed = False
    for name in arguments.names or available:
        failed |= not run(name, available[name], arguments)
    return int(failed)


def run(name: str, module: ModuleType, arguments: argparse.Namespace) -> bool:
    """Whether all cases of one op pass."""
    start = time.monotonic()
    done = 0
    for case in cases(module, arguments):
        if arguments.seconds is not None and time.monotonic() - start > arguments.seconds:
            break
        try:
            run_case(module, arguments.seed, case)
        except Exception:
            traceback.print_exc()
            forced = os.environ.get("SIGHTLINE_ISA")
            prefix = f"SIGHTLINE_ISA={forced} " if forced else ""
            again = f"{prefix}python -m tests.fuzz {name} --seed {arguments.seed} --case {case}"
            print(f"{name}: case {case} failed; again: {again}", file=sys.stderr, flush=True)
            return False
        done += 1
    print(f"{name}: {done} cases, {time.monotonic() - start:.1f} s", flush=True)
    return True


def cases(module: ModuleType, arguments: argparse.Namespace):
    if arguments.case is not None:
        return [arguments.case]
    if arguments.seconds is not None:
        return count()
    return range(module.CASES if arguments.cases is None else arguments.cases)


if __name__ == "__main__":
    raise SystemExit(main())
