"""The kernels under the metrics."""

from sightline.reference.average_precision import (
    accumulate_precision,
    average_precision,
    match_detections,
)

__all__ = ["accumulate_precision", "average_precision", "match_detections"]
