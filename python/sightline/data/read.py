"""Open a data set by its path, or an embedded one by its name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from sightline.data.annotations import apply_policy
from sightline.data.digit_scenes import load_digit_scenes
from sightline.data.digits import load_digits_classification
from sightline.data.issues import gathered
from sightline.data.splits import choose_split
from sightline.formats.coco import LOOKED_FOR as COCO_LOOKED_FOR
from sightline.formats.coco import coco_files, open_coco
from sightline.formats.csv_table import LOOKED_FOR as CSV_LOOKED_FOR
from sightline.formats.csv_table import csv_files, open_csv
from sightline.formats.cvat import LOOKED_FOR as CVAT_LOOKED_FOR
from sightline.formats.cvat import cvat_files, open_cvat
from sightline.formats.folders import LOOKED_FOR as FOLDER_LOOKED_FOR
from sightline.formats.folders import has_class_folders, open_folders, pictures_of_classes
from sightline.formats.kitti import LOOKED_FOR as KITTI_LOOKED_FOR
from sightline.formats.kitti import kitti_places, open_kitti
from sightline.formats.label_studio import LOOKED_FOR as LABEL_STUDIO_LOOKED_FOR
from sightline.formats.label_studio import label_studio_files, open_label_studio
from sightline.formats.labelme import LOOKED_FOR as LABELME_LOOKED_FOR
from sightline.formats.labelme import labelme_folders, open_labelme
from sightline.formats.look import kinds_of_labels, said_found
from sightline.formats.paths import folders_in
from sightline.formats.pictures import too_many_pixels
from sightline.formats.records import Annotations, DataError, Issue
from sightline.formats.source import Labelled, Notes, Pair, Source
from sightline.formats.via import LOOKED_FOR as VIA_LOOKED_FOR
from sightline.formats.via import open_via, via_files
from sightline.formats.voc import LOOKED_FOR as VOC_LOOKED_FOR
from sightline.formats.voc import has_nested_xml, has_xml, open_voc
from sightline.formats.vott import LOOKED_FOR as VOTT_LOOKED_FOR
from sightline.formats.vott import open_vott, vott_files
from sightline.formats.yolo import LOOKED_FOR as YOLO_LOOKED_FOR
from sightline.formats.yolo import has_nested_labels, open_yolo, yolo_root

EMBEDDED = ("digits", "digit-scenes")
# Label files take precedence over folder names, and over a csv file that may be made from them.
_WEAKER = ("folder", "csv")
# Label files in folders of any name and depth, which are looked for where no other format fits.
_NESTED = {"voc": has_nested_xml, "yolo": has_nested_labels}
_ORDER = ("train", "val", "test")  # of splits; others follow
# A format that looks at what is in the files, and one that may take them by their names alone.
_BETTER = {"kitti": "yolo", "cvat": "voc"}
# Suffixes of the label files of each format.
_KINDS = {
    "voc": (".xml",),
    "coco": (".json",),
    "yolo": (".txt", ".yaml", ".yml", ".data"),
    "labelme": (".json",),
    "kitti": (".txt",),
    "csv": (".csv",),
    "cvat": (".xml",),
    "label_studio": (".json",),
    "via": (".json", ".csv"),
    "vott": (".json", ".vott"),
}
_MOST_INNER = 20  # folders that are tried where a data set has been unpacked below another

# Format -> how to recognise it, how to open it, what it looks for.
_READERS: dict[
    str,
    tuple[
        Callable[[Path], object],
        Callable[[Path, Sequence[str] | None, Notes | None], Source],
        str,
    ],
] = {
    "voc": (has_xml, open_voc, VOC_LOOKED_FOR),
    "coco": (coco_files, open_coco, COCO_LOOKED_FOR),
    "yolo": (yolo_root, open_yolo, YOLO_LOOKED_FOR),
    "labelme": (labelme_folders, open_labelme, LABELME_LOOKED_FOR),
    "kitti": (kitti_places, open_kitti, KITTI_LOOKED_FOR),
    "csv": (csv_files, open_csv, CSV_LOOKED_FOR),
    "folder": (has_class_folders, open_folders, FOLDER_LOOKED_FOR),
    "cvat": (cvat_files, open_cvat, CVAT_LOOKED_FOR),
    "label_studio": (label_studio_files, open_label_studio, LABEL_STUDIO_LOOKED_FOR),
    "via": (via_files, open_via, VIA_LOOKED_FOR),
    "vott": (vott_files, open_vott, VOTT_LOOKED_FOR),
}


def detect_format(root: Path) -> str:
    """Return the format of the data set at a path.

    Raises DataError where no format fits, with what was looked for, or where several fit.
    """
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check data.path")
    found = _formats_of(root)
    for better, other in _BETTER.items():
        if better in found and other in found:
            found.remove(other)
    for weaker in _WEAKER:
        if len(found) > 1 and weaker in found:
            found.remove(weaker)
    if len(found) > 1:
        raise DataError(
            f"{root}: looks like {' and '.join(found)}; say which with data.format={found[0]}"
        )
    if found in ([], ["folder"]):
        inner = [] if found else _inner_data_sets(root)
        if found or len(inner) != 1:  # a single one is better read alone, with its lists and names
            nested = next((name for name, is_there in _NESTED.items() if is_there(root)), None)
            found = [nested] if nested else found
    if not found:
        said = f"{root}: not a data set that can be read"
        if inner:
            raise DataError(f"{said}, but {inner[0]} is one: give that as data.path")
        raise DataError(f"{said}; {said_found(root)}. {_looked_for(root)}")
    return found[0]


def _looked_for(root: Path) -> str:
    """What the formats look for whose kinds of label files are there, or all where none is."""
    texts = {name: text for name, (_, _, text) in _READERS.items()}
    kinds = kinds_of_labels(root)
    if not kinds:
        names = ", ".join(text.partition(":")[0] for name, text in texts.items() if name in _KINDS)
        return f"Looked for label files of {names}, and for one folder of images per class"
    fitting = [text for name, text in texts.items() if kinds & set(_KINDS.get(name, ()))]
    return f"Looked for {'; '.join(fitting or texts.values())}"


def _formats_of(root: Path) -> list[str]:
    return [name for name, (recognise, _, _) in _READERS.items() if recognise(root)]


def _inner_data_sets(root: Path) -> list[Path]:
    """The data sets directly below a folder: archives often contain a single such folder."""
    return [path for path in folders_in(root)[:_MOST_INNER] if _formats_of(path)]


def _also_fits(root: Path, name: str) -> list[Issue]:
    """An issue per weaker format that fits too, which says how to choose it."""
    others = {
        "folder": ("folders of images that may be classes", pictures_of_classes),
        "csv": ("csv files of boxes", csv_files),
    }
    weaker = _WEAKER[: _WEAKER.index(name)] if name in _WEAKER else _WEAKER
    return [
        Issue(
            root,
            None,
            "format",
            f"label files of {name} are there, and {others[other][0]}",
            f"{name} is read; data.format={other} reads those, data.format={name} confirms this",
        )
        for other in weaker
        if others[other][1](root)
    ]


def open_labels(
    root: Path,
    format: str | None = None,
    class_names: Sequence[str] | None = None,
    notes: Notes | None = None,
) -> tuple[Source, list[Issue]]:
    """Open a data set, and return it with an issue for each other format that fits.

    Args:
        root, format, class_names: those of `read_dataset`.
        notes: what the reader adds to; with a list of `errors`, many are kept there, not raised.

    Raises:
        ValueError: no such format.
        DataError: the data set cannot be opened.
    """
    if format is not None and format not in _READERS:
        raise ValueError(f"`format` must be one of {', '.join(_READERS)}, got {format!r}")
    name = format or detect_format(root)
    if not root.exists():
        raise DataError(f"{root}: no such file or folder; check data.path")
    decided = _also_fits(root, name) if format is None else []
    return _READERS[name][1](root, class_names, notes), decided


def read_dataset(
    path: str | Path,
    *,
    split: str | None = None,
    format: str | None = None,
    on_bad_label: str = "error",
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    test_share: float | None = None,
    max_pixels: int | None = None,
) -> Annotations:
    """Read a labelled set of images.

    Args:
        path: a folder, or the one file with all labels (of COCO, CVAT, Label Studio, VIA, VoTT or
            CSV), or a YOLO data.yaml or obj.data.
        split: "train", "val", "test", "trainval" (train and val together), another official name,
            or None for every image. Where there is no official val split, a random stratified
            80/20 split of train is used.
        format: "voc", "coco", "yolo", "labelme", "kitti", "cvat", "label_studio", "via", "vott",
            "csv" or "folder"; None detects it.
        on_bad_label: "error" raises an error with a list, "drop-box" leaves out the box,
            "drop-image" the whole image; both leave out images that cannot be opened.
        class_names: the classes and their order, for example from a checkpoint; any other class is
            unknown.
        seed: seed of random splits.
        test_share: share of the images in (0, 1) that is put aside as split "test" where there is
            no official one, stratified like val; "train", "val" and "trainval" then consist of the
            rest. Use the same share and seed for all splits.
        max_pixels: refuse a set with a larger image, by its stated size or the header of its file;
            None does not, since no image is decoded here.

    Returns:
        Annotations, whose `issues` lists what was dropped. Images without objects are kept.

    Raises:
        DataError: the data cannot be used; the message names the file, the line or object, the rule
            and the fix.
    """
    opened = _open(path, format, class_names, on_bad_label)
    source, root = opened.source, opened.root
    labelled, rule = choose_split(source, split, root, seed=seed, test_share=test_share)
    found = opened.annotations(labelled, split, rule, on_bad_label)
    if not found.records:
        dropped = [issue for issue in found.issues if issue.action.endswith("dropped")]
        why = gathered(dropped)[0].text if dropped else rule
        raise DataError(
            f"{path}: split {split!r} holds no image ({why}); check the split list or the folder"
        )
    if max_pixels is not None:
        _refuse_large(found, max_pixels)
    return found


def read_splits(
    path: str | Path,
    *,
    format: str | None = None,
    on_bad_label: str = "error",
    class_names: Sequence[str] | None = None,
) -> dict[str | None, Annotations]:
    """Read a data set with all its official splits; the arguments are those of `read_dataset`.

    Returns:
        The annotations of each split, and with None as split those of the images that are in none.

    Raises:
        DataError: the data cannot be used, or hold no image.
    """
    opened = _open(path, format, class_names, on_bad_label)
    source = replace(opened.source, load=_once(opened.source.load))
    official = sorted(source.splits, key=lambda it: _ORDER.index(it) if it in _ORDER else 3)
    parts: dict[str | None, Labelled] = {
        split: source.table(source.splits[split]())
        for split in official
        if split not in source.absent
    }
    inside = {path for part in parts.values() for path in part.table.paths.tolist()}
    whole = source.table(source.pool())
    rest = [row for row, path in enumerate(whole.table.paths.tolist()) if path not in inside]
    if rest or not parts:
        parts[None] = whole.take(np.array(rest, np.int64))
    found = {}
    for split, part in parts.items():
        rule = f"official {split}" if split else "images of no split" if inside else "every image"
        found[split] = opened.annotations(part, split, rule, on_bad_label)
    if not any(map(len, found.values())):
        raise DataError(f"{path}: holds no image; check the folder")
    return found


def _once(load: Callable[[Any], Pair | Labelled]) -> Callable[[Any], Pair | Labelled]:
    """The same function, which loads an item of several splits only once."""
    loaded: dict[Any, Pair | Labelled] = {}

    def from_memory(item: Any) -> Pair | Labelled:
        try:
            known = item in loaded
        except TypeError:  # a part of it cannot be hashed
            return load(item)
        if not known:
            loaded[item] = load(item)
        return loaded[item]

    return from_memory


@dataclass(frozen=True)
class _Opened:
    """A data set whose reader is chosen."""

    path: str  # as given
    root: Path
    source: Source
    decided: list[Issue]  # on what was chosen where several formats fit

    def annotations(
        self, labelled: Labelled, split: str | None, rule: str, on_bad_label: str
    ) -> Annotations:
        records, issues = apply_policy(labelled, on_bad_label)
        return Annotations(
            label_type=self.source.label_type,
            class_names=self.source.class_names,
            records=records,
            issues=(*self.decided, *self.source.notes.issues(), *issues),
            category_ids=self.source.category_ids,
            source=self.path,
            format=self.source.format,
            split=split,
            split_rule=rule,
            keypoint_names=self.source.keypoint_names,
            keypoint_mirror=self.source.keypoint_mirror,
            skeleton=self.source.skeleton,
        )


def _open(
    path: str | Path, format: str | None, class_names: Sequence[str] | None, on_bad_label: str
) -> _Opened:
    root = Path(path)
    source, decided = open_labels(root, format, class_names)
    source = replace(source, skips_unreadable=on_bad_label != "error")
    return _Opened(str(path), root, source, decided)


def _refuse_large(annotations: Annotations, max_pixels: int) -> None:
    # As floats, since a label file may state any size.
    pixels = annotations.table.sizes.astype(np.float64).prod(axis=1)
    large = int((pixels > max_pixels).sum())
    if large:
        largest = annotations.records[int(pixels.argmax())]
        text = too_many_pixels(str(largest.image), largest.width, largest.height, max_pixels)
        others = f"; {large - 1:,} more are too large" if large > 1 else ""
        raise DataError(f"{text}{others}")


def open_source(
    source: str | Path,
    *,
    split: str = "train",
    format: str | None = None,
    on_bad_label: str = "error",
    class_names: Sequence[str] | None = None,
    seed: int = 0,
    test_share: float | None = None,
    scene_count: int | None = None,
    max_pixels: int | None = None,
) -> Annotations:
    """Return one split of `digits`, of `digit-scenes`, or of the data set at a path.

    `digits` has train and val, `digit-scenes` train, val and test (`scene_count` scenes, drawn with
    `seed`). The other arguments are those of `read_dataset`. A folder with the name of an embedded
    set can be given as ./digits.
    """
    if source in EMBEDDED and test_share is not None:
        raise DataError(f"{source}: its splits are fixed: leave out data.test_share")
    if source == "digits":
        halves = dict(zip(("train", "val"), load_digits_classification(seed), strict=True))
        if split not in halves:
            raise DataError(f"digits has no split {split!r}; it has train, val")
        return halves[split]
    if source == "digit-scenes":
        return load_digit_scenes(split, scene_count, seed)
    return read_dataset(
        source,
        split=split,
        format=format,
        on_bad_label=on_bad_label,
        class_names=class_names,
        seed=seed,
        test_share=test_share,
        max_pixels=max_pixels,
    )
