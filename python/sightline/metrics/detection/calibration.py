"""Calibration: a detection with a score of .7 should be right in 70 % of cases."""

from dataclasses import dataclass

import numpy as np

from sightline.metrics.detection._evidence import Evidence


@dataclass(frozen=True, repr=False)
class Reliability:
    """Scores against the share of true positives, by bin of the score; NaN in an empty bin."""

    edges: np.ndarray  # [B + 1], from 0 to 1; a bin includes its lower edge, the last also 1
    count: np.ndarray  # [B] detections
    mean_score: np.ndarray  # [B]
    precision: np.ndarray  # [B] share of true positives
    mean_overlap: np.ndarray  # [B] sum of the true positives' overlaps, per detection of the bin

    def __repr__(self) -> str:
        return (
            f"Reliability({self.count.sum():,} detections in {len(self.count)} bins, expected "
            f"error {self.expected_error:.4f})"
        )

    @property
    def expected_error(self) -> float:
        """Mean over detections of |share of true positives - score| of their bin; NaN if none."""
        return self._weighted(np.abs(self.precision - self.mean_score))

    @property
    def maximum_error(self) -> float:
        """Largest |share of true positives - score| of a bin; NaN without detections."""
        gaps = np.abs(self.precision - self.mean_score)
        return float(np.nanmax(gaps)) if self.count.any() else float("nan")

    @property
    def localisation_aware_error(self) -> float:
        """As `expected_error`, but a true positive counts by its overlap with the object."""
        return self._weighted(np.abs(self.mean_overlap - self.mean_score))

    def _weighted(self, gaps: np.ndarray) -> float:
        total = self.count.sum()
        if not total:
            return float("nan")
        return float(np.where(self.count > 0, gaps, 0.0) @ self.count / total)


@dataclass(frozen=True, repr=False)
class Calibration:
    """Calibration of detections at one IoU threshold."""

    iou_threshold: float
    pooled: Reliability
    per_class: tuple[Reliability, ...]

    def __repr__(self) -> str:
        number = len(self.per_class)
        return f"Calibration(IoU {self.iou_threshold:g}, pooled={self.pooled}, {number:,} classes)"

    @property
    def expected_error(self) -> float:
        """D-ECE over the detections of all classes together."""
        return self.pooled.expected_error

    @property
    def maximum_error(self) -> float:
        """D-MCE over the detections of all classes together."""
        return self.pooled.maximum_error

    @property
    def localisation_aware_error(self) -> float:
        """LaECE: the mean over the classes that have detections."""
        errors = np.array([row.localisation_aware_error for row in self.per_class])
        present = errors[~np.isnan(errors)]
        return float(present.mean()) if len(present) else float("nan")


def calibrate(
    evidence: Evidence, *, iou_threshold: float, score_threshold: float, num_bins: int
) -> Calibration:
    """See `DetectionResults.calibration`."""
    if not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"`num_bins` must be an integer of at least 1, got {num_bins!r}")
    matches = evidence.match(iou_threshold)
    rows = np.flatnonzero((matches.outcome >= 0) & (evidence.dt.scores >= score_threshold))
    scores, found = evidence.dt.scores[rows], matches.outcome[rows] == 1
    if len(scores) and not (scores.min() >= 0 and scores.max() <= 1):
        bad = scores[(scores < 0) | (scores > 1)][0]
        raise ValueError(f"calibration needs scores in 0 ... 1, got {bad}")
    overlap = np.zeros(len(rows))
    overlap[found] = evidence.overlap_of(rows[found], matches.gt_row[rows[found]])

    edges = np.linspace(0.0, 1.0, num_bins + 1)
    cell = np.minimum(np.searchsorted(edges, scores, side="right") - 1, num_bins - 1)
    cell += evidence.dt_class[rows] * num_bins
    shape = (evidence.num_classes, num_bins)
    count, *sums = (
        np.bincount(cell, weights, minlength=shape[0] * shape[1]).reshape(shape)
        for weights in (None, scores, found, overlap)
    )
    return Calibration(
        iou_threshold,
        _reliability(edges, count.sum(axis=0), *(x.sum(axis=0) for x in sums)),
        tuple(_reliability(edges, *columns) for columns in zip(count, *sums)),
    )


def _reliability(
    edges: np.ndarray, count: np.ndarray, score: np.ndarray, found: np.ndarray, overlap: np.ndarray
) -> Reliability:
    means = (
        np.divide(total, count, out=np.full(len(count), np.nan), where=count > 0)
        for total in (score, found, overlap)
    )
    return Reliability(edges, count, *means)
