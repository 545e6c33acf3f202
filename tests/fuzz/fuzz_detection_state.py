"""Random lives of a DetectionEvaluator against a dict of its images."""

import copy
import io
import pickle

import numpy as np

from sightline.metrics import DetectionEvaluator
from sightline.metrics.detection._state import from_arrays, read_state, to_arrays, to_bytes

CASES = 2_000
STEPS = ("update", "bad", "merge", "copy", "pickle", "file", "compute", "reset")


def draw_image(rng: np.random.Generator) -> tuple[dict, dict]:
    def boxes(n: int) -> np.ndarray:
        xyxy = np.cumsum(rng.integers(0, 9, (n, 4)), axis=1)
        return xyxy.astype(rng.choice(["f4", "f8", "i8", "u1", ">f4"]))

    n, m = rng.integers(0, 6, 2)
    key = rng.choice(["boxes", "boxes_xywh"])
    dt = {str(key): boxes(n), "scores": rng.random(n), "labels": rng.integers(0, 4, n)}
    gt = {str(key): boxes(m), "labels": rng.integers(0, 4, m).astype(rng.choice(["i1", "u4"]))}
    if rng.random() < 0.5:
        gt["iscrowd"] = rng.random(m) < 0.3
    if rng.random() < 0.5:
        gt["area"] = rng.random(m)
    return dt, gt


def check(rng: np.random.Generator) -> None:
    text = rng.random() < 0.3
    evaluator, model, steps = DetectionEvaluator(), {}, []
    for _ in range(int(rng.integers(1, 12))):
        step = str(
            rng.choice(["update", "bad", "merge", "copy", "pickle", "file", "views", "reset"])
        )
        steps.append(step)
        ids = rng.choice(40, int(rng.integers(0, 6)), replace=False).tolist()
        ids = [f"{i} é" if text else i for i in ids]
        new = {i: draw_image(rng) for i in ids if i not in model}
        batch = list(new), [dt for dt, _ in new.values()], [gt for _, gt in new.values()]
        if step == "update":
            evaluator.update(*batch)
            model |= new
        elif step == "bad" and new:
            refused = int(rng.integers(len(new)))
            labels = np.append(batch[1][refused]["labels"], 0)
            batch[1][refused] = batch[1][refused] | {"labels": labels}
            try:
                evaluator.update(*batch)
            except ValueError as error:
                assert f"image {list(new)[refused]!r}" in str(error), (steps, error)
            else:
                raise AssertionError((steps, "a bad batch was taken"))
        elif step == "merge":
            other = DetectionEvaluator()
            seen = {i: model[i] for i in ids if i in model}
            for i, image in (new | seen).items():
                other.update(i, *image)
            evaluator.merge(other)
            model |= new
        elif step == "copy":
            evaluator = copy.deepcopy(evaluator)
        elif step == "pickle":
            evaluator = pickle.loads(pickle.dumps(evaluator))
        elif step == "file":
            stored = to_bytes(evaluator._settings, to_arrays(evaluator._store))
            settings, arrays = read_state(io.BytesIO(stored), "state")
            evaluator._store = from_arrays(settings, arrays)
        elif step == "compute":
            evaluator.compute()  # sorts the columns and shares them
        elif step == "reset" and rng.random() < 0.3:
            evaluator.reset()
            model = {}
        assert len(evaluator) == len(model), steps
    evaluator._store.sort()
    wanted = DetectionEvaluator()
    for i in sorted(model):
        wanted.update(i, *model[i])
    ours, theirs = (to_arrays(e._store) for e in (evaluator, wanted))
    for name in theirs if model else ():
        assert np.array_equal(ours[name], theirs[name]), (steps, name)
