"""Images whose tensors stay on their device until results are computed; imports torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sightline.metrics._arrays import as_array, is_on_host
from sightline.metrics.detection._inputs import PASSED_OVER, check_image, check_image_id

_FLAGS = ("iscrowd", "difficult")
_BAD_FLAG = 2  # besides 0 and 1: a flag that is not finite
_KNOWN = {
    "detections": {"scores", "labels", *PASSED_OVER["detections"]},
    "targets": {"labels", "area", *_FLAGS, *PASSED_OVER["targets"]},
}


@dataclass(frozen=True)
class DeviceColumns:
    """Rows of one side, in the order in which the images were added."""

    counts: list[int]  # rows of each image
    boxes_xywh: Tensor  # [N, 4] float64
    labels: Tensor  # [N] int64
    values: Tensor  # [N] float64: scores of detections, areas of objects
    flags: tuple[Tensor, ...]  # iscrowd and difficult of objects, uint8 [N]


class DeviceImages:
    """Columns of whole batches on one device. Adding a batch neither waits for the device nor
    copies from it, so values are checked only by `good`."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.ids: list[Any] = []
        self._known: set[Any] = set()
        self._batches: list[tuple[DeviceColumns, DeviceColumns]] = []

    def __contains__(self, image_id: Any) -> bool:
        return image_id in self._known

    def add(self, ids: list, detections: list, targets: list, *, any_score: bool) -> None:
        """Add a batch whose ids are new; raises an error for wrong shapes and types."""
        for image_id in ids:
            check_image_id(image_id)
        sides = (("detections", detections), ("targets", targets))
        for i, image_id in enumerate(ids):
            if not all(_fits(side[i], name) for name, side in sides):
                dt, gt = (_stand_in(side[i]) for _, side in sides)
                check_image(image_id, dt, gt, None, any_score=any_score)
                raise AssertionError(f"image {image_id!r} is refused without a reason")
        if len({*ids}) < len(ids):
            twice = next(image_id for i, image_id in enumerate(ids) if image_id in ids[:i])
            raise ValueError(f"`image_id` {twice!r} is in the batch twice")
        if not ids:
            return
        batch = [_columns(side, name, self.device) for name, side in sides]
        self._batches.append((batch[0], batch[1]))
        self._known.update(ids)
        self.ids.extend(ids)

    @property
    def nbytes(self) -> int:
        return sum(
            column.nbytes
            for batch in self._batches
            for side in batch
            for column in (side.boxes_xywh, side.labels, side.values, *side.flags)
        )

    def columns(self) -> tuple[DeviceColumns, DeviceColumns]:
        """Detections and objects of all images."""
        sides = [_joined([batch[side] for batch in self._batches]) for side in (0, 1)]
        self._batches = [(sides[0], sides[1])]
        return sides[0], sides[1]

    def good(self, num_labels: int, *, any_score: bool) -> bool:
        """Whether all values are valid. Waits for the device."""
        good = []
        for objects, side in enumerate(self.columns()):
            boxes = side.boxes_xywh
            good += [boxes.isfinite().all(), (boxes[:, 2:] >= 0).all()]
            good += [((side.labels >= 0) & (side.labels < num_labels)).all()]
            if objects or not any_score:
                good.append(side.values.isfinite().all())
            good += [(flag < _BAD_FLAG).all() for flag in side.flags]
        return bool(torch.stack(good).all())

    def to_host(self) -> tuple[list, list[np.ndarray], dict[str, Any], dict[str, Any]]:
        """Ids, the end row of each image, and the columns, in the form that a store takes."""
        sides, ends = [], []
        for objects, side in enumerate(self.columns()):
            ends.append(np.cumsum(side.counts, dtype=np.int64))
            out = {"boxes_xywh": side.boxes_xywh, "labels": side.labels}
            out["area" if objects else "scores"] = side.values
            columns = {name: column.cpu().numpy() for name, column in out.items()}
            for name, flag in zip(_FLAGS, side.flags):
                values = flag.cpu().numpy()
                columns[name] = np.where(values == _BAD_FLAG, np.nan, values)
            sides.append(columns)
        return self.ids, ends, sides[0], sides[1]


def device_of(sides: list) -> torch.device:
    """The device of the first tensor that is not in host memory."""
    for side in sides:
        for value in side.values() if isinstance(side, Mapping) else ():
            if isinstance(value, Tensor) and not is_on_host(value):
                return value.device
    return torch.device("cpu")


