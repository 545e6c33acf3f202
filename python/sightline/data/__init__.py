"""Data sets on disk or embedded: readers, preprocessing, augmentation and loaders."""

from typing import TYPE_CHECKING, Any

from sightline.data.augment import Augment, apply_augment, default_augment
from sightline.data.check import check_dataset, clean_dataset
from sightline.data.digit_scenes import load_digit_scenes
from sightline.data.digits import load_digits_classification
from sightline.data.draw import draw_classification, draw_detections
from sightline.data.draw_splits import draw_splits, shares_of
from sightline.data.image import read_image
from sightline.data.preprocess import Preprocess, Transform, fit_preprocess
from sightline.data.read import open_source, read_dataset
from sightline.data.sample import Sample
from sightline.data.splits import stratified_split
from sightline.data.stats import dataset_stats
from sightline.data.write import write_dataset
from sightline.formats.records import Annotations, DataError, Issue, LabelType, Record

if TYPE_CHECKING:
    from sightline.data.dataset import Dataset
    from sightline.data.loader import Loader, collate, make_loader

_NEED_TORCH = ("Dataset", "Loader", "collate", "make_loader")


def __getattr__(name: str) -> Any:
    # Reading a data set needs no torch; only the loader does.
    if name in _NEED_TORCH:
        from sightline.data import loader

        return getattr(loader, name)
    raise AttributeError(f"module 'sightline.data' has no attribute {name!r}")


__all__ = [
    "Annotations",
    "Augment",
    "DataError",
    "Dataset",
    "Issue",
    "LabelType",
    "Loader",
    "Preprocess",
    "Record",
    "Sample",
    "Transform",
    "apply_augment",
    "check_dataset",
    "clean_dataset",
    "collate",
    "dataset_stats",
    "default_augment",
    "draw_classification",
    "draw_detections",
    "draw_splits",
    "fit_preprocess",
    "load_digit_scenes",
    "load_digits_classification",
    "make_loader",
    "open_source",
    "read_dataset",
    "read_image",
    "shares_of",
    "stratified_split",
    "write_dataset",
]
