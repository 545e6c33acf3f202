"""Detection: boxes, each with a class and a score."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor, nn

from sightline._text import shortened
from sightline.data import Annotations, LabelType, Preprocess, Sample, Transform
from sightline.data.draw import draw_detections, draw_side_by_side
from sightline.data.image import Picture
from sightline.data.issues import why_nothing_is_left
from sightline.data.preprocess import load_record_image
from sightline.metrics import DetectionEvaluator, detection_confusion_matrix
from sightline.settings.groups import Settings, SettingsError
from sightline.tasks.base import (
    NAME_LENGTH,
    SCORE_THRESHOLD,
    Evaluation,
    Task,
    is_detector,
    path_of,
    picture_to_draw_on,
    short_score,
    spread,
)

__all__ = ["Detect", "DetectionScorer", "Detections"]

_CURVE_IOU = 0.5  # of curves and confusion matrix
_MOST_NAMED = 5  # classes, in a line
_EXAMPLES, _EXAMPLE_COLUMNS = 6, 2  # in a report
_TILE_WIDTH = 440  # pixels


@dataclass(frozen=True, eq=False, repr=False)
class Detections:
    """The objects found in one image, best first.

    Attributes:
        boxes: float64 [N, 4] xyxy in pixels of the image as shown (EXIF orientation applied).
        scores: float64 [N].
        labels: int64 [N].
        names: [N], names of the classes.
        picture: the image that was given to `predict`, for `draw`; for an open file, its pixels. It
            is read when it is drawn: a file must still exist, an array must be unchanged.
    """

    boxes: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    names: tuple[str, ...]
    picture: Picture | None = None

    def __len__(self) -> int:
        return len(self.boxes)

    def __repr__(self) -> str:
        """One line, as `Detections(3: 2 cat, 1 dog; best cat .93)`."""
        if not len(self):
            return "Detections(0)"
        best = int(np.argmax(self.scores))
        found = f"{shortened(self.names[best], NAME_LENGTH)} {short_score(self.scores[best])}"
        return f"Detections({len(self)}: {self.summary()}; best {found})"

    def summary(self) -> str:
        """The number of detections per class, such as "2 cat, 1 dog", the most common first."""
        counts = Counter(self.names).most_common()
        words = [f"{count} {shortened(name, NAME_LENGTH)}" for name, count in counts[:_MOST_NAMED]]
        if len(counts) > _MOST_NAMED:
            rest = sum(count for _, count in counts[_MOST_NAMED:])
            words.append(f"{rest} of {len(counts) - _MOST_NAMED} other classes")
        return ", ".join(words) or "nothing found"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON.

        "image" is the path of the image, None where it was not a file; "detections" has one dict
        per detection with "name", "label", "score" and "box" (xyxy in pixels), best first.
        """
        rows = zip(self.names, self.labels, self.scores, self.boxes, strict=True)
        return {
            "image": path_of(self.picture),
            "detections": [
                {"name": name, "label": int(label), "score": float(score), "box": box.tolist()}
                for name, label, score, box in rows
            ],
        }

    def draw(self, picture: Picture | None = None, *, width: int | None = None) -> Any:
        """The image with boxes, names and scores, as a PIL image in RGB.

        Args:
            picture: another image to draw on; None for the one that was given to `predict`.
            width: width of the result in pixels; None for the original size.

        Raises:
            DataError: a file that no longer exists or cannot be read.
            ValueError: there is no image, and none is given.
        """
        names = dict(zip(self.labels.tolist(), self.names, strict=True))
        image = picture_to_draw_on(self.picture if picture is None else picture)
        return draw_detections(
            image, self.boxes, self.labels, names, scores=self.scores, width=width
        )