def _fits(side: Any, name: str) -> bool:
    """Whether the keys, shapes and types of one image are right."""
    if not isinstance(side, Mapping) or ("boxes" in side) == ("boxes_xywh" in side):
        return False
    key = "boxes" if "boxes" in side else "boxes_xywh"
    if not set(side) <= _KNOWN[name] | {key}:
        return False
    try:
        read = {k: v for k, v in side.items() if v is not None and k not in PASSED_OVER[name]}
        shapes = {k: _shape(v) for k, v in read.items()}
    except (TypeError, ValueError):
        return False
    boxes = shapes.get(key, ((), ""))[0]
    empty = 0 in boxes and len(boxes) <= 2
    if not empty and (len(boxes) != 2 or boxes[1] != 4):
        return False
    rows = 0 if empty else boxes[0]
    required = {"labels", "scores"} if name == "detections" else {"labels"}
    if not required <= set(shapes) or (rows and shapes["labels"][1] not in "iu"):
        return False
    return all(
        kind in "biuf" and (k == key or shape == (rows,)) for k, (shape, kind) in shapes.items()
    )


def _shape(value: Any) -> tuple[tuple[int, ...], str]:
    """The shape, and NumPy's letter for the kind of the dtype."""
    if not isinstance(value, Tensor):
        array = np.asarray(value)
        return array.shape, "i" if array.size == 0 else array.dtype.kind
    if value.dtype == torch.bool:
        return tuple(value.shape), "b"
    kind = "f" if value.is_floating_point() else "c" if value.is_complex() else "i"
    return tuple(value.shape), kind


def _stand_in(side: Any) -> Any:
    """The same dict with zeros in place of tensors, for the checks that need no values."""
    if not isinstance(side, Mapping):
        return side

    def zeros(tensor: Tensor) -> np.ndarray:
        name = str(tensor.dtype).removeprefix("torch.")
        return np.zeros(tensor.shape, "float32" if name == "bfloat16" else name)

    return {k: zeros(v) if isinstance(v, Tensor) else v for k, v in side.items()}


def _columns(sides: list, name: str, device: torch.device) -> DeviceColumns:
    def joined(parts: list[Any], dtype: torch.dtype) -> Tensor:
        tensors = [_on(device, part) for part in parts]
        if len({tensor.dtype for tensor in tensors}) > 1:
            tensors = [tensor.to(dtype) for tensor in tensors]  # a common type might round
        return torch.cat(tensors).to(dtype)

    def box_rows(part: list) -> Tensor:
        """Boxes of images that use the same format."""
        key = "boxes" if "boxes" in part[0] else "boxes_xywh"
        tensors = [_on(device, side[key]).reshape(-1, 4) for side in part]
        boxes = joined(tensors, torch.float64)
        if key == "boxes_xywh":
            return boxes
        return torch.cat([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], dim=1)

    same = len({"boxes" in side for side in sides}) == 1
    boxes = box_rows(sides) if same else torch.cat([box_rows([side]) for side in sides])
    counts = [len(side["labels"]) for side in sides]
    labels = joined([side["labels"] for side in sides], torch.int64)
    if name == "detections":
        scores = joined([side["scores"] for side in sides], torch.float64)
        return DeviceColumns(counts, boxes, labels, scores, ())
    areas = (boxes[:, 2] * boxes[:, 3]).split(counts)
    given = [area if side.get("area") is None else side["area"] for side, area in zip(sides, areas)]
    flags = tuple(
        torch.cat([_flag(side.get(key), count, device) for side, count in zip(sides, counts)])
        for key in _FLAGS
    )
    return DeviceColumns(counts, boxes, labels, joined(given, torch.float64), flags)


def _on(device: torch.device, values: Any) -> Tensor:
    """A tensor on the device; arrays may have any layout and byte order."""
    if isinstance(values, Tensor):
        return values.detach().to(device)
    return torch.as_tensor(np.array(as_array(values)), device=device)


def _flag(values: Any, count: int, device: torch.device) -> Tensor:
    if values is None:
        return torch.zeros(count, dtype=torch.uint8, device=device)
    values = _on(device, values)
    flag = (values != 0).to(torch.uint8)
    return torch.where(values.isfinite(), flag, _BAD_FLAG) if values.is_floating_point() else flag


def _joined(parts: list[DeviceColumns]) -> DeviceColumns:
    if len(parts) == 1:
        return parts[0]
    return DeviceColumns(
        [count for part in parts for count in part.counts],
        torch.cat([part.boxes_xywh for part in parts]),
        torch.cat([part.labels for part in parts]),
        torch.cat([part.values for part in parts]),
        tuple(torch.cat(flags) for flags in zip(*(part.flags for part in parts))),
    )
