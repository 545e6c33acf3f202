"""python -m tests.fuzz [--every-level] [--minutes M] [--cases N] [--seconds S] [--seed K]
[--case I] [names...]

Runs the random cases of the named ops, of all by default: `CASES` of each module or N, for at most
S seconds per op. With --minutes all ops take turns and end together after M minutes. --every-level
does so at every instruction set of the machine, one process each, and ends with a table. `--case I`
runs that case alone. An op ends with its first case that fails, which is printed with the command
that repeats it; the other ops go on, and the exit status is then 1.
"""

import argparse
from pathlib import Path
from types import ModuleType

from sightline import _numpy

from . import modules
from .levels import command_of, levels_of_machine, run_levels
from .turns import Limits, Record, take_turns

TURN = 1.0  # seconds


def main() -> int:
    available = modules()
    parser = argparse.ArgumentParser(
        prog="python -m tests.fuzz",
        description=(__doc__ or "").partition("\n\n")[2],
    )
    parser.add_argument("--every-level", action="store_true")
    parser.add_argument("--minutes", type=float)
    parser.add_argument("--cases", type=int)
    parser.add_argument("--seconds", type=float, default=float("inf"))
    parser.add_argument("--case", type=int)
    parser.add_argument("--seed", type=int, default=0)
    # Of the processes that run_levels starts.
    parser.add_argument("--record", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--until", type=float, help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", metavar="name", help=", ".join(available))
    arguments = parser.parse_args()
    if unknown := set(arguments.names) - set(available):
        parser.error(f"no {', '.join(sorted(unknown))} among {', '.join(available)}")
    ops = {name: available[name] for name in arguments.names or available}
    if arguments.record is None and (arguments.every_level or arguments.minutes is not None):
        levels = levels_of_machine() if arguments.every_level else [_numpy.isa()]
        options = [f"--seconds={arguments.seconds}"]
        options += [] if arguments.cases is None else [f"--cases={arguments.cases}"]
        return run_levels(levels, list(ops), arguments.seed, arguments.minutes, options)
    print(f"instruction set: {_numpy.isa()}, seed {arguments.seed}")
    progress = take_turns(
        ops,
        arguments.seed,
        limits_of(arguments),
        lambda name, case: command_of(_numpy.isa(), name, arguments.seed, case),
        Record(arguments.record) if arguments.record else None,
        arguments.case or 0,
    )
    return int(any(p.failure for p in progress.values()))


def limits_of(arguments: argparse.Namespace) -> Limits:
    def cases(module: ModuleType) -> float:
        if arguments.case is not None:
            return arguments.case + 1
        if arguments.cases is not None:
            return arguments.cases
        return module.CASES if arguments.seconds == float("inf") else float("inf")

    if arguments.until is None:
        return Limits(cases, arguments.seconds)
    return Limits(cases, arguments.seconds, arguments.until, TURN)


if __name__ == "__main__":
    raise SystemExit(main())
