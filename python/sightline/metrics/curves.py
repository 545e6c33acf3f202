"""Precision, recall and F1 of a detector, over recall and over the score threshold."""

from dataclasses import dataclass

import numpy as np

from sightline.metrics._evidence import Evidence


@dataclass(frozen=True)
class PrecisionRecallCurve:
    """Precision and score at recalls 0, .01 ... 1, for one class and IoU threshold."""

    recall: np.ndarray  # [R]
    precision: np.ndarray  # [R], 0 beyond the final recall
    scores: np.ndarray  # [R], threshold of the score at that recall, 0 beyond


@dataclass(frozen=True)
class ScoreCurve:
    """What is reached by the detections of at least a score, for every score there is."""

    scores: np.ndarray  # [N] descending, each once, NaN last
    precision: np.ndarray  # [N]
    recall: np.ndarray  # [N]
    f1: np.ndarray  # [N]

    def best(self) -> "OperatingPoint":
        """The point of the largest F1; of equal ones that of the highest score, so fewest boxes."""
        if not len(self.scores):
            return OperatingPoint(np.nan, np.nan, 0.0, 0.0)
        i = int(np.argmax(self.f1))
        columns = (self.scores, self.precision, self.recall, self.f1)
        return OperatingPoint(*(float(column[i]) for column in columns))


@dataclass(frozen=True)
class OperatingPoint:
    """What a detector reaches when detections below `threshold` are dropped.

    A class without detections that count has threshold and precision NaN, recall and F1 0; a class
    without objects has NaN everywhere.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True)
class BestF1:
    """The best operating points at one IoU threshold."""

    iou_threshold: float
    pooled: OperatingPoint  # one threshold for all classes, their detections counted together
    per_class: tuple[OperatingPoint, ...]


class ScoreCurves:
    """Curves over the score at one IoU threshold, of each class and of all together."""

    def __init__(self, evidence: Evidence, iou_threshold: float) -> None:
        outcome = evidence.outcome(iou_threshold)
        self._positives = evidence.positives
        rows = np.flatnonzero(outcome >= 0)
        self._label = evidence.dt_class[rows]
        self._score = evidence.dt.scores[rows]
        self._found = outcome[rows] == 1

    def pooled(self) -> ScoreCurve:
        return _curve(self._score, self._found, int(self._positives.sum()))

    def of_class(self, k: int) -> ScoreCurve:
        mine = self._label == k
        return _curve(self._score[mine], self._found[mine], int(self._positives[k]))

    def best_of_classes(self) -> tuple[OperatingPoint, ...]:
        order = np.argsort(self._label, kind="stable")
        ends = np.cumsum(np.bincount(self._label, minlength=len(self._positives)))[:-1]
        score, found = (np.split(x[order], ends) for x in (self._score, self._found))
        nothing = OperatingPoint(np.nan, np.nan, np.nan, np.nan)
        return tuple(
            _curve(s, f, int(n)).best() if n else nothing
            for s, f, n in zip(score, found, self._positives)
        )


def _curve(scores: np.ndarray, found: np.ndarray, positives: int) -> ScoreCurve:
    order = np.argsort(0.0 - scores, kind="stable")
    scores, tp = scores[order], np.cumsum(found[order])
    here, below = scores[:-1], scores[1:]
    changes = (here != below) & ~np.isnan(here)  # NaNs, which come last, are one score
    last = np.append(np.flatnonzero(changes), len(scores) - 1) if len(scores) else order
    tp, kept = tp[last].astype(np.float64), last + 1.0
    recall = tp / positives if positives else np.full(len(tp), np.nan)
    return ScoreCurve(scores[last], tp / kept, recall, 2 * tp / (kept + positives))
