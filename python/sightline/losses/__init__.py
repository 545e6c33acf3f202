"""Losses that torch lacks, and `Terms`, the form in which a step returns losses."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.losses needs torch: pip install 'sightline[torch]'") from error

from sightline.losses.classification import sigmoid_focal_loss
from sightline.losses.terms import Terms, as_terms

__all__ = ["Terms", "as_terms", "sigmoid_focal_loss"]
