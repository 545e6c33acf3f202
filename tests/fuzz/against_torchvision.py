"""python -m tests.fuzz.against_torchvision --peers PYTHON [--cases N] [--seed K] [--case I]

Random cases of NMS and of the pairwise forms against torchvision, which runs in the environment of
PYTHON (`make peers`). Kept boxes and IoU have the same bits; the other forms agree within the
tolerances below. Boxes are finite and not inverted, where torchvision has no defined answer, and
thresholds are k / 64: its CPU compares a float32 IoU with a float64 threshold.
"""

import argparse
import pickle
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from sightline import _numpy, ops

NMS = ("nms", "batched_nms")
FORMS = ("box_iou", "generalized_box_iou", "distance_box_iou", "complete_box_iou")
CHUNK = 500
# Of GIoU, DIoU and CIoU, which are differences of numbers of about 1. torchvision rounds centres
# and diagonals in another order, and its arctangent is the C library's.
TOLERANCES = {np.float32: 1e-5, np.float64: 1e-12}

Case = tuple[str, list[np.ndarray], float | None]


def draw_boxes(rng: np.random.Generator, n: int, dtype) -> np.ndarray:
    kind = rng.integers(4)
    if kind == 0:  # whole numbers in a small range: equal overlaps, touching and empty boxes
        corner = rng.integers(-3, 8, (n, 2)).astype(np.float64)
        sides = rng.integers(0, 8, (n, 2)).astype(np.float64)
    elif kind == 1:  # copies of a few objects, moved a little or not at all
        corner, sides = rng.uniform(-50, 500, (6, 2)), rng.uniform(5, 90, (6, 2))
        pick = rng.integers(0, 6, n)
        corner = corner[pick] + rng.integers(-3, 4, (n, 2)) * rng.choice([0, 1, 0.37])
        sides = sides[pick]
    else:
        scale = 10.0 ** rng.integers(-2, 4)
        corner, sides = rng.uniform(-scale, scale, (n, 2)), rng.uniform(0, scale / 2, (n, 2))
    return np.concatenate([corner, corner + sides], 1).astype(dtype)


def draw(rng: np.random.Generator) -> Case:
    dtype = (np.float32, np.float64)[rng.integers(2)]
    size = int(rng.integers(0, 1000)) if rng.random() < 0.02 else int(rng.integers(0, 120))
    if rng.random() < 0.5:
        name = str(rng.choice(FORMS))
        return name, [draw_boxes(rng, m, dtype) for m in (size, int(rng.integers(0, 60)))], None
    scores = rng.random(size).astype(dtype)
    if rng.random() < 0.4:
        scores = np.round(scores * 8) / 8
    arrays = [draw_boxes(rng, size, dtype), scores.astype(dtype)]
    name = str(rng.choice(NMS))
    if name == "batched_nms":
        arrays.append(rng.integers(0, rng.choice([1, 3, 80]), size))
    return name, arrays, int(rng.integers(0, 65)) / 64


def problem(case: Case, theirs: np.ndarray) -> str | None:
    """What is wrong, if anything."""
    name, arrays, threshold = case
    mine = getattr(ops, name)(*arrays, *([] if threshold is None else [threshold]))
    if mine.shape != theirs.shape:
        return f"shape {mine.shape}, torchvision's {theirs.shape}"
    if name in NMS:
        return None if (mine == theirs).all() else f"{mine.tolist()}, not {theirs.tolist()}"
    if np.isnan(mine).any():
        return "NaN"
    defined = ~np.isnan(theirs)  # torchvision divides by an empty union or hull
    tolerance = 0 if name == "box_iou" else TOLERANCES[theirs.dtype.type]
    wrong = np.abs(mine - theirs)[defined].max(initial=0)
    return f"differs by {wrong}" if wrong > tolerance else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[2])
    parser.add_argument("--peers", required=True)
    parser.add_argument("--cases", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--case", type=int)
    arguments = parser.parse_args()
    first = arguments.case or 0
    last = first + 1 if arguments.case is not None else arguments.cases
    start = time.monotonic()
    worker = subprocess.Popen(
        [arguments.peers, str(Path(__file__).with_name("torchvision_worker.py"))],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert worker.stdin and worker.stdout
    try:
        for begin in range(first, last, CHUNK):
            numbers = range(begin, min(begin + CHUNK, last))
            cases = [draw(np.random.default_rng((arguments.seed, i))) for i in numbers]
            pickle.dump(cases, worker.stdin)
            worker.stdin.flush()
            for i, case, theirs in zip(numbers, cases, pickle.load(worker.stdout), strict=True):
                if said := problem(case, theirs):
                    again = f"--seed {arguments.seed} --case {i}"
                    name, arrays, threshold = case
                    shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in arrays)
                    print(f"{name}({shapes}, {threshold}) {said}; again: {again}", file=sys.stderr)
                    return 1
    finally:
        worker.kill()
        worker.communicate()
    seconds = time.monotonic() - start
    print(f"torchvision at {_numpy.isa()}: {last - first} cases, {seconds:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
