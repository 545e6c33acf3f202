"""Losses that torch does not have."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.losses needs torch: pip install 'sightline[torch]'") from error

from sightline.losses.classification import sigmoid_focal_loss

__all__ = ["sigmoid_focal_loss"]
