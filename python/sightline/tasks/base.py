"""The base class of tasks: what the rest of the package needs from a task."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from os import PathLike, fsdecode
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from sightline.data import Annotations, LabelType, Preprocess, Sample, Transform, default_augment
from sightline.data.image import Picture
from sightline.losses import Terms, as_terms
from sightline.nn.wrappers import unwrapped
from sightline.settings.groups import Settings, SettingsError

__all__ = [
    "NAME_LENGTH",
    "SCORE_THRESHOLD",
    "Evaluation",
    "Prediction",
    "Scorer",
    "Task",
    "is_detector",
    "path_of",
    "picture_to_draw_on",
    "short_score",
    "spread",
]

# The default score threshold of `Predictor.predict`, of `sightline predict`, and of the images and
# the confusion matrix of a report. Average precision uses all predictions.
SCORE_THRESHOLD = 0.3
NAME_LENGTH = 24  # characters of a class in a line
_SIDE_STEP = 16  # pixels; a whole number of cells on the maps of the light detector
_LEAST_STEPS = 2


@dataclass(frozen=True, repr=False)
class Evaluation:
    """The results of an evaluation, as plain values for JSON.

    Attributes:
        task: name of the task.
        class_names: one per class.
        metrics: name -> number.
        per_class: one dict per class: "name" and its numbers; empty where there are no classes.
        confusion: "rows" and "columns" (names) and "counts" [rows][columns]; rows are the truth.
            Detection has a last row and column "background". Empty where there are no classes.
        curves: detection only: one dict per class with "name", "recall" and "precision" at IoU .5.
        score_curve: detection only: "scores", "precision" and "recall" at IoU .5 with each score
            as the threshold, for all classes together; thinned to steps of .001.
        predictions: detection: COCO results (`image_id, category_id, bbox` xywh, `score`);
            classification: `image_id, label, name, score, truth`.
    """

    task: str
    class_names: tuple[str, ...]
    metrics: dict[str, Any]
    per_class: list[dict[str, Any]] = field(default_factory=list)
    confusion: dict[str, Any] = field(default_factory=dict)
    curves: list[dict[str, Any]] = field(default_factory=list)
    score_curve: dict[str, list[float]] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)

    def __repr__(self) -> str:
        """One line, with the first numbers of `metrics`."""
        numbers = [(k, v) for k, v in self.metrics.items() if isinstance(v, float)][:3]
        shown = ", ".join(f"{name} {value:.4f}" for name, value in numbers)
        return (
            f"Evaluation({self.task}: {shown}; {len(self.class_names):,} classes, "
            f"{len(self.predictions):,} predictions)"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything but the predictions, which have their own file."""
        values = asdict(self)
        del values["predictions"]
        return values


class Scorer(Protocol):
    """The metric of a task on one data set, in the form that `fit` needs, and its full results.

    Attributes:
        monitor: the column by which the best epoch is chosen, such as "val/accuracy".
        directions: for each number of `compute`, whether "min" or "max" is better.
    """

    monitor: str
    directions: Mapping[str, str]

    def reset(self) -> None:
        """Forget all images."""

    def update(self, outputs: Any, targets: Any, samples: Sequence[Sample]) -> None:
        """Add one batch.

        Args:
            outputs: `model.predictions(outputs)` where the model has that method, else the outputs.
            targets: from the loader.
            samples: one `Sample` per image, from the loader; `index` is its index in the data set.
        """

    def compute(self) -> dict[str, float]:
        """Metric name -> value for the images since `reset`."""

    def evaluation(self) -> Evaluation:
        """All numbers, curves and predictions for these images."""


