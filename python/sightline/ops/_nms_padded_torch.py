"""What torch must know of `nms_padded` beyond its kernels."""

import torch

from ._rules_torch import register_fake, register_float32


def _indices_and_count(boxes, scores, idxs, iou_threshold, max_detections, score_threshold):
    images = boxes.shape[0]
    return (
        boxes.new_empty(images, max_detections, dtype=torch.int64),
        boxes.new_empty(images, dtype=torch.int64),
    )


def _vmap(info, in_dims, boxes, scores, idxs, *rest):
    """More images: [V, B, N, 4] is called as [V * B, N, 4]."""

    def flat(value, dim):
        if value is None:
            return None
        if dim is None:
            value = value.expand(info.batch_size, *value.shape)
        else:
            value = value.movedim(dim, 0)
        return value.flatten(0, 1)

    tensors = (flat(value, dim) for value, dim in zip((boxes, scores, idxs), in_dims))
    outputs = torch.ops.sightline.nms_padded(*tensors, *rest)
    return tuple(out.unflatten(0, (info.batch_size, -1)) for out in outputs), (0, 0)


register_fake("nms_padded", _indices_and_count)
register_float32("nms_padded")
torch.library.register_vmap("sightline::nms_padded", _vmap)
