"""Layers that models are made of."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.nn needs torch: pip install 'sightline[torch]'") from error

from sightline.nn.batch_norm import (
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    ConversionReport,
    FrozenBatchNormAct2d,
    SyncBatchNormAct,
    convert_batch_norm,
    convert_sync_batch_norm,
    fold_batch_norm,
)
from sightline.nn.conv import ConvNormAct

__all__ = [
    "BatchNormAct1d",
    "BatchNormAct2d",
    "BatchNormAct3d",
    "ConvNormAct",
    "ConversionReport",
    "FrozenBatchNormAct2d",
    "SyncBatchNormAct",
    "convert_batch_norm",
    "convert_sync_batch_norm",
    "fold_batch_norm",
]
