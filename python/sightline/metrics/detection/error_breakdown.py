"""The errors of a detector by kind, and how much average precision each kind costs."""

from dataclasses import dataclass

import numpy as np

from sightline.metrics.detection._evidence import Evidence, Matches
from sightline.metrics.detection.pairs import Pairs

ERROR_KINDS = (
    "classification",
    "localisation",
    "both",
    "duplicate",
    "background",
    "missed",
)
_CLASSIFICATION, _LOCALISATION, _BOTH, _DUPLICATE, _BACKGROUND, _MISSED = range(6)


@dataclass(frozen=True, repr=False)
class ErrorBreakdown:
    """Errors of a detector at one IoU threshold, and the cost of each kind.

    The cost of a kind is the AP if all errors of that kind, and no others, were corrected, minus
    the AP. Costs do not add up to 1 - AP: one kind may hide another.
    """

    iou_threshold: float
    background_threshold: float
    class_names: tuple[str, ...]
    ap: float  # at the threshold
    class_ap: np.ndarray  # [K], NaN without objects
    counts: dict[str, int]  # by kind
    class_counts: dict[
        str, np.ndarray
    ]  # by kind, [K]: class of the detection, or of the missed object
    costs: dict[str, float]  # by kind, and "false positives", "false negatives"
    class_costs: dict[str, np.ndarray]  # by kind, [K]; NaN without objects before or after
    kind_of_detection: np.ndarray  # [N] int8, row of ERROR_KINDS or -1, in the order of evaluation
    missed_objects: np.ndarray  # [M] bool, in the order of evaluation

    def __repr__(self) -> str:
        """One line; `summary()` is the table."""
        counts = ", ".join(f"{count:,} {kind}" for kind, count in self.counts.items())
        return f"ErrorBreakdown(AP {self.ap:.4f} at IoU {self.iou_threshold:g}: {counts})"

    def summary(self) -> str:
        """A table of kinds, counts and costs."""
        lines = [f"AP at IoU {self.iou_threshold:.2f} is {self.ap:.4f}"]
        lines.append(f"{'error':<16}{'count':>10}{'costs AP':>10}")
        for kind, cost in self.costs.items():
            count = f"{self.counts[kind]:>10}" if kind in self.counts else f"{'':>10}"
            lines.append(f"{kind:<16}{count}{cost:>10.4f}")
        return "\n".join(lines)


def break_down_errors(
    evidence: Evidence,
    class_names: tuple[str, ...],
    *,
    iou_threshold: float = 0.5,
    background_threshold: float = 0.1,
) -> ErrorBreakdown:
    """See `DetectionResults.error_breakdown`."""
    if not 0 < background_threshold < iou_threshold <= 1:
        raise ValueError(
            "thresholds must have 0 < `background_threshold` < `iou_threshold` <= 1, "
            f"got {background_threshold} and {iou_threshold}"
        )
    matches = evidence.match(iou_threshold)
    pairs = evidence.pairs(background_threshold)
    pairs = pairs.where(np.flatnonzero(matches.gt_counts[pairs.gt_row]))
    errors = _Errors(evidence, matches, pairs, iou_threshold, background_threshold)
    oracles = {
        "classification": errors.aim(_CLASSIFICATION),
        "localisation": errors.aim(_LOCALISATION),
        **{ERROR_KINDS[kind]: errors.drop(kind) for kind in (_BOTH, _DUPLICATE, _BACKGROUND)},
        "missed": errors.forget(errors.missed),
        "false positives": errors.found_only(),
        "false negatives": errors.forget(errors.not_found),
    }
    class_ap, ap = errors.before()
    class_counts = errors.class_counts()
    return ErrorBreakdown(
        iou_threshold=iou_threshold,
        background_threshold=background_threshold,
        class_names=class_names,
        ap=ap,
        class_ap=class_ap,
        counts={kind: int(by_class.sum()) for kind, by_class in class_counts.items()},
        class_counts=class_counts,
        costs={kind: mean - ap for kind, (_, mean) in oracles.items()},
        class_costs={kind: by_class - class_ap for kind, (by_class, _) in oracles.items()},
        kind_of_detection=errors.kind,
        missed_objects=errors.missed,
    )


# by class [K], and the mean
_AveragePrecision = tuple[np.ndarray, float]


