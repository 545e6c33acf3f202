"""What torch must know of the average-precision ops beyond their kernels: shapes without data."""

import torch

from ._rules_torch import register_fake


def _match_detections(dt_boxes, *tensors_and_settings):
    gt_offsets, thresholds, ranges = tensors_and_settings[6:9]
    return_index = tensors_and_settings[-1]
    areas, num_thresholds, num_dt = ranges.shape[0], thresholds.shape[0], dt_boxes.shape[0]
    return (
        dt_boxes.new_empty((areas, num_thresholds, num_dt), dtype=torch.int8),
        dt_boxes.new_empty((areas, gt_offsets.shape[0] - 1), dtype=torch.int64),
        dt_boxes.new_empty(
            (areas, num_thresholds, num_dt if return_index else 0), dtype=torch.int64
        ),
    )


def _accumulate_precision(
    outcome, scores, order, rank, class_offsets, gt_count, max_detections, recall_thresholds
):
    areas, thresholds, _ = outcome.shape
    cells = (class_offsets.shape[0] - 1, areas, max_detections.shape[0])
    sampled = (thresholds, recall_thresholds.shape[0], *cells)
    return (
        scores.new_empty(sampled),
        scores.new_empty((thresholds, *cells)),
        scores.new_empty(sampled),
    )


def _average_precision(recall, precision, method):
    return recall.new_empty(recall.shape[0])


register_fake("match_detections", _match_detections)
register_fake("accumulate_precision", _accumulate_precision)
register_fake("average_precision", _average_precision)
