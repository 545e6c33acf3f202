"""Classification: one class per image."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sightline._text import printable, shortened
from sightline.data import Annotations, LabelType, Preprocess, Sample, Transform
from sightline.data.draw import draw_classification
from sightline.data.image import Picture
from sightline.data.preprocess import load_record_image
from sightline.metrics import accuracy, confusion_matrix, precision_recall_f1, top_k_accuracy
from sightline.settings.groups import Settings, SettingsError
from sightline.tasks.base import (
    NAME_LENGTH,
    Evaluation,
    Task,
    is_detector,
    path_of,
    picture_to_draw_on,
    short_score,
    spread,
)

__all__ = ["Classification", "ClassificationScorer", "Classify"]

_EXAMPLES, _EXAMPLE_COLUMNS = 24, 8  # in a report
_TILE_WIDTH = 160  # pixels


@dataclass(frozen=True, eq=False, repr=False)
class Classification:
    """The class of one image.

    Attributes:
        label: index of the best class.
        name: name of the best class.
        score: its probability.
        probabilities: float64 [K], one per class.
        class_names: [K].
        picture: the image that was given to `predict`, for `draw`; for an open file, its pixels.
    """

    label: int
    name: str
    score: float
    probabilities: np.ndarray
    class_names: tuple[str, ...] = ()
    picture: Picture | None = None

    def __repr__(self) -> str:
        """One line, as `Classification(cat .93)`."""
        return f"Classification({shortened(self.name, NAME_LENGTH)} {short_score(self.score)})"

    def summary(self) -> str:
        """The class and its probability, such as "cat 0.930"."""
        return f"{printable(self.name)} {self.score:.3f}"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: "image" (its path, or None), "name", "score", "probabilities".

        The last is a dict from class name to probability.
        """
        probabilities = dict(zip(self.class_names, self.probabilities.tolist()))
        return {
            "image": path_of(self.picture),
            "name": self.name,
            "score": self.score,
            "probabilities": probabilities,
        }

    def draw(self, picture: Picture | None = None, *, width: int | None = None) -> Any:
        """The image with the class and its probability below it, as a PIL image in RGB.

        Arguments and errors are those of `Detections.draw`.
        """
        image = picture_to_draw_on(self.picture if picture is None else picture)
        return draw_classification(image, f"{printable(self.name)}  {self.score:.2f}", width=width)


class ClassificationScorer:
    """Accuracy, top-k, precision, recall and F1 of logits."""

    monitor = "val/accuracy"

    def __init__(self, annotations: Annotations, *, task: str = "classify") -> None:
        self.annotations, self.task = annotations, task
        averages = [f"{m}_{a}" for a in ("macro", "micro") for m in ("precision", "recall", "f1")]
        top5 = ["top5"] if annotations.num_classes > 5 else []
        self.directions: Mapping[str, str] = dict.fromkeys(("accuracy", *top5, *averages), "max")
        self.reset()

    def reset(self) -> None:
        self._scores: list[np.ndarray] = []
        self._labels: list[int] = []
        self._indices: list[int] = []

    def update(self, outputs: Tensor, targets: Tensor, samples: Sequence[Sample]) -> None:
        """Add logits [B, K] and labels [B], or probabilities [B, K], whose largest counts."""
        if targets.ndim == 2:
            targets = targets.argmax(1)
        self._scores.append(torch.softmax(outputs.float(), 1).cpu().numpy())
        self._labels += targets.tolist()
        self._indices += [sample.index for sample in samples]

    def compute(self) -> dict[str, float]:
        scores, labels = np.concatenate(self._scores), np.array(self._labels)
        predicted = scores.argmax(1)
        classes = self.annotations.num_classes
        metrics = {"accuracy": accuracy(labels, predicted)}
        if classes > 5:
            metrics["top5"] = top_k_accuracy(labels, scores, k=5)
        for average in ("macro", "micro"):
            found = precision_recall_f1(labels, predicted, num_classes=classes, average=average)
            metrics[f"precision_{average}"] = found.precision
            metrics[f"recall_{average}"] = found.recall
            metrics[f"f1_{average}"] = found.f1
        return {name: float(value) for name, value in metrics.items()}

    def evaluation(self) -> Evaluation:
        scores, labels = np.concatenate(self._scores), np.array(self._labels)
        predicted = scores.argmax(1)
        names = self.annotations.class_names
        counts = confusion_matrix(labels, predicted, num_classes=len(names))
        found = precision_recall_f1(labels, predicted, num_classes=len(names), average=None)
        per_class = [
            {
                "name": name,
                "precision": float(found.precision[label]),
                "recall": float(found.recall[label]),
                "f1": float(found.f1[label]),
                "images": int(found.support[label]),
            }
            for label, name in enumerate(names)
        ]
        predictions = [
            {
                "image_id": self.annotations.records[index].image_id,
                "label": int(label),
                "name": names[label],
                "score": float(row[label]),
                "truth": int(truth),
            }
            for index, label, row, truth in zip(
                self._indices, predicted, scores, labels, strict=True
            )
        ]
        return Evaluation(
            task=self.task,
            class_names=names,
            metrics=self.compute(),
            per_class=per_class,
            confusion={"rows": list(names), "columns": list(names), "counts": counts.tolist()},
            predictions=predictions,
        )


