"""Detection evaluation: images come one by one or in batches, results at the end."""

import contextlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sightline.metrics._evaluate import FlatDetections, FlatTargets, Overlaps, Rules, evaluate
from sightline.metrics._evidence import Evidence
from sightline.metrics._inputs import as_list, check_image, check_image_id
from sightline.metrics._state import (
    CROWD,
    IGNORE,
    differing,
    from_arrays,
    new_store,
    read_state,
    save_state,
    to_arrays,
    to_bytes,
)
from sightline.metrics._synchronize import gather_messages, in_one_process
from sightline.metrics.detection_results import DetectionResults

# COCO's areas in pixels: sides of 32 and 96 bound "medium", 1e5 stands for no bound.
COCO_AREA_RANGES = {
    "all": (0.0, 1e5**2),
    "small": (0.0, 32.0**2),
    "medium": (32.0**2, 96.0**2),
    "large": (96.0**2, 1e5**2),
}
_DEFAULT_MAX_DETECTIONS = (1, 10, 100)
_IOU_TYPES = ("bbox",)
_PARITIES = ("corrected", "pycocotools")
# method of `average_precision` by protocol; None takes the mean of COCO's 101 samples
_AVERAGES = {"coco": None, "voc2007": "11point", "voc2010": "all"}


class DetectionEvaluator:
    """AP and AR of a detector by the COCO or the PASCAL VOC protocol.

    Args:
        protocol: `"coco"` (101 recall samples, ten IoU thresholds, four areas; equal to
            pycocotools 2.0.11 bit for bit), `"voc2007"` (11-point average) or `"voc2010"`
            (area under the whole curve), both at IoU .5 and with every detection.
        class_names: names of labels 0, 1, ...; without it, classes are the labels that occur.
        iou_thresholds: IoU thresholds in (0, 1], ascending; None for the protocol's own.
        max_detections: best detections kept in an image and class; the last is that of AP
            (pycocotools demands 100 there and gives -1 without it). COCO only.
        area_ranges: name -> (low, high) in pixels, both ends inside; the first stands for AP and
            AP50. COCO only.
        use_classes: False scores boxes alone, as for proposals.
        iou_type: `"bbox"`.
        parity: `"corrected"`, or `"pycocotools"` to repeat its faults: AP is -1 where
            `max_detections` lacks 100, and a NaN score is taken, and sorted last.
        inclusive_pixels: sides are x2 - x1 + 1; None for the protocol's own, which is
            True for VOC and False for COCO. COCO with it is refused.

    Ties of score keep the order of images sorted by id, then the order within an image. Results
    do not depend on the order of the calls. The state takes 44 bytes a detection (boxes and scores
    in float64, labels in int32), 45 an object and 32 to 40 an image; a result shares its
    columns rather than copy them.

    Example:
        >>> evaluator = DetectionEvaluator(class_names=["cat"])
        >>> evaluator.update(
        ...     1,
        ...     {"boxes": [[0, 0, 10, 10]], "scores": [0.9], "labels": [0]},
        ...     {"boxes": [[0, 0, 10, 10]], "labels": [0]},
        ... )
        >>> print(f"{evaluator.compute().ap50:.3f}")
        1.000
    """

    def __init__(
        self,
        protocol: str = "coco",
        *,
        iou_type: str = "bbox",
        parity: str = "corrected",
        class_names: Sequence[str] | None = None,
        iou_thresholds: Sequence[float] | None = None,
        max_detections: Sequence[int] = _DEFAULT_MAX_DETECTIONS,
        area_ranges: Mapping[str, tuple[float, float]] | None = None,
        use_classes: bool = True,
        inclusive_pixels: bool | None = None,
    ) -> None:
        if protocol not in _AVERAGES:
            raise ValueError(f"`protocol` must be one of {sorted(_AVERAGES)}, got {protocol!r}")
        if iou_type not in _IOU_TYPES:
            raise ValueError(f"`iou_type` must be one of {_IOU_TYPES}, got {iou_type!r}")
        if parity not in _PARITIES:
            raise ValueError(f"`parity` must be one of {_PARITIES}, got {parity!r}")
        self.protocol, self.iou_type, self.parity = protocol, iou_type, parity
        self.class_names = None if class_names is None else tuple(class_names)
        self.use_classes = use_classes
        self.area_ranges = _area_ranges(protocol, area_ranges)
        caps = tuple(max_detections)
        self.rules = Rules(
            matching="coco" if protocol == "coco" else "voc",
            iou_thresholds=_iou_thresholds(protocol, iou_thresholds),
            recall_thresholds=np.linspace(0.0, 1.0, 101),
            area_ranges=np.array(list(self.area_ranges.values()), np.float64),
            max_detections=_max_detections(protocol, caps),
            inclusive=_inclusive(protocol, inclusive_pixels),
            average=_AVERAGES[protocol],
        )
        self._settings = {
            "protocol": protocol,
            "iou_type": iou_type,
            "parity": parity,
            "class_names": None if class_names is None else list(self.class_names or ()),
            "iou_thresholds": self.rules.iou_thresholds.tolist(),
            "max_detections": self.rules.max_detections and list(self.rules.max_detections),
            "area_ranges": {name: list(bounds) for name, bounds in self.area_ranges.items()},
            "use_classes": use_classes,
            "inclusive_pixels": self.rules.inclusive,
        }
        self.reset()

    def update(self, image_id: Any, detections: Any, targets: Any) -> None:
        """Add one image, or a batch of them.

        Args:
            image_id: an int of 64 bits or a str, the same kind for all images. Of a batch, a list
                or a 1-D array of them.
            detections: `boxes` (xyxy) or `boxes_xywh` [N, 4] in pixels, `scores` [N],
                `labels` [N] integers. Of a batch, a list of such dicts.
            targets: `boxes` or `boxes_xywh` [M, 4], `labels` [M]; optional `iscrowd` [M],
                `area` [M] (default w * h) and `difficult` [M]. A difficult object counts neither
                way; under VOC so does a crowd, under COCO a difficult object takes one detection.
                Of a batch, a list of such dicts.

        The values are arrays of any number type, layout and byte order, tensors, or lists; they
        are copied. A batch is taken whole or, where it is refused, not at all. 16 images of 75
        detections each take about 50 microseconds.

        Raises:
            ValueError: the image was added before; a shape, a length, a label outside
                `class_names`, a negative label, a box with x2 < x1 or y2 < y1, a NaN or an
                infinity in boxes, scores or areas. The evaluator is then as it was before.
            TypeError: labels that are not integers, ids of two kinds.
        """
        if isinstance(detections, Mapping) or isinstance(targets, Mapping):
            image_id, detections, targets = [image_id], [detections], [targets]
        else:
            image_id = as_list(image_id, "image_id")
            detections = as_list(detections, "detections")
            targets = as_list(targets, "targets")
            if not len(image_id) == len(detections) == len(targets):
                raise ValueError(
                    "a batch must have as many `image_id` as `detections` and `targets`, "
                    f"got {len(image_id)}, {len(detections)} and {len(targets)}"
                )
        refused = self._store.update(image_id, detections, targets)
        if refused is not None:
            self._refuse(refused, image_id, detections, targets)

    def _refuse(self, index: int, image_ids: list, detections: list, targets: list) -> None:
        """Raise the error of the image of a batch that the store refused."""
        image_id = image_ids[index]
        check_image_id(image_id)
        if image_id in self._store:
            raise ValueError(
                f"`image_id` {image_id!r} was added before; call update once for each image"
            )
        if image_id in image_ids[:index]:
            raise ValueError(f"`image_id` {image_id!r} is in the batch twice")
        check_image(
            image_id,
            detections[index],
            targets[index],
            None if self.class_names is None else len(self.class_names),
            any_score=self.parity == "pycocotools",
        )
        raise TypeError(
            f"`image_id` must be of one kind, all int or all str, got {image_id!r} beside others"
        )

    def reset(self) -> None:
        """Forget all images."""
        self._store = new_store(self._settings)

    def __len__(self) -> int:
        return len(self._store)

    def merge(
        self, other: "DetectionEvaluator", *, duplicates: str = "same"
    ) -> "DetectionEvaluator":
        """Add the images of another evaluator, which stays as it is.

        Args:
            other: of the same settings.
            duplicates: an image in both counts once. `"same"`: its rows must be the same in both;
                `"first"`: its objects must be, and the detections here stand.

        Returns:
            This evaluator.

        Raises:
            ValueError: other settings; an image in both whose rows differ. This evaluator is
                then as it was before.
            TypeError: `other` is no evaluator, or its ids are of the other kind.
        """
        _check_duplicates(duplicates)
        if not isinstance(other, DetectionEvaluator):
            raise TypeError(f"`other` must be a DetectionEvaluator, got {type(other).__name__}")
        differences = differing(self._settings, other._settings)
        if differences:
            raise ValueError(f"evaluators must have the same settings to merge: {differences}")
        self._merge(other._store, duplicates)
        return self

    def _merge(self, store: Any, duplicates: str) -> None:
        refused = self._store.merge(store, keep_first=duplicates == "first")
        if refused is None:
            return
        if refused not in self._store:
            raise TypeError(f"`image_id` must be of one kind, all int or all str, got {refused!r}")
        what = "rows" if duplicates == "same" else "targets"
        raise ValueError(
            f"image {refused!r} is in both with other {what}; ids must be unique, "
            "also among processes that each number their images"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings and images to a file, an .npz of the columns, whole or not at all."""
        save_state(path, self._settings, to_arrays(self._store))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DetectionEvaluator":
        """The evaluator that `save` wrote.

        Raises:
            ValueError: the file is no saved evaluator, of a later version, or damaged.
            FileNotFoundError: no such file.
        """
        name = f"`path` {os.fspath(path)!r}"
        with open(path, "rb") as file:
            settings, arrays = read_state(file, name)
        try:
            return _restored(cls, settings, arrays)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"{name} is no saved DetectionEvaluator, or damaged: {error}"
            ) from error

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), self._settings, to_arrays(self._store))

    def synchronize(
        self, group: Any = None, *, dst: int | None = None, duplicates: str = "first"
    ) -> "DetectionEvaluator":
        """Gather the images of all processes of `torch.distributed`, on all of them.

        Call it on every rank, also on one without images, before `compute`. Two collectives
        whatever the data. Without a process group nothing happens, so that a script may run alone.

        Args:
            group: process group, None for all.
            dst: global rank that alone gathers; the others keep their images.
            duplicates: as in `merge`. An image that several ranks saw, as samplers that pad
                give it, counts once, with the detections of the lowest rank.

        Returns:
            This evaluator.

        Raises:
            ValueError: other settings on some rank (on all ranks); an image on two ranks with
                other targets (where they are gathered).
            RuntimeError: another rank failed.

        Memory: the images of all ranks, as often as there are ranks for a moment.
        """
        _check_duplicates(duplicates)
        if in_one_process():
            return self
        settings = json.dumps(self._settings)
        try:
            message = to_bytes(self._settings, to_arrays(self._store))
        except BaseException:
            with contextlib.suppress(RuntimeError):
                gather_messages(None, settings, group, dst)  # the others wait for this rank
            raise
        messages = gather_messages(message, settings, group, dst)
        if messages is None:
            return self
        whole = new_store(self._settings)
        mine, self._store = self._store, whole
        try:
            for part in messages:
                arrays = read_state(io.BytesIO(part), "a message")[1]
                self._merge(from_arrays(self._settings, arrays), duplicates)
        except BaseException:
            self._store = mine
            raise
        return self

    @property
    def nbytes(self) -> int:
        """Bytes of the state: 44 a detection, 45 an object, 32 to 40 an image.

        Columns reserve up to half as much again, which takes no memory before it is written.
        """
        return self._store.nbytes

    def compute(self) -> DetectionResults:
        """Results over all images so far; more may be added after.

        A class without ground truth has AP NaN and -1 in the arrays; with ground truth and no
        detection, AP 0. No image at all gives NaN everywhere.

        """
        self._store.sort()
        dt, gt = self._store.columns(objects=False), self._store.columns(objects=True)
        if self.class_names is None:
            class_ids, dt_label, gt_label = self._store.classes()
            class_names = tuple(str(c) for c in class_ids)
        else:
            class_ids, class_names = np.arange(len(self.class_names)), self.class_names
            dt_label, gt_label = (side["labels"].astype(np.int64) for side in (dt, gt))
        return results_of(
            self,
            FlatDetections(
                _image_of_row(dt["image_ends"]), dt_label, dt["boxes_xywh"], dt["scores"]
            ),
            FlatTargets(
                _image_of_row(gt["image_ends"]),
                gt_label,
                gt["boxes_xywh"],
                gt["area"],
                (gt["flags"] & CROWD) != 0,
                (gt["flags"] & IGNORE) != 0,
            ),
            num_images=len(self),
            class_ids=tuple(class_ids.tolist()),
            class_names=class_names,
        )


def results_of(
    evaluator: DetectionEvaluator,
    dt: FlatDetections,
    gt: FlatTargets,
    *,
    num_images: int,
    class_ids: tuple[int, ...],
    class_names: tuple[str, ...],
    iou_type: str = "bbox",
    overlaps: Overlaps | None = None,
) -> DetectionResults:
    """Evaluate flat arrays by an evaluator's settings; `image` is in 0 ... num_images - 1.

    `overlaps` takes the place of the IoU of boxes, and `iou_type` says of what they are.
    """
    rules, use_classes = evaluator.rules, evaluator.use_classes
    num_classes = len(class_ids) if use_classes else 1
    arrays = evaluate(
        dt,
        gt,
        num_classes,
        rules,
        num_images=num_images,
        use_classes=use_classes,
        overlaps=overlaps,
    )
    return DetectionResults(
        protocol=evaluator.protocol,
        class_ids=class_ids if use_classes else (-1,),
        class_names=class_names if use_classes else ("all classes",),
        iou_thresholds=rules.iou_thresholds,
        recall_thresholds=rules.recall_thresholds,
        area_names=tuple(evaluator.area_ranges),
        max_detections=rules.max_detections,
        precision=arrays.precision,
        recall=arrays.recall,
        scores=arrays.scores,
        class_ap=arrays.class_ap,
        gt_count=arrays.gt_count,
        dt_count=arrays.dt_count,
        iou_type=iou_type,
        parity=evaluator.parity,
        _evidence=Evidence(arrays.matched, num_classes, use_classes, overlaps),
    )


def _restored(kind: type, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """An evaluator of these settings that holds these images."""
    kwargs = dict(settings)
    if settings["protocol"] != "coco":  # which alone lets these be chosen
        del kwargs["max_detections"], kwargs["area_ranges"]
    evaluator = kind(**kwargs)
    evaluator._store = from_arrays(settings, arrays)
    return evaluator


def _check_duplicates(duplicates: str) -> None:
    if duplicates not in ("same", "first"):
        raise ValueError(f"`duplicates` must be 'same' or 'first', got {duplicates!r}")


def _image_of_row(ends: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))


def _iou_thresholds(protocol: str, thresholds: Sequence[float] | None) -> np.ndarray:
    if thresholds is None:
        # linspace, not .5 + .05 * i: the two differ in the last bit at .85 and .9
        return np.linspace(0.5, 0.95, 10) if protocol == "coco" else np.array([0.5])
    values = np.asarray(thresholds, np.float64)
    if values.ndim != 1 or not len(values) or not np.all((values > 0) & (values <= 1)):
        raise ValueError(
            f"`iou_thresholds` must be one or more numbers in (0, 1], got {thresholds!r}"
        )
    if np.any(np.diff(values) <= 0):
        raise ValueError(f"`iou_thresholds` must ascend without repeats, got {thresholds!r}")
    return values


def _max_detections(protocol: str, caps: tuple[int, ...]) -> tuple[int, ...] | None:
    if protocol != "coco":
        if caps != _DEFAULT_MAX_DETECTIONS:
            raise ValueError(
                f"`max_detections` is of the coco protocol only: {protocol} counts every "
                f"detection, got {caps!r}"
            )
        return None
    if not caps or any(isinstance(c, bool) or int(c) != c or c < 1 for c in caps):
        raise ValueError(f"`max_detections` must be one or more integers >= 1, got {caps!r}")
    return tuple(sorted(int(c) for c in caps))


def _area_ranges(
    protocol: str, ranges: Mapping[str, tuple[float, float]] | None
) -> dict[str, tuple[float, float]]:
    if protocol != "coco":
        if ranges is not None:
            raise ValueError(f"`area_ranges` is of the coco protocol only, not of {protocol}")
        return {"all": (0.0, np.inf)}
    if ranges is None:
        return COCO_AREA_RANGES
    if not ranges:
        raise ValueError("`area_ranges` must name at least one range")
    for name, (low, high) in ranges.items():
        if not 0 <= low <= high:
            raise ValueError(
                f"`area_ranges` must hold 0 <= low <= high, got {name!r}: ({low}, {high})"
            )
    return dict(ranges)


def _inclusive(protocol: str, inclusive: bool | None) -> bool:
    if protocol == "coco" and inclusive:
        raise ValueError("`inclusive_pixels` is of the VOC protocols: COCO's sides are x2 - x1")
    return protocol != "coco" if inclusive is None else bool(inclusive)
