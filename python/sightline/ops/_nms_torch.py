"""What torch must know of the NMS ops beyond their kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _keep(boxes, *_others):
    kept = torch.library.get_ctx().new_dynamic_size()
    return boxes.new_empty(kept, dtype=torch.int64)


def _keep_and_suppressed_by(boxes, *_others):
    return _keep(boxes), boxes.new_empty(boxes.shape[0], dtype=torch.int64)


def _detections(boxes, scores, _score_threshold, _iou_threshold, max_detections, *_others):
    images = scores.shape[0]
    return (
        boxes.new_empty(images, max_detections, 4),
        scores.new_empty(images, max_detections),
        boxes.new_empty(images, max_detections, dtype=torch.int64),
        boxes.new_empty(images, dtype=torch.int64),
    )


register_fake("nms", _keep)
register_fake("batched_nms", _keep)
register_fake("nms_suppressed_by", _keep_and_suppressed_by)
register_fake("multiclass_nms", _detections)
for _name in ("nms", "batched_nms", "nms_suppressed_by", "multiclass_nms"):
    register_float32(_name)
