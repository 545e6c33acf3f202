"""Precision, recall and F1 of a detector, by recall and by score threshold."""

from dataclasses import dataclass

import numpy as np

from sightline.metrics.detection._evidence import Evidence


@dataclass(frozen=True, repr=False)
class PrecisionRecallCurve:
    """Precision and score at recalls 0, .01 ... 1, for one class and IoU threshold."""

    recall: np.ndarray  # [R]
    precision: np.ndarray  # [R], 0 beyond the final recall
    scores: np.ndarray  # [R], score threshold at that recall, 0 beyond the final recall

    def __repr__(self) -> str:
        mean = float(np.mean(self.precision))
        return f"PrecisionRecallCurve({len(self.recall)} recalls, mean precision {mean:.4f})"


@dataclass(frozen=True, repr=False)
class ScoreCurve:
    """Precision, recall and F1 with every occurring score as the threshold."""

    scores: np.ndarray  # [N] descending, without repeats, NaN last
    precision: np.ndarray  # [N]
    recall: np.ndarray  # [N]
    f1: np.ndarray  # [N]

    def __repr__(self) -> str:
        ends = f" from {self.scores[0]:.4g} to {self.scores[-1]:.4g}" if len(self.scores) else ""
        return f"ScoreCurve({len(self.scores):,} scores{ends})"

    def best(self) -> "OperatingPoint":
        """The point with the largest F1; among equal ones that with the highest score."""
        if not len(self.scores):
            return OperatingPoint(np.nan, np.nan, 0.0, 0.0)
        return self._point(int(np.argmax(self.f1)))

    def at(
        self, *, recall: float | None = None, precision: float | None = None
    ) -> "OperatingPoint":
        """The highest threshold that reaches a recall, or the lowest that reaches a precision.

        Raises:
            ValueError: both or neither are given, or not in (0, 1]; there are no objects; no
                threshold reaches it.
        """
        if (recall is None) == (precision is None):
            raise ValueError("give either `recall` or `precision`")
        name, values, wanted = "recall", self.recall, recall
        if wanted is None:
            name, values, wanted = "precision", self.precision, precision
        if wanted is None or not 0 < wanted <= 1:
            raise ValueError(f"`{name}` must be in (0, 1], got {wanted!r}")
        values = values[~np.isnan(self.scores)]  # no threshold keeps a NaN score
        if not len(values):
            raise ValueError(f"no {name} of {wanted:g} is reached: there are no detections")
        if np.isnan(self.recall).all():
            raise ValueError(f"{name} is not defined without objects")
        reached = np.flatnonzero(values >= wanted)
        if not len(reached):
            best = self._point(int(np.argmax(values)))
            raise ValueError(
                f"no score threshold reaches a {name} of {wanted:g}: the highest is "
                f"{values.max():.4g}, of detections with a score of at least {best.threshold:.4g}"
            )
        return self._point(int(reached[0 if name == "recall" else -1]))

    def thinned(self, steps: int = 1000) -> "ScoreCurve":
        """The points that `at` returns for recalls and precisions in multiples of 1 / `steps`.

        There are at most 2 * `steps` + 3 of them, whatever the number of detections. For values in
        between, `at` returns the next of these points.
        """
        known = int(np.count_nonzero(~np.isnan(self.scores)))
        if not known:
            return self
        targets = np.arange(1, steps + 1) / steps
        recalls = np.searchsorted(self.recall[:known], targets)
        # the largest precision from each point on never rises: the last point that reaches a target
        later = np.maximum.accumulate(self.precision[:known][::-1])
        precisions = known - 1 - np.searchsorted(later, targets)
        ends = (0, int(np.argmax(self.precision[:known])), known - 1)
        rows = np.unique([*ends, *recalls[recalls < known], *precisions[precisions >= 0]])
        return ScoreCurve(*(x[rows] for x in (self.scores, self.precision, self.recall, self.f1)))

    def _point(self, row: int) -> "OperatingPoint":
        columns = (self.scores, self.precision, self.recall, self.f1)
        return OperatingPoint(*(float(column[row]) for column in columns))


@dataclass(frozen=True)
class OperatingPoint:
    """Precision, recall and F1 of a detector when detections below `threshold` are dropped.

    For a class without detections that count, threshold and precision are NaN, recall and F1 are 0;
    for a class without objects, all are NaN.
    """

    threshold: float
    precision: float
    recall: float
    f1: float


@dataclass(frozen=True, repr=False)
class BestF1:
    """The best operating points at one IoU threshold."""

    iou_threshold: float
    pooled: OperatingPoint  # one threshold for the detections of all classes together
    per_class: tuple[OperatingPoint, ...]

    def __repr__(self) -> str:
        number = len(self.per_class)
        return f"BestF1(IoU {self.iou_threshold:g}, pooled={self.pooled}, {number:,} classes)"


class ScoreCurves:
    """Curves by score threshold at one IoU threshold, per class and for all classes together."""

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
    changes = (here != below) & ~np.isnan(here)  # NaNs, which come last, count as one score
    last = np.append(np.flatnonzero(changes), len(scores) - 1) if len(scores) else order
    tp, kept = tp[last].astype(np.float64), last + 1.0
    recall = tp / positives if positives else np.full(len(tp), np.nan)
    return ScoreCurve(scores[last], tp / kept, recall, 2 * tp / (kept + positives))
