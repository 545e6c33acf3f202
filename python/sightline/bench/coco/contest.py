"""The evaluators, each in its own process, after a check of our arrays."""

import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from sightline import _numpy

from ..limits import aligned
from ..outcome import OURS, Outcome
from ..process import Result, WorkerProcess, run_process, thread_settings
from ..run import Contest
from ..timing import Sample, Times, sampler
from . import digests
from .benchmark import CocoBenchmark
from .files import Files, make

_ONCE = 2.0  # seconds: a peer whose first run takes longer is not run again
# Bytes per detection: a sort of keys and indices in three passes, a code for each of ten thresholds
# and four areas.
_SORT_BYTES, _SCAN_BYTES = 52, 40
_NEAR = 1e-6  # largest difference between a peer's numbers and ours that is not noted


def prepare(
    benchmark: CocoBenchmark,
    stack: ExitStack,
    device: str,
    threads: int,
    *,
    peers: str | None,
    folder: Path,
    slow: bool = False,
) -> Contest[CocoBenchmark]:
    """`peers` is the Python of the other evaluators; `folder` holds the data sets; `slow` includes
    the evaluators that take minutes."""
    files = make(benchmark.recipe, folder)
    outcome = Outcome(benchmark, goals=benchmark.goals, size=files.size)
    contest = Contest(outcome)
    first: dict[str, Result] = {}
    for name in (OURS, *benchmark.contenders):
        if name in benchmark.slow and not slow:
            outcome.notes[name] = "takes minutes, so only with --slow"
        elif name == OURS or peers:
            try:
                first[name], contest.samples[name] = _start(
                    outcome, name, files, threads, peers, stack
                )
            except (RuntimeError, OSError) as error:
                said = str(error).rpartition("worker of --peers: ")[2]
                outcome.notes[name] = said.partition("\n")[0]
    _hold_to_peers(outcome, first, files)
    if OURS in first:
        if threads > 1 and benchmark.program != "process":
            _, contest.one_thread = _start(outcome, OURS, files, 1, peers, stack)
        if benchmark.program.endswith("accumulate"):
            contest.passes = {"the limit": (_limit(benchmark, first[OURS]), 1)}
    contest.once = {
        name: Times([found.seconds])
        for name, found in first.items()
        if name != OURS and found.seconds > _ONCE
    }
    return contest


def _start(
    outcome: Outcome[CocoBenchmark],
    name: str,
    files: Files,
    threads: int,
    peers: str | None,
    stack: ExitStack,
) -> tuple[Result, Sample]:
    """The result of a first run, and the function that samples more."""
    benchmark, own, peaks = outcome.benchmark, name == OURS, outcome.peaks
    python, kind = sys.executable if own else str(peers), benchmark.recipe.kind
    if benchmark.program != "process":
        worker = stack.enter_context(WorkerProcess(python, thread_settings(threads), own=own))
        images = benchmark.images or benchmark.recipe.images
        worker.ask("open", **_request(benchmark.program, name, files, kind, threads, images))
        return worker.result(name), partial(worker.sample, name)

    def evaluate() -> Result:
        result = evaluate_files(python, name, files, kind, threads, own=own)
        peaks[name] = max(peaks.get(name, 0), result.peak)
        return result

    return evaluate(), lambda calls: sum(evaluate().seconds for _ in range(calls))


def evaluate_files(
    python: str, name: str, files: Files, kind: str, threads: int, *, own: bool = False
) -> Result:
    """Two json files to twelve numbers, as a whole process."""
    request = {"do": "open", **_request("files", name, files, kind, threads)}
    requests = [request, {"do": "result", "name": name}]
    return run_process(python, requests, thread_settings(threads), own=own)


def _request(
    program: str, name: str, files: Files, kind: str, threads: int, images: int = 0
) -> dict[str, Any]:
    """What `programs.make` takes."""
    paths = {key: str(path) for key, path in vars(files).items()}
    how = {"program": program, "kind": kind, "images": images, "threads": threads}
    return {"subject": "coco", "names": [name], **how, **paths}


def _hold_to_peers(outcome: Outcome[CocoBenchmark], found: dict[str, Result], files: Files) -> None:
    """Note how others differ; raise ValueError if ours differ from pycocotools."""
    ours, benchmark = found.get(OURS), outcome.benchmark
    if ours is None:
        return
    for peer, theirs in found.items():
        if peer == OURS:
            continue
        if len(theirs.stats) == len(ours.stats) and not np.allclose(
            theirs.stats, ours.stats, rtol=0, atol=_NEAR
        ):
            outcome.notes[peer] = f"other numbers: {theirs.stats[0]} for {ours.stats[0]}"
        said = _difference(theirs.arrays, ours.arrays)
        if said == "" and theirs.arrays:
            outcome.same_bits.append(peer)
        elif said:
            outcome.notes.setdefault(peer, said)
        if peer == "pycocotools" and benchmark.program != "process" and said != "":
            raise ValueError(f"{benchmark.name}: ours are not pycocotools' arrays: {said}")
    if not ours.arrays or benchmark.images:
        return
    recorded = digests.recorded(benchmark.recipe.name, files)
    if recorded is None:
        return
    if recorded["arrays"] != digests.digest(ours.arrays):
        raise ValueError(f"{benchmark.name}: ours are not the recorded arrays of {recorded['by']}")
    if "pycocotools" not in outcome.same_bits:
        outcome.same_bits.append(f"{recorded['by']}, recorded")


def _difference(theirs: list[np.ndarray], ours: list[np.ndarray]) -> str:
    """How arrays differ; empty if all bits are the same, or if there is nothing to compare."""
    if not theirs or not ours:
        return ""
    if [a.shape for a in theirs] != [a.shape for a in ours]:
        return f"arrays of shapes {[a.shape for a in theirs]}"
    cells = sum(int((a != b).sum()) for a, b in zip(theirs, ours))
    largest = max(float(np.abs(a - b).max(initial=0)) for a, b in zip(theirs, ours))
    return f"{cells:,} cells differ, by at most {largest:.2g}" if cells else ""


def record(benchmark: CocoBenchmark, *, threads: int, peers: str, folder: Path) -> str:
    """Record the digest of pycocotools' arrays for a benchmark's files, unless there is one."""
    recipe = benchmark.recipe
    files = make(recipe, folder)
    if entry := digests.recorded(recipe.name, files):
        return f"recorded before, AP {entry['AP']}"
    outcome = Outcome(CocoBenchmark(benchmark.name, "files", recipe))
    with ExitStack() as stack:
        found, _ = _start(outcome, "pycocotools", files, threads, peers, stack)
    digests.keep(recipe.name, files, found.arrays, found.stats[0])
    return f"{found.seconds:.1f} s, AP {found.stats[0]}"


def _limit(benchmark: CocoBenchmark, ours: Result) -> Sample:
    """Moving the bytes of accumulation: a scan, a sort if that is timed, and the arrays."""
    each = _SCAN_BYTES + (_SORT_BYTES if benchmark.program == "sort_and_accumulate" else 0)
    read = aligned(each * benchmark.recipe.detections // 4).view(np.uint32)
    written = aligned(sum(array.nbytes for array in ours.arrays) // 4)

    def move() -> None:
        _numpy.read_memory(read)
        _numpy.fill_memory(written, 0.5, False)

    return sampler(move)
