"""The score threshold that reaches a recall or precision on a run's validation split."""

from pathlib import Path

import numpy as np

from sightline._files import read_json
from sightline.metrics import ScoreCurve
from sightline.tasks import TASKS

__all__ = ["validation_curve"]


def validation_curve(source: str | Path, *, weights: str = "best") -> tuple[ScoreCurve, Path]:
    """Precision and recall by score threshold at IoU .5 on a run's validation split.

    All classes are counted together. `curve.at(recall=0.9).threshold` is a score threshold for
    `Predictor.predict`.

    Args:
        source: a run folder, or a weights file in it.
        weights: "best" or "last"; for a weights file, its name decides.

    Returns:
        The curve, and the `evaluation.json` that it comes from: the one written at the end of
        training, or for other weights that of `sightline eval`.

    Raises:
        FileNotFoundError: there is no evaluation of these weights; the message says how to get one.
        ValueError: the predictions of the run's task have no score threshold.
    """
    folder = Path(source)
    if folder.is_file():
        folder, weights = folder.parent.parent, folder.stem
    for place in (".", "eval-val", f"weights/{weights}-eval-val"):  # of a run and of its weights
        path = folder / place / "evaluation.json"
        found = read_json(path) if path.is_file() else {}
        task = TASKS.get(found.get("task", ""))
        if task is not None and not task.has_score_threshold:
            raise ValueError(
                f"{folder} is the run of a {task.title.lower()}: only detections have a score "
                "threshold, which a recall or a precision can choose"
            )
        if found.get("weights") == weights and found.get("score_curve"):
            columns = (found["score_curve"][name] for name in ("scores", "precision", "recall"))
            scores, precision, recall = (
                np.array([np.nan if x is None else x for x in column]) for column in columns
            )
            total = precision + recall
            f1 = np.divide(2 * precision * recall, total, out=np.zeros_like(total), where=total > 0)
            return ScoreCurve(scores, precision, recall, f1), path
    option = "" if weights == "best" else f" weights={weights}"
    raise FileNotFoundError(
        f"{folder} has no evaluation of its {weights} weights on the validation split with scores: "
        f"run `sightline eval {folder}{option}`"
    )
