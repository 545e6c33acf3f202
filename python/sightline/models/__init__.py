"""Models: `outputs = model(images)`, `model.loss(outputs, targets)` the terms to minimise, and of a
detector `model.predictions(outputs)`; the same in training and evaluation mode."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.models needs torch: pip install 'sightline[torch]'") from error

from sightline.losses.classification import sigmoid_focal_loss
from sightline.models.anchors import (
    best_possible_recall,
    default_anchors,
    fit_anchors,
    grid_anchors,
    grid_points,
    kmeans_anchors,
)
from sightline.models.classifiers.resnet import ResNet, resnet18, resnet20
from sightline.models.create import create_model, list_models
from sightline.models.detectors.anchor import (
    AnchorDetector,
    AnchorMatching,
    AnchorObjective,
    AnchorOutputs,
    Postprocess,
)
from sightline.models.necks.fpn import FPN
from sightline.models.trunk import LightTrunk
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
    "FPN",
    "AnchorDetector",
    "AnchorMatching",
    "AnchorObjective",
    "AnchorOutputs",
    "BatchNormAct1d",
    "BatchNormAct2d",
    "BatchNormAct3d",
    "ConversionReport",
    "FrozenBatchNormAct2d",
    "LightTrunk",
    "Postprocess",
    "ResNet",
    "SyncBatchNormAct",
    "best_possible_recall",
    "convert_batch_norm",
    "convert_sync_batch_norm",
    "create_model",
    "default_anchors",
    "fit_anchors",
    "fold_batch_norm",
    "grid_anchors",
    "grid_points",
    "kmeans_anchors",
    "list_models",
    "resnet18",
    "resnet20",
    "sigmoid_focal_loss",
]
