"""Losses on logits that torch lacks."""

import torch
from torch import Tensor
from torch.nn import functional as F


def sigmoid_focal_loss(
    logits: Tensor, targets: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Tensor:
    """Return the focal loss of each element, unreduced, in the shape of `logits`.

    `targets` are 0 or 1. `alpha` is the weight of ones and `1 - alpha` that of zeros; a negative
    `alpha` disables both. `gamma` lowers the weight of well-classified elements; 0 gives
    cross-entropy.
    Source: Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, equation 5.
    """
    cross_entropy = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    probability = logits.sigmoid()
    # |target - p| is 1 - p_t for both values of the target.
    loss = cross_entropy * (targets - probability).abs() ** gamma
    if alpha < 0:
        return loss
    return loss * torch.where(targets > 0.5, alpha, 1 - alpha)