class DetectionScorer:
    """COCO and VOC average precision of boxes, mapped back to the original images.

    The ground truth is that of the annotations, in float64, not the targets of the network.
    """

    monitor = "val/AP50"
    directions: Mapping[str, str] = dict.fromkeys(("AP", "AP50", "AP75", "mAP_voc"), "max")

    def __init__(
        self, annotations: Annotations, preprocess: Preprocess, *, task: str = "detect"
    ) -> None:
        self.annotations, self.preprocess, self.task = annotations, preprocess, task
        self.reset()

    def reset(self) -> None:
        self._detections: dict[int, dict[str, np.ndarray]] = {}
        self._results: dict[str, Any] = {}  # by protocol

    def update(
        self, outputs: Sequence[dict[str, Tensor]], targets: Any, samples: Sequence[Sample]
    ) -> None:
        """Add one dict of `boxes` (xyxy, network pixels), `scores` and `labels` per image."""
        self._results.clear()
        for found, sample in zip(outputs, samples, strict=True):
            record = self.annotations.records[sample.index]
            transform = self.preprocess.transform_for(record.height, record.width)
            boxes = found["boxes"].detach().cpu().double().numpy()
            self._detections[sample.index] = {
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
        if protocol not in self._results:
            evaluator = DetectionEvaluator(protocol, class_names=self.annotations.class_names)
            for index, detections in self._detections.items():
                evaluator.update(index, detections, self._truth(index))
            self._results[protocol] = evaluator.compute()
        return self._results[protocol]

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
        labels = [*names, "background"]
        return Evaluation(
            task=self.task,
            class_names=names,
            metrics=metrics,
            per_class=[
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
            ],
            confusion={"rows": labels, "columns": labels, "counts": self._confusion().tolist()},
            curves=self._curves(),
            score_curve=self._score_curve(),
            predictions=self._coco_predictions(),
        )

    def _confusion(self) -> np.ndarray:
        images = sorted(self._detections)
        return detection_confusion_matrix(
            [self._detections[index] for index in images],
            [self._truth(index) for index in images],
            num_classes=self.annotations.num_classes,
            score_threshold=SCORE_THRESHOLD,
            iou_threshold=_CURVE_IOU,
        )

    def _curves(self) -> list[dict[str, Any]]:
        """Precision-recall curves of the classes that have objects."""
        coco, rows = self.results("coco"), []
        for index, row in enumerate(coco.per_class):
            if row.gt_count:
                curve = coco.curve(index, iou_threshold=_CURVE_IOU)
                columns = {"recall": curve.recall.tolist(), "precision": curve.precision.tolist()}
                rows.append({"name": row.name, **columns})
        return rows

    def _score_curve(self) -> dict[str, list[float]]:
        curve = self.results("coco").score_curve(iou_threshold=_CURVE_IOU).thinned()
        return {name: getattr(curve, name).tolist() for name in ("scores", "precision", "recall")}

    def _coco_predictions(self) -> list[dict[str, Any]]:
        categories = self.annotations.category_ids or range(self.annotations.num_classes)
        rows = []
        for index, found in sorted(self._detections.items()):
            image_id = self.annotations.records[index].image_id
            boxes_xywh = found["boxes"].copy()
            boxes_xywh[:, 2:] -= boxes_xywh[:, :2]
            columns = (boxes_xywh, found["scores"], found["labels"])
            for box, score, label in zip(*(column.tolist() for column in columns)):
                category = categories[label]
                rows.append(
                    {"image_id": image_id, "category_id": category, "bbox": box, "score": score}
                )
        return rows


class Detect(Task):
    """The model predicts `boxes` [N, 4] (xyxy, network pixels), `scores` and `labels` per image."""

    name = "detect"
    title = "Detector"
    label_types = (LabelType.BOXES,)
    long_side = 320
    has_score_threshold = True
    meanings: Mapping[str, str] = {
        "AP": "mean AP over IoU .50 to .95 (COCO): how well boxes are found and placed",
        "AP50": "average precision at IoU .5: how well objects are found",
        "AP75": "average precision at IoU .75: only well-placed boxes count",
        "mAP_voc": "PASCAL VOC 2010 average precision (area under the whole curve, IoU .5)",
        "mAP_voc2007": "PASCAL VOC 2007 average precision (11 recall points, IoU .5)",
    }
    headlines = ("AP", "AP50", "AP75", "mAP_voc")
    confusion_note = (
        f"Boxes with a score of at least {SCORE_THRESHOLD:g}, matched at IoU .5. The background "
        "column counts missed objects, the background row false alarms."
    )

    def model_options(
        self, settings: Settings, train: Annotations, preprocess: Preprocess
    ) -> dict[str, Any]:
        options = super().model_options(settings, train, preprocess)
        if "anchors" not in settings.model.options:
            model = self.build_model(settings, train)  # only the model knows its number of levels
            self.check_model(model, settings)
            levels = len(model.strides)  # type: ignore[arg-type]
            options["anchors"] = training_anchors(train, preprocess, levels)
        return options

    def check_model(self, model: nn.Module, settings: Settings) -> None:
        if not is_detector(model):
            raise SettingsError(
                f"model {settings.model.name} does not detect, and the labels of "
                f"{settings.data.path} are boxes: choose a detector, such as model=light_detector"
            )

    def metric(self, annotations: Annotations, preprocess: Preprocess) -> DetectionScorer:
        return DetectionScorer(annotations, preprocess, task=self.name)

    def lacking(self, annotations: Annotations) -> str:
        crowds = annotations.table.iscrowd.values
        return "an object" if crowds.all() else ""

    def predictions(
        self,
        outputs: Sequence[dict[str, Tensor]],
        pictures: Sequence[Picture],
        transforms: Sequence[Transform],
        *,
        class_names: Sequence[str],
        preprocess: Preprocess,
        score_threshold: float,
    ) -> list[Detections]:
        found = []
        for output, transform, picture in zip(outputs, transforms, pictures, strict=True):
            scores = output["scores"].double().cpu().numpy()
            keep = scores >= score_threshold
            boxes = output["boxes"].double().cpu().numpy()[keep]
            labels = output["labels"].cpu().numpy()[keep]
            found.append(
                Detections(
                    boxes=preprocess.to_original(boxes, transform),
                    scores=scores[keep],
                    labels=labels,
                    names=tuple(class_names[label] for label in labels),
                    picture=picture,
                )
            )
        return found

    def example_tiles(
        self, annotations: Annotations, predictions: Sequence[dict[str, Any]]
    ) -> tuple[list[Any], int]:
        """Each image twice, with the truth on the left and the predictions on the right."""
        by_image = defaultdict(list)
        for row in predictions:
            if row["score"] >= SCORE_THRESHOLD:
                by_image[row["image_id"]].append(row)
        categories = list(annotations.category_ids or range(annotations.num_classes))
        tiles = []
        for index in spread(len(annotations), _EXAMPLES):
            record = annotations.records[index]
            image, found = load_record_image(record, 3), by_image[record.image_id]
            boxes = np.array([row["bbox"] for row in found]).reshape(-1, 4)
            boxes[:, 2:] += boxes[:, :2]
            names = annotations.class_names
            truth = draw_detections(image, record.boxes, record.labels, names, width=_TILE_WIDTH)
            labels = [categories.index(row["category_id"]) for row in found]
            scores = [row["score"] for row in found]
            predicted = draw_detections(
                image, boxes, labels, names, scores=scores, width=_TILE_WIDTH
            )
            tiles.append(draw_side_by_side([truth, predicted], ["truth", "predicted"]))
        return tiles, _EXAMPLE_COLUMNS


def training_anchors(
    train: Annotations, preprocess: Preprocess, levels: int
) -> list[list[list[float]]]:
    """Anchors by k-means over the training boxes, in pixels of the network's input."""
    from sightline.models import fit_anchors  # needs the native ops

    sizes = []
    for record in train.records:
        transform = preprocess.transform_for(record.height, record.width)
        boxes = transform.to_network(record.boxes[~record.iscrowd])
        sizes.append(boxes[:, 2:] - boxes[:, :2])
    boxes = np.concatenate(sizes)
    if not len(boxes):
        why = why_nothing_is_left(train)
        raise SettingsError(f"the training split of {train.source} has no box to learn from{why}")
    anchors = fit_anchors(boxes, levels=levels)
    return [[list(pair) for pair in level] for level in anchors]
