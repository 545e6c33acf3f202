"""The data sets as COCO's json files, and as columns for evaluators that take arrays."""

import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from . import masks
from .generate import CocoSet, Recipe, generate

_VERSION = 1  # raised when the same recipe gives other bytes
_CHUNK = 50_000  # rows that exist as Python objects at one time


@dataclass(frozen=True)
class Files:
    """Paths of the ground truth, of the results, and of the columns of both (.npz)."""

    gt: Path
    dt: Path
    columns: Path

    @property
    def size(self) -> int:
        """Bytes of the two json files."""
        return self.gt.stat().st_size + self.dt.stat().st_size


def make(recipe: Recipe, folder: Path) -> Files:
    """The files of a recipe in a folder, written unless they exist.

    A seed gives the same bytes each time, unless another NumPy draws other numbers from it.
    """
    name = f"v{_VERSION}-{recipe.name}"
    files = Files(*(folder / f"{name}-{end}" for end in ("gt.json", "dt.json", "columns.npz")))
    if all(path.exists() for path in (files.gt, files.dt, files.columns)):
        return files
    folder.mkdir(parents=True, exist_ok=True)
    data = generate(recipe)
    _write(files.gt, _truth(data, recipe))
    _write(files.dt, _results(data, recipe))
    unfinished = files.columns.with_suffix(".part.npz")
    columns: Any = _columns(data)  # Any: mypy takes a column for an option of savez
    np.savez(unfinished, **columns)
    os.replace(unfinished, files.columns)
    return files


def _write(path: Path, parts: Iterable[str]) -> None:
    """Under another name until it is complete, so that a file that exists is complete."""
    unfinished = path.with_suffix(".part")
    with open(unfinished, "w", encoding="ascii") as file:
        file.writelines(parts)
    os.replace(unfinished, path)


def _columns(data: CocoSet) -> dict[str, np.ndarray]:
    objects = {f"gt_{key}": column for key, column in vars(data.objects).items()}
    detections = {f"dt_{key}": column for key, column in vars(data.detections).items()}
    whole = {"image_ids": data.image_ids, "sizes": data.sizes, "category_ids": data.category_ids}
    return {**whole, **objects, **detections}


def _truth(data: CocoSet, recipe: Recipe) -> Iterator[str]:
    people = recipe.kind == "keypoints"
    images = [
        {"file_name": f"{i:012}.jpg", "height": h, "width": w, "id": i}
        for i, (w, h) in zip(data.image_ids.tolist(), data.sizes.tolist())
    ]
    categories = [
        {"supercategory": "object", "id": i, "name": f"class {i}"}
        for i in data.category_ids.tolist()
    ]
    head = {"info": {"description": recipe.name}, "licenses": [], "images": images}
    yield json.dumps(head)[:-1] + ', "annotations": ['
    yield from _separated(_annotations(data, recipe, people))
    yield '], "categories": ' + json.dumps(categories) + "}"


def _annotations(data: CocoSet, recipe: Recipe, people: bool) -> Iterator[str]:
    objects = data.objects
    crowd_runs = masks.run_lists(
        objects.boxes[objects.crowd], data.sizes[objects.image[objects.crowd]], recipe.seed
    )
    crowds = iter(zip(data.sizes[objects.image[objects.crowd]].tolist(), crowd_runs))
    rows = zip(
        masks.polygons(objects.boxes, recipe.seed),
        objects.area.tolist(),
        objects.crowd.tolist(),
        data.image_ids[objects.image].tolist(),
        objects.boxes.tolist(),
        objects.category.tolist(),
        objects.id.tolist(),
        objects.keypoints.astype(np.int64).reshape(len(objects.id), -1).tolist(),
    )
    for outline, area, crowd, image, box, category, own, points in rows:
        if crowd:
            (width, height), counts = next(crowds)
            segmentation = f'{{"counts": {counts}, "size": [{height}, {width}]}}'
        else:
            segmentation = f"[{outline.ravel().tolist()}]"
        keypoints = ""
        if people:
            visible = sum(v > 0 for v in points[2::3])
            keypoints = f', "num_keypoints": {visible}, "keypoints": {points}'
        yield (
            f'{{"segmentation": {segmentation}, "area": {area!r}, "iscrowd": {int(crowd)}, '
            f'"image_id": {image}, "bbox": {box}, "category_id": {category}, "id": {own}'
            f"{keypoints}}}"
        )


def _results(data: CocoSet, recipe: Recipe) -> Iterator[str]:
    found = data.detections
    image = data.image_ids[found.image]
    sizes = data.sizes[found.image]
    strings: Iterator[bytes] = iter(())  # of the masks, in order
    if recipe.kind == "segm":
        strings = masks.run_strings(found.boxes, sizes, recipe.seed)

    def lines() -> Iterator[str]:
        for begin in range(0, len(image), _CHUNK):
            part = slice(begin, begin + _CHUNK)
            ids = zip(image[part].tolist(), found.category[part].tolist())
            scores = found.scores[part].tolist()
            if recipe.kind == "bbox":
                what = (f'"bbox": {box}' for box in found.boxes[part].tolist())
            elif recipe.kind == "keypoints":
                points = found.keypoints[part].reshape(len(scores), -1).tolist()
                what = (f'"keypoints": {row}' for row in points)
            else:
                what = (
                    f'"segmentation": {{"size": [{h}, {w}], "counts": {json.dumps(runs.decode())}}}'
                    for (w, h), runs in zip(sizes[part].tolist(), strings)
                )
            for (image_id, category_id), text, score in zip(ids, what, scores):
                yield (
                    f'{{"image_id": {image_id}, "category_id": {category_id}, {text}, '
                    f'"score": {score!r}}}'
                )

    yield "["
    yield from _separated(lines())
    yield "]"


def _separated(entries: Iterator[str]) -> Iterator[str]:
    for i, entry in enumerate(entries):
        yield f", {entry}" if i else entry
