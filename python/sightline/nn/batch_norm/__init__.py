"""Batch norm with its activation: modules, over processes, conversion and folding."""

from sightline.nn.batch_norm.convert import convert_batch_norm
from sightline.nn.batch_norm.fold import fold_batch_norm
from sightline.nn.batch_norm.modules import (
    BatchNormAct1d,
    BatchNormAct2d,
    BatchNormAct3d,
    FrozenBatchNormAct2d,
)
from sightline.nn.batch_norm.report import ConversionReport
from sightline.nn.batch_norm.sync import SyncBatchNormAct, convert_sync_batch_norm

__all__ = [
    "BatchNormAct1d",
    "BatchNormAct2d",
    "BatchNormAct3d",
    "ConversionReport",
    "FrozenBatchNormAct2d",
    "SyncBatchNormAct",
    "convert_batch_norm",
    "convert_sync_batch_norm",
    "fold_batch_norm",
]
