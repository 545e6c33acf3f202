"""The native columns of an evaluator, and their form as plain arrays, in files and messages."""

import io
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from sightline.metrics._arrays import as_array
from sightline.metrics._native import native
from sightline.metrics.detection._inputs import MAX_LABELS

CROWD, IGNORE = 1, 2  # bits of an object's `flags`
_SHAPES = ("bbox", "segm", "keypoints")
_FORMAT, _VERSION = "sightline.DetectionEvaluator", 1

Settings = dict[str, Any]
Arrays = dict[str, np.ndarray]


def new_store(settings: Mapping[str, Any]) -> Any:
    """An empty store for an evaluator's settings."""
    names = settings["class_names"]
    return native.DetectionStore(
        shapes=_SHAPES.index(settings["iou_type"]),
        num_keypoints=len(settings["keypoint_sigmas"] or ()),
        num_labels=MAX_LABELS if names is None else len(names),
        any_score=settings["parity"] == "pycocotools",
        as_array=as_array,
    )


def to_arrays(store: Any) -> Arrays:
    """Views of a store's columns, by names such as "detections.scores"."""
    arrays = {
        f"{side}.{name}": column
        for side, objects in (("detections", False), ("objects", True))
        for name, column in store.columns(objects=objects).items()
    }
    ids = store.image_ids()
    if isinstance(ids, list):  # one buffer: a text array would pad each id to the longest
        text = [image_id.encode() for image_id in ids]
        arrays["image_text"] = np.frombuffer(b"".join(text), np.uint8)
        arrays["image_text_ends"] = np.cumsum([len(t) for t in text])
    else:
        arrays["image_ids"] = ids
    return arrays


def from_arrays(settings: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> Any:
    """The store whose columns `to_arrays` returned.

    Raises:
        ValueError: the arrays do not fit each other, or hold what `update` would refuse.
        KeyError: an array is missing.
    """
    store = new_store(settings)
    sides = []
    for side, objects in (("detections", False), ("objects", True)):
        columns = {name: arrays[f"{side}.{name}"] for name in store.columns(objects=objects)}
        sides.append((columns.pop("image_ends"), columns))
    (dt_ends, dt), (gt_ends, gt) = sides
    flags = gt.pop("flags")
    gt |= {"iscrowd": flags & CROWD, "difficult": flags & IGNORE}
    refused = store.extend(_image_ids(arrays), dt_ends, gt_ends, dt, gt)
    if refused is not None:
        raise ValueError(f"image {refused} of the state is damaged")
    return store


def _image_ids(arrays: Mapping[str, np.ndarray]) -> list[Any]:
    if "image_ids" in arrays:
        return arrays["image_ids"].tolist()
    text, ends = arrays["image_text"].tobytes(), arrays["image_text_ends"].tolist()
    return [text[begin:end].decode() for begin, end in zip([0, *ends], ends)]


def differing(mine: Settings, other: Settings) -> str:
    """The settings that differ, in words; "" where none does."""
    return "; ".join(
        f"`{name}` is {mine[name]!r} here and {other.get(name)!r} there"
        for name in mine
        if mine[name] != other.get(name)
    )


def write_state(file: BinaryIO, settings: Settings, arrays: Arrays) -> None:
    """Write an .npz file with the columns and a JSON header."""
    header = json.dumps({"format": _FORMAT, "version": _VERSION, "settings": settings})
    np.savez(file, header=np.array(header), **arrays)  # type: ignore[arg-type]


def read_state(file: BinaryIO, name: str) -> tuple[Settings, Arrays]:
    """Settings and columns of a file.

    Raises:
        ValueError: it is not a saved evaluator, is of a later version, or is damaged.
    """
    try:
        with np.load(file, allow_pickle=False) as stored:
            header = json.loads(str(stored["header"]))
            if header["format"] != _FORMAT:
                raise ValueError(f"its format is {header['format']!r}")
            version, settings = header["version"], header["settings"]
            arrays = {key: stored[key] for key in stored.files if key != "header"}
    except Exception as error:  # the readers of zip, npy and JSON raise many kinds
        raise ValueError(f"{name} is no saved DetectionEvaluator, or damaged: {error}") from error
    if version > _VERSION:
        raise ValueError(
            f"{name} is of version {version} of the format, and this Sightline reads up to "
            f"{_VERSION}: update Sightline"
        )
    return settings, arrays


def to_bytes(settings: Settings, arrays: Arrays) -> bytes:
    file = io.BytesIO()
    write_state(file, settings, arrays)
    return file.getvalue()


def save_state(path: str | os.PathLike[str], settings: Settings, arrays: Arrays) -> None:
    """Write to a temporary file in the same folder, then rename: the old file or the whole new."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            write_state(file, settings, arrays)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
