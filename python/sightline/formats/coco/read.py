"""COCO JSON: boxes as xywh, categories whose ids may have gaps, crowd regions, outlines, keypoints.

Category ids become labels 0, 1, 2 ... in the order of the ids; `Annotations.category_ids` maps them
back. The xywh numbers of the file are kept together with their xyxy form, both float64.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sightline.formats.coco.categories import (
    all_categories,
    categories_if_once,
    keypoints_of,
    mirror_of,
)
from sightline.formats.coco.entries import Classes
from sightline.formats.coco.lenient import content_of, read_content
from sightline.formats.coco.native import (
    categories_of,
    category_ids_of,
    read_columns,
    read_sections,
)
from sightline.formats.finder import ImageFinder, split_of_file
from sightline.formats.paths import files_in, folders_in
from sightline.formats.record import DataError, LabelType
from sightline.formats.source import Labelled, Notes, Source
from sightline.formats.text import has_json_keys, whole_number

LOOKED_FOR = (
    "COCO: a json file with images, annotations and categories, at the root, in annotations/ or in "
    "train/, val/, test/"
)
_KEYS = ("images", "annotations", "categories")
_DEFAULTS = (["default"], ["instances_default"])
_JSON_FOLDERS = ("annotations", ".", "train", "val", "valid", "test")


def coco_files(root: Path) -> list[Path]:
    """Return the COCO files of a data set (or `root` itself), empty where there are none.

    Where there is instances_*.json, other files of the COCO releases (captions, keypoints) are left
    out.
    """
    if root.is_file():
        return [root] if root.suffix.lower() == ".json" and has_json_keys(root, _KEYS) else []
    folders = [root / name for name in _JSON_FOLDERS if (root / name).is_dir()]
    paths = [path for folder in folders for path in files_in(folder, ".json")]
    found = [path for path in paths if has_json_keys(path, _KEYS)]
    if not found:  # tools give the folder any name
        paths = [path for folder in folders_in(root) for path in files_in(folder, ".json")]
        found = [path for path in paths if has_json_keys(path, _KEYS)]
    return [path for path in found if path.name.startswith("instances")] or found


def open_coco(
    root: Path, class_names: Sequence[str] | None = None, notes: Notes | None = None
) -> Source:
    """Open a COCO data set, or one COCO file.

    The classes are those of all its files, ordered by id, or `class_names`. The split of a file is
    taken from its name or that of its folder (instances_val2017.json,
    valid/_annotations.coco.json).
    """
    paths = coco_files(root)
    if not paths:
        raise DataError(f"{root}: no COCO file; looked for {LOOKED_FOR}")
    notes = notes or Notes()
    _refuse_damaged(root, paths, notes)
    files = {path: _File(path) for path in paths}
    # Of several files perhaps only one is read further.
    skim = len(paths) > 1
    categories = {path: file.categories(skim=skim) for path, file in files.items()}
    category_names = all_categories(categories, lambda path: files[path].category_ids(), notes)
    names = tuple(class_names or category_names.values())
    id_of = {name: number for number, name in category_names.items()}
    label_of = {id_of[name]: label for label, name in enumerate(names) if name in id_of}
    classes = Classes(category_names, label_of)
    base = root if root.is_dir() else root.parent
    by_split = _by_split(root, paths, notes)
    keypoint_names, skeleton = keypoints_of(categories, notes)
    return Source(
        format="coco",
        label_type=LabelType.BOXES,
        class_names=names,
        splits={split: _lists(path) for split, path in by_split.items()},
        pool=lambda: [*paths],
        load=lambda path: files[path].labelled(base, classes, notes),
        notes=notes,
        label_file=Path,
        category_ids=tuple(id_of.get(name, -1) for name in names),
        keypoint_names=keypoint_names,
        keypoint_mirror=mirror_of(keypoint_names),
        skeleton=skeleton,
    )


def _refuse_damaged(root: Path, found: Sequence[Path], notes: Notes) -> None:
    """Refuse a file that has the name of a COCO file in another folder, but is none.

    Its split would be missing without a word.
    """
    names = {path.name: path for path in found}
    if root.is_file() or {path.parent for path in found} == {root}:
        return
    for folder in folders_in(root):
        for path in files_in(folder, ".json"):
            other = names.get(path.name)
            if other and path not in found and not has_json_keys(path, _KEYS):
                rule = f"not a COCO file, though {other} is; correct or remove it"
                notes.refuse(DataError(f"{path}: {rule}"))


def _lists(path: Path) -> Callable[[], list[Path]]:
    return lambda: [path]


def _by_split(root: Path, paths: Sequence[Path], notes: Notes) -> dict[str, Path]:
    by_split: dict[str, Path] = {}
    unsplit = []
    for path in paths:
        split = split_of_file(path) if root.is_dir() else None
        if split is None:
            unsplit.append(path)
        elif split in by_split:
            raise DataError(
                f"{root}: both {by_split[split]} and {path} are {split}; give one as data.path"
            )
        else:
            by_split[split] = path
    if by_split and [path.stem.lower() for path in unsplit] in _DEFAULTS:
        rule = "the images that CVAT lists there are in none of the splits"
        notes.add(unsplit.pop(), None, "a file", rule, "read only if no split is requested")
    if len(unsplit) > 1 or (unsplit and by_split):
        listed = ", ".join(str(path) for path in paths)
        raise DataError(
            f"{root}: cannot tell the splits of {listed}; name them train, val, test, or give one "
            "as data.path"
        )
    return by_split


class _File:
    """A COCO file, read as columns where it can be, and otherwise as Python objects; once."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = False
        self._sections: dict[str, Any] | None = None
        self._content: dict[str, Any] | None = None

    def categories(self, *, skim: bool) -> list[Any]:
        found = categories_if_once(self._path) if skim else None
        if found is None and self._columns() is not None:
            found = categories_of(self._path, self._columns() or {})
        return found if found is not None else self._objects()["categories"]

    def category_ids(self) -> set[int | None]:
        sections = self._columns()
        if sections is not None:
            return category_ids_of(sections)
        annotations = self._objects()["annotations"]
        return {whole_number(a.get("category_id")) for a in annotations if isinstance(a, dict)}

    def labelled(self, base: Path, classes: Classes, notes: Notes) -> Labelled:
        finder = ImageFinder(self._path, base, notes, "remove {it} from `images`")
        sections = self._columns()
        found = None
        if sections is not None:
            found = read_columns(self._path, sections, finder, classes, notes)
            self._read = False  # another call reads the file again
        if found is None:
            found = read_content(self._path, self._objects(), finder, classes, notes)
        self._sections = self._content = None
        return found

    def _columns(self) -> dict[str, Any] | None:
        if not self._read:
            self._sections, self._read = read_sections(self._path), True
        return self._sections

    def _objects(self) -> dict[str, Any]:
        if self._content is None:
            self._content = content_of(self._path)
        return self._content
