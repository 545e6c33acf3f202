"""Ours and the libraries of another Python, after a check of a change that is the same in all."""

from contextlib import ExitStack
from functools import partial

import numpy as np

from ..outcome import OURS, Outcome
from ..process import WorkerProcess
from ..run import Contest
from ..timing import sampler
from .benchmark import AugmentBenchmark
from .programs import make

_NEAR = 1e-4  # of normalised pixels and of boxes in pixels; libraries round in different places


def prepare(
    benchmark: AugmentBenchmark,
    stack: ExitStack,
    device: str,
    threads: int,
    *,
    peers: WorkerProcess | None,
) -> Contest[AugmentBenchmark]:
    """`peers` is the process of the other libraries."""
    outcome = Outcome(benchmark, goals=benchmark.goals)
    contest = Contest(outcome)
    flip, program = make(OURS, "flip", threads), make(OURS, benchmark.program, threads)
    assert flip and program
    program.run()
    contest.samples[OURS] = sampler(program.run, device)
    if peers is None:
        return contest
    wanted = flip.arrays(flip.run())
    assert wanted is not None
    opened = _open(peers, "flip", benchmark, threads)
    for name in benchmark.contenders:
        if name not in opened:
            outcome.notes[name] = "not installed"
            continue
        for what, ours, theirs in zip(
            ("pixels", "boxes"), wanted, peers.result(name).arrays, strict=True
        ):
            if ours.shape != theirs.shape or np.abs(ours - theirs).max() > _NEAR:
                raise ValueError(f"{name}: other {what} than ours of an image that is mirrored")
    for name in _open(peers, benchmark.program, benchmark, threads):
        peers.sample(name, 1)
        contest.samples[name] = partial(peers.sample, name)
    return contest


def _open(
    peers: WorkerProcess, program: str, benchmark: AugmentBenchmark, threads: int
) -> list[str]:
    request = {"subject": "augment", "program": program, "threads": threads}
    opened: list[str] = peers.ask("open", names=benchmark.contenders, **request)["opened"]
    return opened
