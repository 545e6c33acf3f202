"""Where a YOLO data set keeps its classes, splits and images: in a file that says so, or by folder.

Known are the layouts of Ultralytics, Roboflow (YOLO and Darknet), CVAT (YOLO 1.1 and Ultralytics),
Label Studio and labelImg.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from sightline._text import quoted, shortened
from sightline.formats.lists import find_file, read_list, spellings
from sightline.formats.paths import (
    files_below,
    files_in,
    folders_in,
    lies_inside,
    shortened_path,
    subfolder,
)
from sightline.formats.pictures import IMAGE_SUFFIXES, is_image
from sightline.formats.records import DataError
from sightline.formats.source import Notes, split_name
from sightline.formats.text import number, read_lines
from sightline.formats.yolo.config import Config, Keypoints, class_lines, config_file, read_config

__all__ = ["LOOKED_FOR", "Item", "Layout", "has_nested_labels", "read_layout", "yolo_root"]

LOOKED_FOR = (
    "YOLO: a yaml file with `names` and `train`, obj.data, or labels/**/*.txt with images/, or "
    "*.txt beside images"
)
_CLASS_FILES = (
    "classes.txt",
    "obj.names",
    "classes.names",
    "_darknet.labels",
    "predefined_classes.txt",
)
_NOT_LABELS = (*_CLASS_FILES, "readme.txt", "requirements.txt", "readme.roboflow.txt")
_SPLIT_FOLDERS = ("train", "val", "valid", "validation", "test")
_CVAT_FOLDER = re.compile(r"obj_([A-Za-z]+)_data")
_IMAGE_FOLDERS = ("images", "jpegimages")

Item = tuple[Path, Path]  # the image, and the folder that its id is relative to
Lister = Callable[[], list[Item]]


@dataclass(frozen=True)
class Layout:
    """The parts of a data set that were found.

    `names` is None where no file names the classes. `splits` lists the images of each split, and
    raises DataError for one that is stated but not there; `listers` together list every image.
    `label_folder` replaces `image_folder` in the path of an image to give that of its label file.
    `task` and `keypoints` are those of `Config`.
    """

    names: list[str] | None
    splits: dict[str, Lister]
    listers: list[Lister]
    image_folder: str = "images"
    label_folder: str = "labels"
    absent: frozenset[str] = frozenset()  # the splits that are stated, but not there
    task: str = ""
    keypoints: Keypoints | None = None


def yolo_root(root: Path) -> Path | None:
    """Return the file that describes a YOLO data set, or otherwise its folder; None without either.

    The file is data.yaml (or of another name), or obj.data.
    """
    described = config_file(root)
    if described is not None or root.is_file():
        return described
    for place in _label_places(root):
        texts = [path for path in files_in(place, ".txt") if path.name.lower() not in _NOT_LABELS]
        labelled = "labels" in map(str.lower, place.parts[len(root.parts) :])
        if texts and (labelled or any(_image_beside(path) for path in texts)):
            return root
    return root if _listed_pictures(root) or _sibling_of_images(root) else None


def has_nested_labels(root: Path) -> bool:
    """Whether there is a label file beside its image in any folder below, however deep."""
    if not root.is_dir():
        return False
    files = files_below(root)
    images = {path.with_suffix("") for path in files if is_image(path)}
    texts = (path for path in files if path.suffix.lower() == ".txt")
    return any(path.with_suffix("") in images and _holds_a_box(path) for path in texts)


def _holds_a_box(path: Path) -> bool:
    """Whether the first line of a text is of a label, and not of a caption, say."""
    try:
        lines = read_lines(path)
    except DataError:
        return False
    words = lines[0][1].split() if lines else []
    return len(words) >= 5 and None not in map(number, words)


def _listed_pictures(root: Path) -> dict[str, Path]:
    """The lists at the root that are called train.txt, val.txt and so on, by split."""
    lists = [(split_name(path.stem), path) for path in files_in(root, ".txt")]
    return {split: path for split, path in lists if split is not None and _names_an_image(path)}


def _names_an_image(path: Path) -> bool:
    try:
        lines = read_lines(path)
    except DataError:
        return False
    return bool(lines) and lines[0][1].lower().endswith(IMAGE_SUFFIXES)


def _label_places(root: Path) -> list[Path]:
    """The folders in which label files are, and files that name the classes."""
    labels = subfolder(root, "labels")
    splits = [subfolder(root, name) for name in _SPLIT_FOLDERS]
    places = [root, labels, *splits, *_cvat_folders(root).values()]
    places += [subfolder(labels, name) for name in _SPLIT_FOLDERS]
    return places + [subfolder(split, "labels") for split in splits]


def _cvat_folders(root: Path) -> dict[str, Path]:
    """The folders obj_train_data and the like of CVAT, by split."""
    found = [(_CVAT_FOLDER.fullmatch(path.name), path) for path in folders_in(root)]
    return {split_name(match[1]) or match[1]: path for match, path in found if match}


def _image_beside(label: Path) -> bool:
    return any(is_image(path) for path in label.parent.glob(f"{glob.escape(label.stem)}.*"))


def _sibling_of_images(root: Path) -> tuple[str, str] | None:
    """The folder of the images and the one of any name beside it that has their label files."""
    images = subfolder(root, "images")
    if subfolder(root, "labels").is_dir():
        return None
    named_so = images.is_dir()
    if not named_so:
        holding = [path for path in folders_in(root) if files_in(path, *IMAGE_SUFFIXES)]
        if len(holding) != 1:
            return None
        images = holding[0]
    texts = {
        folder.name: [path for path in files_below(folder) if path.suffix.lower() == ".txt"]
        for folder in folders_in(root)
        if folder != images
    }
    if not any(texts.values()):
        return None
    named = {path.stem for path in files_below(images) if is_image(path)}
    labels = {name: [path for path in paths if path.stem in named] for name, paths in texts.items()}
    # Where no folder is called images, one may be a class, and the texts may be anything.
    found = [
        name
        for name, paths in labels.items()
        if (paths if named_so else any(map(_holds_a_box, paths)))
    ]
    if len(found) > 1:
        folders = " and ".join(found)
        raise DataError(
            f"{root}: {folders} each hold label files of the images; rename the right one to labels"
        )
    return (images.name, found[0]) if found else None


def read_layout(found: Path, notes: Notes) -> Layout:
    """Return the layout of what `yolo_root` found; what is assumed goes to `notes`."""
    return (
        _stated_layout(read_config(found, notes), notes)
        if found.is_file()
        else _folder_layout(found, notes)
    )


def _folder_layout(root: Path, notes: Notes) -> Layout:
    splits: dict[str, Lister] = {}
    cvat = _cvat_folders(root)
    for name in _SPLIT_FOLDERS:
        split = split_name(name) or name
        folder = subfolder(root, name)
        places = [subfolder(subfolder(root, images), name) for images in _IMAGE_FOLDERS]
        places += [subfolder(folder, images) for images in _IMAGE_FOLDERS]
        for place in (*places, folder, cvat.get(split, folder)):
            if place.is_dir() and split not in splits and _images_below(place):
                splits[split] = partial(_images_below, place)
    if not splits:
        config = Config(root, None, [root], {}, {})
        for split, path in _listed_pictures(root).items():
            splits[split] = partial(_images_of, [path], config, notes)
    sibling = _sibling_of_images(root)
    image_folder, label_folder = sibling or ("images", "labels")
    if sibling is not None:
        rule = "no folder is called labels, and this one holds label files of "
        rule += f"{shortened(image_folder)}/"
        notes.add(root / label_folder, None, "a folder", rule, "used as labels")
    return Layout(
        names=_listed_classes(dict.fromkeys((root, root / label_folder)), notes),
        splits=splits,
        listers=[*splits.values()] or [_whole(root)],
        image_folder=image_folder,
        label_folder=label_folder,
    )


def _whole(base: Path) -> Lister:
    images = subfolder(base, "images")
    return partial(_images_below, images if images.is_dir() else base)


def _stated_layout(config: Config, notes: Notes) -> Layout:
    found = {
        split: [(text, _find_place(text, split, config, notes)) for text in texts]
        for split, texts in config.places.items()
    }
    _refuse_one_place_of_two_splits(config, found)
    splits: dict[str, Lister] = {}
    there: dict[str, Lister] = {}
    for split, places in found.items():
        missing = next((text for text, here in places if not here), None)
        if missing is None:
            here = [path for _, paths in places for path in paths]
            splits[split] = there[split] = partial(_images_of, here, config, notes)
        else:
            splits[split] = partial(_raise_missing, missing, config)
            rule = f"there is no {shortened_path(missing)}"
            notes.add(config.file, _line(config, split), f"split {split}", rule, "not read")
    names = config.names or _listed_classes(config.bases, notes)
    listers = [*(there or splits).values()]  # with none there, the first raises
    absent = frozenset(splits) - frozenset(there)
    return Layout(
        names,
        splits,
        listers or [_whole(config.bases[0])],
        absent=absent,
        task=config.task,
        keypoints=config.keypoints,
    )


def _line(config: Config, split: str) -> int | None:
    return next((line for key, line in config.line_of.items() if split_name(key) == split), None)


def _raise_missing(text: str, config: Config) -> list[Item]:
    missing = shortened_path(config.bases[0] / text)
    raise DataError(f"{config.file}: there is no {missing}; correct the path in {config.file.name}")


def _find_place(text: str, split: str, config: Config, notes: Notes) -> list[Path]:
    """Return the folders, lists or images that a place in the file means; empty where it is none.

    It may be a pattern. If there is nothing at the path as written, which may be of another
    machine, its end is looked for, but none that leaves out the name of a split.
    """
    slashed = text.replace("\\", "/")
    for base in config.bases:
        # Some exports write ../train/images for a folder next to data.yaml.
        for name in (text, slashed, slashed.removeprefix("../"), slashed.removeprefix("data/")):
            found = _matches(base, name)
            if found:
                return found
    for end in list(spellings(text))[1:]:
        left_out = slashed.removesuffix(end).split("/")
        if any(split_name(part) for part in left_out):
            break
        for base in config.bases:
            found = _matches(base, end)
            if found:
                rule = f"there is no {shortened_path(text)} on this machine"
                line = _line(config, split)
                notes.add(config.file, line, f"split {split}", rule, f"{base / end} used")
                return found
    return []


def _matches(base: Path, name: str) -> list[Path]:
    """Return what is at a path below a folder, or what a pattern fits there, but not above it."""
    try:
        if (base / name).exists():
            return [base / name]
        if Path(name).is_absolute() or ".." in Path(name).parts or not glob.has_magic(name):
            return []
        found = [base / match for match in sorted(glob.glob(name, root_dir=base, recursive=True))]
        lists = name.lower().endswith(".txt")
        return [path for path in found if path.is_dir() or is_image(path) or lists]
    except (OSError, ValueError):  # too long a name, say
        return []


def _refuse_one_place_of_two_splits(
    config: Config, found: dict[str, list[tuple[str, list[Path]]]]
) -> None:
    """Refuse two paths of two splits that lead to one place; the same path twice is intended."""
    first: dict[Path, tuple[str, str]] = {}
    for split, places in found.items():
        for text, paths in places:
            for path in paths:
                other, other_text = first.setdefault(path.resolve(), (split, text))
                if other != split and other_text != text:
                    raise DataError(
                        f"{config.file}: {quoted(other_text)} of {other} and {quoted(text)} of "
                        f"{split} would both be {path} on this machine; correct the paths"
                    )


def _images_of(places: list[Path], config: Config, notes: Notes) -> list[Item]:
    """Return the images in folders and in text files of paths."""
    folders = [place if place.is_dir() else place.parent for place in places]
    above = Path(os.path.commonpath(folders))  # so that images of two folders have different ids
    items: list[Item] = []
    for place in places:
        if place.is_dir():
            items += [(image, above) for image, _ in _images_below(place)]
        elif is_image(place):
            items.append((place, above))
        else:
            find = partial(_listed_image, place, config, notes)
            items += [(image, config.bases[0]) for _, image in read_list(place, find, notes)]
    return list(dict.fromkeys(items))


def _listed_image(place: Path, config: Config, notes: Notes, line: str, line_number: int) -> Path:
    def noted(_: str) -> None:
        rule = "no such path, but the data set has a file at the end of it"
        notes.add(place, line_number, "a line", rule, "that image used")

    name = line
    if config.file.suffix.lower() == ".data" and not (config.bases[0] / "data").is_dir():
        name = line.removeprefix("data/")  # Darknet's name of the folder of obj.data
    folders = [*config.bases, place.parent]
    if name.startswith(("./", ".\\")):  # relative to the list, as Ultralytics has it
        folders.reverse()
    image = find_file(name, [*dict.fromkeys(folders)], noted)
    if image is None:
        missing, fix = shortened_path(config.bases[0] / line), "remove the line"
        label = f"{name.rpartition('.')[0]}.txt"
        if not lies_inside(place, config.file):  # the list may be any file of this machine
            missing = "image of that name (not shown: the list is outside the data set)"
        elif find_file(label, folders, lambda _: None, suffixes=False) is not None:
            fix = "its label file is there: export the images too, or remove the line"
        raise DataError(f"{place}:{line_number}: there is no {missing}; {fix}")
    return image


def _images_below(folder: Path) -> list[Item]:
    return [(path, folder) for path in files_below(folder) if is_image(path)]


def _listed_classes(bases: Iterable[Path], notes: Notes) -> list[str] | None:
    """The classes of a file of names, at the root or in the folders of labels."""
    for base in bases:
        found = [folder / name for folder in _label_places(base) for name in _CLASS_FILES]
        lists = {path: class_lines(path, notes) for path in found if path.is_file()}
        if lists:
            (first, names), *others = lists.items()
            for path, other in others:
                if other != names:
                    raise DataError(
                        f"{path}: names other classes than {first}; make them the same, or "
                        "remove one"
                    )
            return names
    return None