class Prediction(Protocol):
    """The prediction of a model for one image."""

    @property
    def picture(self) -> Picture | None:
        """The image that was given to `predict`, for `draw`; for an open file, its pixels."""

    def summary(self) -> str:
        """A few words."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""

    def draw(self, picture: Picture | None = None, *, width: int | None = None) -> Any:
        """The image with the prediction drawn on it, as a PIL image in RGB."""


class Task:
    """One kind of problem: its labels, models, metric and predictions.

    A subclass sets the attributes.

    Attributes:
        name: its name in `train.task`, run folders and weights files.
        title: what a model for this task is called in headings, such as "Detector".
        label_types: the label types of the data sets that it can be trained on.
        long_side: pixels of the longer side of the network's input, where no size is set.
        has_score_threshold: whether predictions can be selected by a recall or a precision.
        meanings: the meaning of each number of an evaluation, in the order of a report.
        headlines: the numbers that are shown first.
        confusion_note: explains what the confusion matrix of a report counts; "" where not needed.
    """

    name: str
    title: str
    label_types: tuple[LabelType, ...]
    long_side: int
    has_score_threshold: bool
    meanings: Mapping[str, str]
    headlines: tuple[str, ...]
    confusion_note: str = ""

    def accepts(self, annotations: Annotations) -> bool:
        """Whether the task can be trained on these labels."""
        return annotations.label_type in self.label_types

    def settings_for(self, train: Annotations) -> dict[str, Any]:
        """Settings derived from the training images: the network's input size, augmentation.

        Keys are "group.name" and include "data.size".
        """
        width, height = np.median(train.table.sizes, axis=0).tolist()
        scale = min(1.0, self.long_side / max(height, width))
        size = tuple(
            max(_LEAST_STEPS, round(side * scale / _SIDE_STEP)) * _SIDE_STEP
            for side in (height, width)
        )
        augment = vars(default_augment(train))
        return {"data.size": size, **{f"augment.{name}": value for name, value in augment.items()}}

    def model_options(
        self, settings: Settings, train: Annotations, preprocess: Preprocess
    ) -> dict[str, Any]:
        """Arguments of the model derived from the training images; given ones take precedence."""
        return {"in_channels": settings.data.channels}

    def build_model(self, settings: Settings, train: Annotations) -> nn.Module:
        """The model that the settings name, with new weights.

        Raises:
            SettingsError: no model is named, or it does not accept the given options.
        """
        from sightline.models import create_model  # needs the native ops, which metadata does not

        name, options = settings.model.name, settings.model.options
        if name is None:
            raise SettingsError("model.name is none: give model=<name>")
        try:
            return create_model(name, train.num_classes, **options)
        except (TypeError, ValueError) as error:
            given = f" with options {options}" if options else ""
            raise SettingsError(f"model {name}{given}: {error}") from error

    def check_model(self, model: nn.Module, settings: Settings) -> None:
        """Raise SettingsError where a model is for another task."""

    def terms(
        self, model: nn.Module, inputs: Any, targets: Any, generator: torch.Generator | None = None
    ) -> tuple[Terms, Any]:
        """The terms to minimise for one batch, and the outputs, in one forward pass.

        Args:
            inputs, targets: from the loader, on the model's device.
            generator: source of random numbers for this batch, for tasks that need them.
        """
        outputs = model(inputs)
        own: Any = unwrapped(model)
        return as_terms(own.loss(outputs, targets)), outputs

    def metric(self, annotations: Annotations, preprocess: Preprocess) -> Scorer:
        """The metric for a model's outputs on the images of a data set."""
        raise NotImplementedError

    def lacking(self, annotations: Annotations) -> str:
        """What no image of the set has but the metric needs ("an object"); "" if nothing."""
        return ""

    def predictions(
        self,
        outputs: Any,
        pictures: Sequence[Picture],
        transforms: Sequence[Transform],
        *,
        class_names: Sequence[str],
        preprocess: Preprocess,
        score_threshold: float,
    ) -> Sequence[Prediction]:
        """The predictions for the images of a batch, in pixels of the original images.

        Args:
            outputs: the model's outputs for the batch.
            pictures: the images as they were given, for drawing.
            transforms: how each image was converted to the network's input.
            class_names: names of labels 0, 1, ...
            preprocess: the preprocessing that made the transforms.
            score_threshold: where there are scores, predictions with a lower one are left out.
        """
        raise NotImplementedError

    def example_tiles(
        self, annotations: Annotations, predictions: Sequence[dict[str, Any]]
    ) -> tuple[list[Any], int]:
        """Some images with their predictions, as PIL images, and the number of columns.

        Args:
            annotations: the data set that was evaluated.
            predictions: those of its `Evaluation`.
        """
        raise NotImplementedError


def is_detector(model: nn.Module) -> bool:
    """Whether a model predicts boxes, on maps of known strides."""
    return isinstance(getattr(model, "strides", None), tuple)


def spread(total: int, count: int) -> list[int]:
    """At most `count` indices, evenly spaced over `total`."""
    return sorted({int(i) for i in np.linspace(0, total - 1, min(count, total))})


def short_score(score: float) -> str:
    """Two digits, as ".93"."""
    return f"{score:.2f}".removeprefix("0")


def path_of(picture: Picture | None) -> str | None:
    """The path of an image, None where it is not a file."""
    return fsdecode(picture) if isinstance(picture, (str, PathLike)) else None


def picture_to_draw_on(picture: Picture | None) -> Picture:
    if picture is None:
        raise ValueError("no image to draw on: give the one that was predicted")
    return picture
