"""Writes COCO: annotations/instances_<split>.json, with the images of each split in <split>/."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sightline.formats.losses import Losses, Rounding, note_columns
from sightline.formats.new_folder import new_folder, write_text
from sightline.formats.records import Annotations, Record
from sightline.formats.shapes import Polygons, RunLengths, Shape, corners_of_rotated
from sightline.formats.writing import Sets, checked_sets, json_numbers, known_splits, records_of
from sightline.formats.written_pictures import WrittenPictures

__all__ = ["write_coco"]

_KEEPS = ("iscrowd", "area", "polygons", "run lengths", "points", "boxes_rotated")


def write_coco(sets: Sets, folder: Path, *, images: str = "copy") -> list[str]:
    """Write a data set as COCO json; return what is lost, one sentence per kind.

    The ids of images and categories are kept where the annotations have those of a COCO file, and
    are otherwise 1, 2, 3 ...; images of no split are listed in instances_default.json.
    Arguments and errors are those of `writing.Writer`.
    """
    losses = Losses("COCO")
    sets = known_splits(checked_sets(sets, losses, keeps_ids=True), losses, rest=True)
    first = next(iter(sets.values()))
    categories = _categories(first, losses)
    ids = [category["id"] for category in categories]
    numbers, annotation_numbers, rounding = count(1), count(1), Rounding()
    with new_folder(folder) as new:
        pictures = WrittenPictures(images, losses, keeps_ids=True)
        for split, annotations in sets.items():
            place = split or ("images" if len(sets) == 1 else "default")
            kept = _keeps_ids(annotations)
            entries: list[str] = []  # as JSON, which takes a third of the memory of dicts
            objects: list[str] = []
            for _, record in records_of({split: annotations}, losses):
                placed = pictures.place(record, new / place, split)
                note_columns(record, losses, _KEEPS)
                image_id = record.image_id if kept else next(numbers)
                entry = {"id": image_id, "file_name": placed.name}
                entry |= {"width": record.width, "height": record.height}
                entries.append(json.dumps(entry))
                rows = _objects(record, ids, losses, rounding)
                for row in rows:
                    found = {"id": next(annotation_numbers), "image_id": image_id, **row}
                    objects.append(json.dumps(found))
            lists = {"images": entries, "annotations": objects}
            lists["categories"] = [json.dumps(category) for category in categories]
            name = f"instances_{split or 'default'}.json"
            write_text(new / "annotations" / name, _file_of(lists))
    rounding.note(losses, "COCO has their widths and heights")
    return losses.sentences()


def _file_of(lists: Mapping[str, Sequence[str]]) -> str:
    """A COCO file with a line for each entry of its lists."""
    parts = [f'"{name}": [\n' + ",\n".join(entries) + "\n]" for name, entries in lists.items()]
    return "{" + ",\n".join(parts) + "}\n"


def _categories(annotations: Annotations, losses: Losses) -> list[dict[str, Any]]:
    ids = annotations.category_ids
    if len(set(ids)) < annotations.num_classes or -1 in ids:
        ids = tuple(range(1, annotations.num_classes + 1))
    if list(ids) != sorted(ids):
        why = "readers order categories by their ids, which are kept"
        losses.add("the order", "class", len(ids), why)
    skeleton = [[first + 1, second + 1] for first, second in annotations.skeleton]
    points = {"keypoints": list(annotations.keypoint_names), "skeleton": skeleton}
    return [
        {"id": number, "name": name, "supercategory": ""}
        | (points if annotations.keypoint_names else {})
        for number, name in zip(ids, annotations.class_names)
    ]


def _keeps_ids(annotations: Annotations) -> bool:
    """Whether image ids are those of a COCO file, or numbers, and differ."""
    ids = [record.image_id for record in annotations.records]
    of_coco = annotations.format == "coco" or all(isinstance(number, int) for number in ids)
    return of_coco and len(set(ids)) == len(ids)


def _objects(
    record: Record, ids: list[int], losses: Losses, rounding: Rounding
) -> list[dict[str, Any]]:
    xywh = record.boxes_xywh
    if xywh is None:
        xywh = _xywh(record.boxes)
        for box, (x, y, w, h) in zip(record.boxes, xywh.tolist()):
            rounding.compare((x + w, y + h), box[2:])
    rows = []
    for row, label in enumerate(record.labels.tolist()):
        shape = record.shapes[row] if record.shapes is not None else None
        if record.boxes_rotated is not None:
            shape = _rotated(record.boxes_rotated[row], shape, losses)
        found: dict[str, Any] = {
            "category_id": ids[label],
            "bbox": json_numbers(xywh[row]),
            "area": json_numbers([record.area[row]])[0],
            "iscrowd": int(record.iscrowd[row]),
            "segmentation": _segmentation(shape),
        }
        if record.points is not None:
            points = record.points[row]
            found["keypoints"] = json_numbers(points.reshape(-1))
            found["num_keypoints"] = int(np.count_nonzero(points[:, 2]))
        rows.append(found)
    return rows


def _xywh(boxes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return boxes with the sides that readers add to x and y to get exactly the far corners."""
    near, far = boxes[:, :2], boxes[:, 2:]
    sides = far - near
    for towards in (np.inf, -np.inf):  # rounding leaves them one step away, at most
        other = np.nextafter(sides, towards)
        sides = np.where((near + sides != far) & (near + other == far), other, sides)
    return np.concatenate([near, sides], axis=1)


def _rotated(box: NDArray[np.float64], shape: Shape | None, losses: Losses) -> Shape | None:
    """The outline of a rotated box."""
    if np.isnan(box).any():
        return shape
    instead = "written as polygons of their corners" if shape is None else "their outlines are kept"
    losses.add("the rotated boxes", "object", 1, f"COCO has none; {instead}")
    return shape or Polygons((corners_of_rotated(box)[0],))


def _segmentation(shape: Shape | None) -> Any:
    if isinstance(shape, RunLengths):
        return {"size": list(shape.size), "counts": shape.counts.decode("ascii")}
    return [] if shape is None else [json_numbers(ring.reshape(-1)) for ring in shape.rings]
