"""What torch must know of the IoU ops beyond their kernels."""

from ._rules_torch import register_backward, register_fake, register_float32

MATRIX_OPS = (
    "box_iou",
    "box_ioa",
    "generalized_box_iou",
    "distance_box_iou",
    "complete_box_iou",
)
LOSS_OPS = ("generalized_box_iou_loss", "distance_box_iou_loss", "complete_box_iou_loss")


def _matrix(boxes1, boxes2, *_eps):
    return boxes1.new_empty(boxes1.shape[0], boxes2.shape[0])


def _out(boxes1, boxes2, *_eps_and_out):
    return None


def _loss(boxes1, boxes2, eps):
    return boxes1.new_empty(boxes1.shape[0])


def _backward(grad, boxes1, boxes2, *_eps):
    return boxes1.new_empty(boxes1.shape), boxes2.new_empty(boxes2.shape)


for _name in MATRIX_OPS:
    register_fake(_name, _matrix)
    register_fake(f"{_name}_out", _out)
for _name in LOSS_OPS:
    register_fake(_name, _loss)
for _name in (*MATRIX_OPS, *LOSS_OPS):
    register_fake(f"{_name}_backward", _backward)
    register_backward(_name, differentiable=2)
    register_float32(_name)
