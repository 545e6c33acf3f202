"""From a model's predictions to the metrics of its task, in pixels of the original pictures."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.data import Annotations, Preprocess
from sightline.metrics import (
    DetectionEvaluator,
    accuracy,
    confusion_matrix,
    detection_confusion_matrix,
    precision_recall_f1,
    top_k_accuracy,
)
from sightline.train.results import SCORE_THRESHOLD

__all__ = ["ClassificationScorer", "DetectionScorer", "Evaluation", "make_scorer"]

CONFUSION_IOU = 0.5


@dataclass(frozen=True, repr=False)
class Evaluation:
    """All that an evaluation found, as plain values for JSON.

    Attributes:
        task: "detect" or "classify".
        class_names: one a class.
        metrics: name -> number.
        per_class: one dict a class: "name" and its numbers.
        confusion: "rows" and "columns" (names) and "counts" [rows][columns]; rows are the truth.
            Detection has a last row and column "background".
        curves: detection only: one dict a class with "name", "recall" and "precision" at IoU .5.
        score_curve: detection only: "scores", "precision" and "recall" at IoU .5 of the detections
            of at least each score, all classes counted together; thinned to steps of .001.
        predictions: detection: COCO results (`image_id, category_id, bbox` xywh, `score`);
            classification: `image_id, label, name, score, truth`.
    """

    task: str
    class_names: tuple[str, ...]
    metrics: dict[str, Any]
    per_class: list[dict[str, Any]]
    confusion: dict[str, Any]
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
        """Everything but the predictions, which have a file of their own."""
        values = asdict(self)
        del values["predictions"]
        return values


def make_scorer(
    annotations: Annotations, preprocess: Preprocess
) -> "ClassificationScorer | DetectionScorer":
    """The scorer of a data set's task."""
    if annotations.task == "classify":
        return ClassificationScorer(annotations)
    return DetectionScorer(annotations, preprocess)


class ClassificationScorer:
    """Accuracy, top-k, precision, recall and F1 of logits."""

    monitor = "val/accuracy"

    def __init__(self, annotations: Annotations) -> None:
        self.annotations = annotations
        averages = [f"{m}_{a}" for a in ("macro", "micro") for m in ("precision", "recall", "f1")]
        top5 = ["top5"] if annotations.num_classes > 5 else []
        self.columns = ("accuracy", *top5, *averages)  # of `compute`
        self.reset()

    def reset(self) -> None:
        self._scores: list[np.ndarray] = []
        self._labels: list[int] = []
        self._indices: list[int] = []

    def update(self, predictions: Tensor, targets: Sequence[dict[str, Any]]) -> None:
        """Take in logits [B, K] and the targets of those images."""
        self._scores.append(torch.softmax(predictions.float(), 1).cpu().numpy())
        self._labels += [int(target["label"]) for target in targets]
        self._indices += [int(target["index"]) for target in targets]

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
            task="classify",
            class_names=names,
            metrics=self.compute(),
            per_class=per_class,
            confusion={"rows": list(names), "columns": list(names), "counts": counts.tolist()},
            predictions=predictions,
        )


class DetectionScorer:
    """COCO and VOC average precision of boxes, mapped back to the pictures as they were.

    Ground truth is what the annotations say, in float64, not what the network was shown.
    """

    monitor = "val/AP50"
    columns = ("AP", "AP50", "AP75", "mAP_voc")  # of `compute`

    def __init__(self, annotations: Annotations, preprocess: Preprocess) -> None:
        self.annotations, self.preprocess = annotations, preprocess
        self.reset()

    def reset(self) -> None:
        self._detections: dict[int, dict[str, np.ndarray]] = {}

    def update(
        self, predictions: Sequence[dict[str, Tensor]], targets: Sequence[dict[str, Any]]
    ) -> None:
        """Take in one dict of `boxes` (xyxy, network pixels), `scores` and `labels` an image."""
        for found, target in zip(predictions, targets, strict=True):
            index = int(target["index"])
            record = self.annotations.records[index]
            transform = self.preprocess.transform_for(record.height, record.width)
            boxes = found["boxes"].detach().cpu().double().numpy()
            self._detections[index] = {
                "boxes": self.preprocess.to_original(boxes, transform),
                "scores": found["scores"].detach().cpu().double().numpy(),
                "labels": found["labels"].cpu().numpy(),
            }

    def _truth(self, index: int) -> dict[str, np.ndarray]:
        record = self.annotations.records[index]
        boxes = {"boxes": record.boxes}
        if record.boxes_xywh is not None:
            boxes = {"boxes_xywh": record.boxes_xywh}
        return {
            **boxes,
            "labels": record.labels,
            "iscrowd": record.iscrowd,
            "difficult": record.difficult,
            "area": record.area,
        }

    def results(self, protocol: str = "coco") -> Any:
        """The full results of one protocol: "coco", "voc2007" or "voc2010"."""
        evaluator = DetectionEvaluator(protocol, class_names=self.annotations.class_names)
        for index, detections in self._detections.items():
            evaluator.update(index, detections, self._truth(index))
        return evaluator.compute()

    def compute(self) -> dict[str, float]:
        coco = self.results("coco")
        return {
            "AP": coco.ap,
            "AP50": coco.ap50,
            "AP75": coco.ap75,
            "mAP_voc": self.results("voc2010").ap,
        }

    def evaluation(self) -> Evaluation:
        coco = self.results("coco")
        names = self.annotations.class_names
        metrics = {
            **self.compute(),
            "mAP_voc2007": self.results("voc2007").ap,
            "coco_stats": coco.stats.tolist(),
        }
        per_class = [
            {
                "name": row.name,
                "AP": row.ap,
                "AP50": row.ap50,
                "AP75": row.ap75,
                "AR": row.ar,
                "objects": row.gt_count,
                "detections": row.dt_count,
            }
            for row in coco.per_class
        ]
        curves = []
        for index, row in enumerate(coco.per_class):
            if row.gt_count:
                curve = coco.curve(index, iou_threshold=0.5)
                curves.append(
                    {
                        "name": row.name,
                        "recall": curve.recall.tolist(),
                        "precision": curve.precision.tolist(),
                    }
                )
        thinned = coco.score_curve(iou_threshold=CONFUSION_IOU).thinned()
        score_curve = {
            name: getattr(thinned, name).tolist() for name in ("scores", "precision", "recall")
        }
        images = sorted(self._detections)
        counts = detection_confusion_matrix(
            [self._detections[index] for index in images],
            [self._truth(index) for index in images],
            num_classes=len(names),
            score_threshold=SCORE_THRESHOLD,
            iou_threshold=CONFUSION_IOU,
        )
        labels = [*names, "background"]
        return Evaluation(
            task="detect",
            class_names=names,
            metrics=metrics,
            per_class=per_class,
            confusion={"rows": labels, "columns": labels, "counts": counts.tolist()},
            curves=curves,
            score_curve=score_curve,
            predictions=self._coco_predictions(),
        )

    def _coco_predictions(self) -> list[dict[str, Any]]:
        categories = self.annotations.category_ids or range(self.annotations.num_classes)
        rows = []
        for index, found in sorted(self._detections.items()):
            image_id = self.annotations.records[index].image_id
            for box, score, label in zip(found["boxes"], found["scores"], found["labels"]):
                x1, y1, x2, y2 = box.tolist()
                rows.append(
                    {
                        "image_id": image_id,
                        "category_id": categories[int(label)],
                        "bbox": [x1, y1, x2 - x1, y2 - y1],
                        "score": float(score),
                    }
                )
        return rows
