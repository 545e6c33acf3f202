"""Our op, its peers and its limit, after a check that the results agree."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial

import numpy as np

from .. import limits
from ..device import ARRAYS, torch
from ..outcome import OURS, Outcome
from ..run import Contest
from ..threads import sampler_on_one_thread
from ..timing import sampler
from .benchmark import OpBenchmark
from .peers import Peers
from .programs import Call, arrays_of, bind, contender, parts_of

HERE = ("torch", "torchvision")  # contenders that run in our own process, if they can be imported


def prepare(
    benchmark: OpBenchmark,
    stack: ExitStack,
    device: str,
    threads: int,
    *,
    peers: Sequence[Peers] = (),
) -> Contest[OpBenchmark]:
    """`peers`: workers in other environments, whose contenders take part."""
    own = contender(OURS)
    ours = bind(own, benchmark, device) if own else None
    if ours is None:
        raise ImportError("sightline.ops does not load: `sightline info` says why")
    ours()  # warm-up
    result = ours()
    expected = arrays_of(result)
    if device == "cuda" and benchmark.no_sync:
        _call_without_sync(ours)

    inputs = list(ours.args)
    moved = [*(inputs[:-1] if benchmark.writes_out else inputs), *expected]
    outcome = Outcome(
        benchmark, goals=benchmark.goals_on(device), size=sum(x.nbytes for x in moved)
    )
    contest = Contest(outcome, {OURS: sampler(ours, device)})
    for name, call in _peers_here(benchmark, device):
        check_same(benchmark, name, arrays_of(call()), expected)
        contest.samples[name] = sampler(call, device)
    for process in peers:
        for name in process.open(benchmark, "cpu" if device == ARRAYS else device):
            shown = f"{name}{process.suffix}"
            check_same(benchmark, shown, process.result(name).arrays, expected)
            contest.samples[shown] = partial(process.sample, name)
    if threads > 1:
        contest.one_thread = sampler_on_one_thread(ours, device)
    if benchmark.limit:
        passes: limits.Passes = getattr(limits, benchmark.limit)(inputs, parts_of(result))
        contest.passes = {n: (sampler(once, device), many) for n, (once, many) in passes.items()}
    return contest


def _peers_here(benchmark: OpBenchmark, device: str) -> Iterator[tuple[str, Call]]:
    for name in HERE:
        if name in benchmark.without or device == ARRAYS:
            continue
        programs = contender(name)
        call = bind(programs, benchmark, device) if programs else None
        if call:
            yield name, call


def check_same(
    benchmark: OpBenchmark, name: str, got: list[np.ndarray], expected: list[np.ndarray]
) -> None:
    """Raise ValueError if a peer gives another result, which would not be worth timing."""
    what, tolerance = benchmark.name, benchmark.tolerance
    if len(got) != len(expected):
        raise ValueError(f"{what}: {name} gives {len(got)} results, ours {len(expected)}")
    for theirs, mine in zip(got, expected):
        if theirs.shape != mine.shape:
            raise ValueError(f"{what}: {name} gives {theirs.shape}, ours {mine.shape}")
        if tolerance == 0 and not np.array_equal(theirs, mine):
            raise ValueError(f"{what}: {name} and ours differ")
        if tolerance and not np.allclose(theirs, mine, rtol=0, atol=tolerance):
            raise ValueError(f"{what}: {name} and ours differ by more than {tolerance}")


def _call_without_sync(call: Call) -> None:
    """Raise RuntimeError if the program waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        call()
    finally:
        torch.cuda.set_sync_debug_mode(before)
