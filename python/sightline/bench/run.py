"""Runs works: equality first, then all contenders and the limit in turns."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from . import limits
from .peers import Peers
from .run_program import ARRAYS, Program, arrays_of, contender, parts_of, program, torch
from .threads import sampler, sampler_on_one_thread, threads_of
from .timing import Sample, Times, take_turns, unsteady
from .work import Work

HERE = ("torch", "torchvision")  # contenders that run in our own process, where they load


@dataclass
class Outcome:
    """What one work gave. `peers` and `passes` are by name; the fastest pass is the limit."""

    work: Work
    ours: Times
    moved: int  # bytes of the inputs and the results: what must be read and written at least
    peers: dict[str, Times] = field(default_factory=dict)
    passes: dict[str, Times] = field(default_factory=dict)
    one_thread: Times | None = None
    goals: Mapping[str, float] = field(default_factory=dict)  # of the device

    @property
    def limit(self) -> tuple[str, Times] | None:
        return min(self.passes.items(), key=lambda item: item[1].median, default=None)

    @property
    def noisy(self) -> bool:
        return unsteady(self.limit[1] if self.limit else self.ours, self.ours)

    def ratio(self, peer: str) -> float:
        return self.peers[peer].median / self.ours.median

    def as_json(self) -> dict[str, Any]:
        peers = {n: {**t.as_json(), "ratio": self.ratio(n)} for n, t in self.peers.items()}
        found: dict[str, Any] = {"name": self.work.name, "noisy": self.noisy, "bytes": self.moved}
        found |= {"ours": self.ours.as_json(), "peers": peers, "goals": dict(self.goals)}
        found["passes"] = {name: times.as_json() for name, times in self.passes.items()}
        if self.limit:
            name, times = self.limit
            found["limit"] = {"name": name, "fraction": times.median / self.ours.median}
        if self.one_thread:
            gain = self.one_thread.median / self.ours.median
            found["one thread"] = {**self.one_thread.as_json(), "ratio": gain}
        return found


def run(
    works: Sequence[Work],
    *,
    device: str = "cpu",
    threads: int = 1,
    peers: Sequence[Peers] = (),
    seconds: float = 1.0,
) -> Iterator[Outcome]:
    """An outcome for each work.

    `device`: cpu or cuda for tensors there, or `ARRAYS`. `seconds` is about how long each contender
    is sampled. With more than one thread, ours on one takes turns with the others.
    """
    with threads_of(threads):
        for work in works:
            yield _run_work(work, device, threads, peers, seconds)


def _run_work(
    work: Work, device: str, threads: int, peers: Sequence[Peers], seconds: float
) -> Outcome:
    own = contender("sightline")
    ours = program(own, work, device) if own else None
    if ours is None:
        raise ImportError("sightline.ops does not load: `sightline info` says why")
    ours()  # warm-up
    result = ours()
    expected = arrays_of(result)
    if device == "cuda" and work.no_sync:
        _call_without_sync(ours)

    samples: dict[str, Sample] = {"sightline": sampler(ours, device)}
    for name, run_peer in _peers_here(work, device):
        check_same(work, name, arrays_of(run_peer()), expected)
        samples[name] = sampler(run_peer, device)
    for process in peers:
        for name in process.open(work, "cpu" if device == ARRAYS else device):
            shown = f"{name}{process.suffix}"
            check_same(work, shown, process.result(name), expected)
            samples[shown] = partial(process.sample, name)
    peer_names = [name for name in samples if name != "sightline"]
    if threads > 1:
        samples["one thread"] = sampler_on_one_thread(ours, device)

    inputs = list(ours.args)
    passes = getattr(limits, work.limit)(inputs, parts_of(result)) if work.limit else {}
    for name, (run_pass, _) in passes.items():
        run_pass()
        samples[name] = sampler(run_pass, device)

    times = take_turns(samples, seconds=seconds)
    return Outcome(
        work,
        times["sightline"],
        sum(x.nbytes for x in _read_inputs(work, inputs)) + sum(x.nbytes for x in expected),
        {name: times[name] for name in peer_names},
        {n: times[n].scaled(many) for n, (_, many) in passes.items()},
        times.get("one thread"),
        work.goals_on(device),
    )


def _peers_here(work: Work, device: str) -> Iterator[tuple[str, Program]]:
    for name in HERE:
        if name in work.without or device == ARRAYS:
            continue
        programs = contender(name)
        run_peer = program(programs, work, device) if programs else None
        if run_peer:
            yield name, run_peer


def _read_inputs(work: Work, inputs: list[Any]) -> list[Any]:
    return inputs[:-1] if work.writes_out else inputs


def check_same(work: Work, name: str, got: list[np.ndarray], expected: list[np.ndarray]) -> None:
    """Raise ValueError where the peer's result is another one: then there is nothing to time."""
    if len(got) != len(expected):
        raise ValueError(f"{work.name}: {name} gives {len(got)} results, ours {len(expected)}")
    for theirs, mine in zip(got, expected):
        if theirs.shape != mine.shape:
            raise ValueError(f"{work.name}: {name} gives {theirs.shape}, ours {mine.shape}")
        if work.tolerance == 0 and not np.array_equal(theirs, mine):
            raise ValueError(f"{work.name}: {name} and ours differ")
        if work.tolerance and not np.allclose(theirs, mine, rtol=0, atol=work.tolerance):
            raise ValueError(f"{work.name}: {name} and ours differ by more than {work.tolerance}")


def _call_without_sync(run_program: Program) -> None:
    """Raise RuntimeError where the program waits for the device."""
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        run_program()
    finally:
        torch.cuda.set_sync_debug_mode(before)