class _Errors:
    """False positives by kind, objects not found, and AP with some of them corrected."""

    def __init__(
        self,
        evidence: Evidence,
        matches: Matches,
        pairs: Pairs,  # with objects that count, of at least the background threshold
        iou_threshold: float,
        background_threshold: float,
    ) -> None:
        self.evidence = evidence
        self.positives = evidence.positives
        self.label, self.gt_label = evidence.dt_class, evidence.gt_class
        self.found = matches.outcome == 1
        wrong = matches.outcome == 0
        self.ranked = evidence.rank(np.flatnonzero(matches.outcome >= 0), self.label)

        taken = np.zeros(len(self.gt_label), bool)
        taken[matches.gt_row[self.found]] = True
        self.not_found = matches.gt_counts & ~taken

        pairs = pairs.where(np.flatnonzero(wrong[pairs.dt_row]))
        same = self.label[pairs.dt_row] == self.gt_label[pairs.gt_row]
        number = len(self.label)
        own, own_row = _best(pairs.where(np.flatnonzero(same)), number)
        other, other_row = _best(pairs.where(np.flatnonzero(~same)), number)
        # the first that fits, in this order
        self.kind = np.select(
            [
                ~wrong,
                (own >= background_threshold) & (own < iou_threshold),
                other >= iou_threshold,
                own >= iou_threshold,
                np.maximum(own, other) <= background_threshold,
            ],
            [-1, _LOCALISATION, _CLASSIFICATION, _DUPLICATE, _BACKGROUND],
            _BOTH,
        ).astype(np.int8)
        aim = np.where(self.kind == _LOCALISATION, own_row, other_row)
        aims = (self.kind == _LOCALISATION) | (self.kind == _CLASSIFICATION)
        # an object that was found cannot be found again: the correction only drops the detection
        free = np.append(self.not_found, False)
        self.aim_row = np.where(aims & free[aim], aim, -1)
        self.missed = self.not_found.copy()
        self.missed[self.aim_row[self.aim_row >= 0]] = False

    def class_counts(self) -> dict[str, np.ndarray]:
        size = len(self.positives)
        counts = {
            kind: np.bincount(self.label[self.kind == row], minlength=size)
            for row, kind in enumerate(ERROR_KINDS[:_MISSED])
        }
        return {**counts, "missed": np.bincount(self.gt_label[self.missed], minlength=size)}

    def before(self) -> _AveragePrecision:
        return self._ap(self.ranked, self.label, self.found, self.positives)

    def drop(self, kind: int) -> _AveragePrecision:
        kept = self.ranked[self.kind[self.ranked] != kind]
        return self._ap(kept, self.label, self.found, self.positives)

    def found_only(self) -> _AveragePrecision:
        kept = self.ranked[self.found[self.ranked]]
        return self._ap(kept, self.label, self.found, self.positives)

    def forget(self, objects: np.ndarray) -> _AveragePrecision:
        gone = np.bincount(self.gt_label[objects], minlength=len(self.positives))
        return self._ap(self.ranked, self.label, self.found, self.positives - gone)

    def aim(self, kind: int) -> _AveragePrecision:
        """The best detection aimed at an object finds it; others of the kind are removed."""
        of_kind = self.kind == kind
        rows = np.flatnonzero(of_kind & (self.aim_row >= 0))
        best_first = rows[
            np.lexsort((rows, self.evidence.dt.image[rows], 0.0 - self.evidence.dt.scores[rows]))
        ]
        _, first = np.unique(self.aim_row[best_first], return_index=True)
        mended = best_first[first]
        found, label = self.found.copy(), self.label.copy()
        found[mended] = True
        label[mended] = self.gt_label[self.aim_row[mended]]
        kept = self.ranked[~of_kind[self.ranked] | found[self.ranked]]
        if kind == _CLASSIFICATION:
            kept = self.evidence.rank(kept, label)
        return self._ap(kept, label, found, self.positives)

    def _ap(
        self, ranked: np.ndarray, label: np.ndarray, found: np.ndarray, positives: np.ndarray
    ) -> _AveragePrecision:
        return self.evidence.average_precision(ranked, label, found, positives)


def _best(pairs: Pairs, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Largest overlap [N] of each detection, and its object (the first of equals); 0, -1: none."""
    order = np.lexsort((pairs.gt_row, 0.0 - pairs.overlap, pairs.dt_row))[::-1]
    overlap, row = np.zeros(number), np.full(number, -1)
    overlap[pairs.dt_row[order]] = pairs.overlap[order]  # the last write remains
    row[pairs.dt_row[order]] = pairs.gt_row[order]
    return overlap, row