class Classify(Task):
    """Models return logits [B, K]."""

    name = "classify"
    title = "Classifier"
    label_types = (LabelType.CLASS,)
    long_side = 128
    has_score_threshold = False
    meanings: Mapping[str, str] = {
        "accuracy": "share of images whose best class is the true one",
        "top5": "share of images whose true class is among the five best",
        "precision_macro": "share of the predictions of a class that are right; mean over classes",
        "recall_macro": "share of the images of a class that are recognised; mean over classes",
        "f1_macro": "harmonic mean of precision and recall; mean over classes",
        "precision_micro": "precision over all images together",
        "recall_micro": "recall over all images together",
        "f1_micro": "F1 over all images together",
    }
    headlines = ("accuracy", "top5", "f1_macro")

    def check_model(self, model: nn.Module, settings: Settings) -> None:
        if is_detector(model):
            raise SettingsError(
                f"model {settings.model.name} detects, and the labels of {settings.data.path} are "
                "classes without boxes: choose a classifier, such as model=resnet18, or give data "
                "with boxes"
            )

    def metric(self, annotations: Annotations, preprocess: Preprocess) -> ClassificationScorer:
        return ClassificationScorer(annotations, task=self.name)

    def predictions(
        self,
        outputs: Tensor,
        pictures: Sequence[Picture],
        transforms: Sequence[Transform],
        *,
        class_names: Sequence[str],
        preprocess: Preprocess,
        score_threshold: float,
    ) -> list[Classification]:
        rows = torch.softmax(outputs.double(), 1).cpu()
        found = []
        for probabilities, picture in zip(rows, pictures, strict=True):
            label = int(probabilities.argmax())
            found.append(
                Classification(
                    label=label,
                    name=class_names[label],
                    score=float(probabilities[label]),
                    probabilities=probabilities.numpy(),
                    class_names=tuple(class_names),
                    picture=picture,
                )
            )
        return found

    def example_tiles(
        self, annotations: Annotations, predictions: Sequence[dict[str, Any]]
    ) -> tuple[list[Any], int]:
        """Wrong predictions first, then correct ones that are evenly spaced over the set."""
        rows = {image_id: row for row, image_id in enumerate(annotations.table.ids.tolist())}
        wrong = [row for row in predictions if row["label"] != row["truth"]][: _EXAMPLES // 2]
        right = [row for row in predictions if row["label"] == row["truth"]]
        shown = wrong + [right[i] for i in spread(len(right), _EXAMPLES - len(wrong)) if right]
        tiles = []
        for row in shown:
            text = f"{printable(row['name'])}  {row['score']:.2f}"
            correct = row["label"] == row["truth"]
            if not correct:
                text += f"\nis {printable(annotations.class_names[row['truth']])}"
            image = load_record_image(annotations.records[rows[row["image_id"]]], 3)
            tiles.append(draw_classification(image, text, right=correct, width=_TILE_WIDTH))
        return tiles, _EXAMPLE_COLUMNS
