"""Warnings for inputs with which pycocotools' numbers, and so ours, are known to be wrong."""

from collections.abc import Sequence
from typing import Any

from sightline.metrics._warn import warn
from sightline.metrics.coco.reader import lvis_marks

Record = dict[str, Any]
_LVIS_LISTS = ("neg_category_ids", "not_exhaustive_category_ids")


def warn_of_lvis(dataset: Any, marks: str | None) -> None:
    """Warn of a data set of LVIS; `marks` are those of its file, None where it is a dict."""
    if marks is None:
        tables = dataset if isinstance(dataset, dict) else {}
        images, categories = _records(tables, "images"), _records(tables, "categories")
        lists = any(key in image for image in images for key in _LVIS_LISTS)
        letters = any(category.get("frequency") in tuple("rcf") for category in categories)
        marks = lvis_marks({"images": {"are_lvis": lists}, "categories": {"are_lvis": letters}})
    if marks:
        warn(
            f"the ground truth is LVIS's: {marks}. COCO's rules count detections as false in "
            "images where nobody looked for all objects of their class; LVIS's do not"
        )


def _records(tables: Record, name: str) -> list[Record]:
    found = tables.get(name)
    return [r for r in found if isinstance(r, dict)] if isinstance(found, list | tuple) else []


def warn_of_object_ids(num_zero: int, num_objects: int) -> None:
    """Warn of objects with id 0, which stands for "no match"."""
    if num_zero:
        warn(
            f"annotations with id 0: {num_zero} of {num_objects}. COCOeval, like pycocotools, "
            "takes that for no match: their objects count as missed, and detections of them as "
            'false. Number them from 1, or use evaluate_coco(..., parity="corrected")'
        )


def warn_of_detection_ids(ids: Sequence[Any]) -> None:
    """Warn of detections whose id cannot mark a match."""
    unmarked = sum(1 for i in ids if i <= 0)
    if unmarked:
        warn(
            f"detections with an id of 0 or less: {unmarked} of {len(ids)}. COCOeval, like "
            "pycocotools, takes that for no match: others may find the same object. Number them "
            "from 1"
        )


def warn_of_text_flags(objects: Sequence[Record]) -> None:
    """Warn of crowd flags that are text, which is true whatever it says."""
    texts = [g["iscrowd"] for g in objects if isinstance(g.get("iscrowd"), str)]
    if texts:
        warn(
            f"annotations with `iscrowd` as text, such as {ascii(texts[0])[:20]}: {len(texts)} of "
            f"{len(objects)}. COCOeval, like pycocotools, takes any text for true: their objects "
            "do not count. Use the numbers 0 and 1"
        )
