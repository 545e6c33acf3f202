"""Detection evaluation: images are added one by one or in batches; results come at the end."""

import contextlib
import io
import json
import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from sightline.metrics._arrays import DeviceTensorError
from sightline.metrics.detection._inputs import MAX_LABELS, as_list, check_image, check_image_id
from sightline.metrics.detection._shapes import PRIVATE, overlaps_of, with_keypoints, with_masks
from sightline.metrics.detection._state import (
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
from sightline.metrics.detection._synchronize import gather_messages, in_one_process
from sightline.metrics.detection.compute import compute_results, results_from
from sightline.metrics.detection.results import DetectionResults
from sightline.metrics.detection.rows import FlatDetections, FlatTargets
from sightline.metrics.detection.settings import resolve_settings

if TYPE_CHECKING:
    from sightline.metrics.detection._device_images import DeviceImages

_ADDED_BEFORE = "`image_id` {!r} was added before; call update once for each image"
_TWO_KINDS = "`image_id` must be all int or all str, got {!r} after others"


class DetectionEvaluator:
    """AP and AR of a detector by the COCO or the PASCAL VOC protocol.

    Args:
        protocol: `"coco"` (101 recall samples, ten IoU thresholds, four areas; equal to
            pycocotools 2.0.11 bit for bit), `"voc2007"` (11-point average) or `"voc2010"`
            (area under the whole curve); the last two at IoU .5 and with every detection.
        class_names: names of labels 0, 1, ...; without it, the classes are the labels that occur.
        iou_thresholds: IoU thresholds in (0, 1], ascending; None for those of the protocol.
        max_detections: how many of the best detections are kept per image and class; AP uses the
            last number (pycocotools needs 100 there and gives -1 without it). None for 1, 10 and
            100, or 20 for keypoints. COCO only.
        area_ranges: name -> (low, high) in pixels, both ends included, at most 16; AP and AP50 use
            the first one. None for all, small, medium and large, without small for keypoints.
            COCO only.
        use_classes: False ignores the classes, as for proposals.
        iou_type: what the overlap is computed from: `"bbox"`, `"segm"` (masks) or `"keypoints"`
            (object keypoint similarity). The last two are for COCO only.
        parity: `"corrected"`, or `"pycocotools"` to repeat its faults: AP is -1 where
            `max_detections` lacks 100 (20 for keypoints), NaN scores are accepted and sorted last,
            and keypoints match nothing where `use_classes` is False.
        keypoint_sigmas: the deviation of annotators for each of the K keypoints, as a share of the
            object's size; None for COCO's 17.
        inclusive_pixels: whether sides are x2 - x1 + 1; None for True with VOC and False with
            COCO, which refuses True.

    Equal scores keep the order of images sorted by id, then the order within an image. Results do
    not depend on the order of the calls. The state takes 44 bytes per detection (boxes and scores
    in float64, labels in int32), 45 per object and 32 to 40 per image; a result shares these
    columns instead of copying them.

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
        keypoint_sigmas: Sequence[float] | None = None,
        class_names: Sequence[str] | None = None,
        iou_thresholds: Sequence[float] | None = None,
        max_detections: Sequence[int] | None = None,
        area_ranges: Mapping[str, tuple[float, float]] | None = None,
        use_classes: bool = True,
        inclusive_pixels: bool | None = None,
    ) -> None:
        settings = resolve_settings(
            protocol,
            iou_type=iou_type,
            parity=parity,
            keypoint_sigmas=keypoint_sigmas,
            class_names=class_names,
            iou_thresholds=iou_thresholds,
            max_detections=max_detections,
            area_ranges=area_ranges,
            use_classes=use_classes,
            inclusive_pixels=inclusive_pixels,
        )
        self.protocol, self.iou_type, self.parity = protocol, iou_type, parity
        self.keypoint_sigmas, self.class_names = settings.keypoint_sigmas, settings.class_names
        self.use_classes, self.area_ranges = use_classes, settings.area_ranges
        self.rules = settings.rules
        self._resolved, self._settings = settings, settings.to_dict()
        self._on_device: DeviceImages | None = None  # images whose tensors are not on the host
        self.reset()

    def update(self, image_id: Any, detections: Any, targets: Any = None) -> None:
        """Add one image, or a batch of them.

        Args:
            image_id: a 64-bit int or a str, of the same kind for all images. For a batch, a list
                or 1-D array of them.
            detections: `boxes` (xyxy) or `boxes_xywh` [N, 4] in pixels, `scores` [N],
                `labels` [N] integers. For a batch, a list of such dicts.
            targets: `boxes` or `boxes_xywh` [M, 4], `labels` [M]; optional `iscrowd` [M],
                `area` [M] (default w * h) and `difficult` [M]. Difficult objects are ignored, and
                with VOC crowds too; with COCO, a difficult object matches one detection. The keys
                `image_id`, `orig_size` and `index`, which loaders write, are disregarded. For a
                batch, a list of such dicts.

        Masks (`iou_type="segm"`): both have `masks` instead of boxes: [N, H, W] bool or integers,
        or a list of run-length dicts or of polygons as in COCO files; polygons need `image_size`
        [height, width] in targets. The default `area` is that of the mask.
        Keypoints: both have `keypoints` [N, K, 3] (or [N, 3 * K]) of x, y and visibility. Targets
        may have boxes, by default the extent of the labelled keypoints, and `num_keypoints`, by
        default their number. An object where that is 0 is ignored.

        The values are arrays of any numeric dtype, layout and byte order, tensors, or lists; they
        are copied. A batch is added as a whole or, where it is refused, not at all. Tensors on a
        GPU stay there: shapes and types are checked at once, values by `compute`, and nothing waits
        for the device. Masks and keypoints are copied to the host.

        Raises:
            ValueError: the image was added before; a wrong shape or length, a label outside
                `class_names`, a negative label, a box with x2 < x1 or y2 < y1, a NaN or infinity
                in boxes, scores or areas. The evaluator is then unchanged.
            TypeError: labels that are not integers, ids of both kinds, or no targets.
        """
        if targets is None:
            raise TypeError(
                "`targets` are missing: call update(image_id, detections, targets), where "
                "`image_id` is a name or number of the image, or a list of them for a batch"
            )
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
        if self.iou_type != "bbox":
            detections, targets = self._with_shapes(image_id, detections, targets)
        if self._on_device is not None:
            self._check_new(image_id)
        try:
            refused = self._store.update(image_id, detections, targets)
        except DeviceTensorError:
            self._keep_on_device(image_id, detections, targets)
            return
        if refused is not None:
            self._refuse(refused, image_id, detections, targets)

    def _keep_on_device(self, image_ids: list, detections: list, targets: list) -> None:
        """Add a batch in which some tensor is not on the host."""
        from sightline.metrics.detection._device_images import DeviceImages, device_of

        device = device_of([*detections, *targets])
        if self._on_device is not None and self._on_device.device != device:
            self._move_to_host()
        self._check_new(image_ids)
        images = self._on_device or DeviceImages(device)
        images.add(image_ids, detections, targets, any_score=self.parity == "pycocotools")
        self._on_device = images

    def _check_new(self, image_ids: list) -> None:
        """Raise where an image was added before, on any device, or has another type of id."""
        there = self._on_device
        others = [*(there.ids[:1] if there else ()), *self._store.image_ids()[:1], *image_ids[:1]]
        for image_id in image_ids:
            check_image_id(image_id)
            if image_id in self._store or (there is not None and image_id in there):
                raise ValueError(_ADDED_BEFORE.format(image_id))
            if any(isinstance(image_id, str) != isinstance(other, str) for other in others):
                raise TypeError(_TWO_KINDS.format(image_id))

    def _values_are_good(self) -> bool:
        limit = MAX_LABELS if self.class_names is None else len(self.class_names)
        assert self._on_device is not None
        return self._on_device.good(limit, any_score=self.parity == "pycocotools")

    def _move_to_host(self) -> None:
        """Move the images on a device to the store, which checks their values."""
        if self._on_device is None:
            return
        ids, ends, dt, gt = self._on_device.to_host()
        refused = self._store.extend(ids, *ends, dt, gt)
        if refused is not None:
            rows = [slice(end[refused - 1] if refused else 0, end[refused]) for end in ends]
            parts = [
                {key: value[part] for key, value in side.items()}
                for part, side in zip(rows, (dt, gt))
            ]
            self._refuse(0, ids[refused : refused + 1], parts[:1], parts[1:])
        self._on_device = None

    def _with_shapes(self, image_ids: list, detections: list, targets: list) -> Any:
        """The batch with its masks or keypoints as columns."""
        sides = []
        detections, targets = _on_host(detections), _on_host(targets)
        for image_id, dt, gt in zip(image_ids, detections, targets):
            place = f"image {image_id!r}"
            if self.keypoint_sigmas is None:
                sides.append(with_masks(dt, gt, place))
            else:
                sides.append(with_keypoints(dt, gt, len(self.keypoint_sigmas), place))
        return [dt for dt, _ in sides], [gt for _, gt in sides]

    def _refuse(self, index: int, image_ids: list, detections: list, targets: list) -> None:
        """Raise the error of the image that the store refused in a batch."""
        image_id = image_ids[index]
        check_image_id(image_id)
        if image_id in self._store:
            raise ValueError(_ADDED_BEFORE.format(image_id))
        if image_id in image_ids[:index]:
            raise ValueError(f"`image_id` {image_id!r} is in the batch twice")
        dt, gt = detections[index], targets[index]
        if self.iou_type != "bbox":
            dt = {key: value for key, value in dt.items() if key not in PRIVATE | {"area"}}
            gt = {key: value for key, value in gt.items() if key not in PRIVATE}
        check_image(
            image_id,
            dt,
            gt,
            None if self.class_names is None else len(self.class_names),
            any_score=self.parity == "pycocotools",
        )
        raise TypeError(_TWO_KINDS.format(image_id))

    def reset(self) -> None:
        """Forget all images."""
        self._store = new_store(self._settings)
        self._on_device = None

    def __len__(self) -> int:
        return len(self._store) + (0 if self._on_device is None else len(self._on_device.ids))

    def merge(
        self, other: "DetectionEvaluator", *, duplicates: str = "same"
    ) -> "DetectionEvaluator":
        """Add the images of another evaluator, which is not changed.

        Args:
            other: an evaluator with the same settings.
            duplicates: an image in both counts once. `"same"`: its rows must be equal in both;
                `"first"`: its objects must be equal, and the detections of this evaluator are kept.

        Returns:
            This evaluator.

        Raises:
            ValueError: different settings, or an image in both whose rows differ. This evaluator
                is then unchanged.
            TypeError: `other` is not an evaluator, or its ids are of the other type.
        """
        _check_duplicates(duplicates)
        if not isinstance(other, DetectionEvaluator):
            raise TypeError(f"`other` must be a DetectionEvaluator, got {type(other).__name__}")
        differences = differing(self._settings, other._settings)
        if differences:
            raise ValueError(f"evaluators must have the same settings to merge: {differences}")
        self._move_to_host()
        other._move_to_host()
        self._merge(other._store, duplicates)
        return self

    def _merge(self, store: Any, duplicates: str) -> None:
        refused = self._store.merge(store, keep_first=duplicates == "first")
        if refused is None:
            return
        if refused not in self._store:
            raise TypeError(_TWO_KINDS.format(refused))
        what = "rows" if duplicates == "same" else "targets"
        raise ValueError(
            f"image {refused!r} is in both with other {what}; ids must be unique, "
            "also among processes that each number their images"
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write settings and images to a file, an .npz of the columns, completely or not at all."""
        self._move_to_host()
        save_state(path, self._settings, to_arrays(self._store))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "DetectionEvaluator":
        """The evaluator that `save` wrote.

        Raises:
            ValueError: the file is not a saved evaluator, is of a later version, or is damaged.
            FileNotFoundError: the file does not exist.
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
        self._move_to_host()
        return _restored, (type(self), self._settings, to_arrays(self._store))

    def synchronize(
        self, group: Any = None, *, dst: int | None = None, duplicates: str = "first"
    ) -> "DetectionEvaluator":
        """Gather the images of all processes of `torch.distributed`, on all of them.

        Call it before `compute` on every rank, including ranks without images. It uses two
        collectives, whatever the data. Without a process group it does nothing, so that the same
        script can run alone.

        Args:
            group: process group, None for all processes.
            dst: global rank that alone gathers the images; the others keep their own.
            duplicates: as in `merge`. An image that several ranks saw, as with samplers that pad,
                counts once, with the detections of the lowest rank.

        Returns:
            This evaluator.

        Raises:
            ValueError: different settings on some rank (raised on all ranks), or an image on two
                ranks with different targets (raised where they are gathered).
            RuntimeError: another rank failed.

        On a rank that gathers, memory temporarily holds the images of all ranks.
        """
        _check_duplicates(duplicates)
        if in_one_process():
            return self
        settings = json.dumps(self._settings)
        try:
            self._move_to_host()
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
        """Bytes of the state: 44 per detection, 45 per object, 32 to 40 per image.

        Columns reserve up to half as much again, which takes no memory until it is written.
        """
        return self._store.nbytes + (0 if self._on_device is None else self._on_device.nbytes)

    def compute(self) -> DetectionResults:
        """Results for all images so far; more may be added afterwards.

        A class without ground truth has AP NaN, and -1 in the arrays; with ground truth but no
        detection, its AP is 0. Without images everything is NaN. Images on a GPU are sorted,
        matched and accumulated there, with the same bits, unless some are on the host.

        Raises:
            ValueError: a GPU tensor has a value that `update` would have refused on the host.
        """
        if self._on_device is not None and not len(self._store) and self._values_are_good():
            return self._compute_on_device()
        self._move_to_host()
        self._store.sort()
        dt, gt = self._store.columns(objects=False), self._store.columns(objects=True)
        if self.class_names is None:
            class_ids, dt_label, gt_label = self._store.classes()
            class_names = tuple(str(c) for c in class_ids)
        else:
            class_ids, class_names = np.arange(len(self.class_names)), self.class_names
            dt_label, gt_label = (side["labels"].astype(np.int64) for side in (dt, gt))
        detections = FlatDetections(
            _image_of_row(dt["image_ends"]),
            dt_label,
            dt["boxes_xywh"],
            dt["scores"],
            dt.get("area"),
        )
        targets = FlatTargets(
            _image_of_row(gt["image_ends"]),
            gt_label,
            gt["boxes_xywh"],
            gt["area"],
            (gt["flags"] & CROWD) != 0,
            (gt["flags"] & IGNORE) != 0,
        )
        if self.iou_type == "keypoints":
            targets.ignore[gt["num_keypoints"] == 0] = True
        return compute_results(
            self._resolved,
            detections,
            targets,
            num_images=len(self),
            overlaps=overlaps_of(dt, gt, targets, self.keypoint_sigmas),
            class_ids=tuple(class_ids.tolist()),
            class_names=class_names,
        )

    def _compute_on_device(self) -> DetectionResults:
        from sightline.metrics.detection._evaluate_torch import evaluate_images

        assert self._on_device is not None
        num_classes = None if self.class_names is None else len(self.class_names)
        arrays, evidence, class_ids = evaluate_images(
            self._on_device, self.rules, num_classes, use_classes=self.use_classes
        )
        class_names = self.class_names or tuple(str(c) for c in class_ids)
        return results_from(self._resolved, arrays, evidence, class_ids, class_names)


def _restored(kind: type, settings: dict[str, Any], arrays: dict[str, np.ndarray]) -> Any:
    """An evaluator of these settings that holds these images."""
    kwargs = dict(settings)
    if settings["protocol"] != "coco":  # only COCO lets these be chosen
        del kwargs["max_detections"], kwargs["area_ranges"]
    evaluator = kind(**kwargs)
    evaluator._store = from_arrays(settings, arrays)
    return evaluator


def _check_duplicates(duplicates: str) -> None:
    if duplicates not in ("same", "first"):
        raise ValueError(f"`duplicates` must be 'same' or 'first', got {duplicates!r}")


def _on_host(sides: list) -> list:
    """The dicts with their tensors copied to the host."""
    return [
        {key: value.cpu() if hasattr(value, "cpu") else value for key, value in side.items()}
        if isinstance(side, Mapping)
        else side
        for side in sides
    ]


def _image_of_row(ends: np.ndarray) -> np.ndarray:
    return np.repeat(np.arange(len(ends)), np.diff(ends, prepend=0))
