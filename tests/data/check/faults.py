"""A small VOC set, and faults that can be planted in it or in any set of that layout."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("RBC", "WBC", "Platelets")
SIZE = (160, 120)
_HEAD = """<annotation>
  <filename>{name}.jpg</filename>
  <size><width>{width}</width><height>{height}</height><depth>3</depth></size>
"""

Planted = tuple[str, str, int | None]  # kind, the end of the file's name, line


def write_voc(root: Path) -> Path:
    """36 images of smooth colours in 3 official splits, each with a box of every class."""
    rng = np.random.default_rng(0)
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    for split, count in (("train", 16), ("val", 10), ("test", 10)):
        names = [f"{split}_{number}" for number in range(count)]
        (root / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names) + "\n")
        for name in names:
            coarse = Image.fromarray(rng.integers(0, 256, (6, 8, 3)).astype(np.uint8))
            coarse.resize(SIZE, Image.Resampling.BICUBIC).save(image_of(root, name), quality=90)
            head = _HEAD.format(name=name, width=SIZE[0], height=SIZE[1])
            label_of(root, name).write_text(f"{head}</annotation>\n")
            for place, label in enumerate(CLASSES):
                add_object(root, name, label, (10 + 40 * place, 10, 45 + 40 * place, 60))
    return root


def link_voc(source: Path, root: Path) -> Path:
    """A copy of a VOC set whose images are links to those of the source."""
    for folder in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
        for path in (source / folder).iterdir():
            if folder == "JPEGImages":
                (root / folder / path.name).symlink_to(path)
            else:
                (root / folder / path.name).write_bytes(path.read_bytes())
    return root


def image_of(root: Path, name: str) -> Path:
    return root / "JPEGImages" / f"{name}.jpg"


def label_of(root: Path, name: str) -> Path:
    return root / "Annotations" / f"{name}.xml"


def listed(root: Path, split: str) -> list[str]:
    return (root / "ImageSets" / "Main" / f"{split}.txt").read_text().split()


def list_too(root: Path, split: str, name: str) -> None:
    with (root / "ImageSets" / "Main" / f"{split}.txt").open("a") as file:
        file.write(f"{name}\n")


def add_object(root: Path, name: str, label: str, box: tuple[float, ...]) -> int:
    """Add an object to a label file, and return its line."""
    path = label_of(root, name)
    text = path.read_text().rstrip().removesuffix("</annotation>").rstrip("\t ")
    sides = zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True)
    corners = "".join(f"<{side}>{value:g}</{side}>" for side, value in sides)
    line = f"  <object>\n    <name>{label}</name>\n    <bndbox>{corners}</bndbox>\n  </object>\n"
    path.write_text(f"{text}{line}</annotation>\n")
    return text.count("\n") + 1


def _replace_image(path: Path, data: bytes) -> None:
    path.unlink()  # it may be a link
    path.write_bytes(data)


def _save(path: Path, image: Image.Image, **options: object) -> None:
    path.unlink(missing_ok=True)
    image.save(path, **options)


def _of(root: Path, split: str) -> Callable[[int], str]:
    names = listed(root, split)
    return lambda number: names[number]


def _box(label: str, box: Callable[[int, int], tuple[float, ...]], kind: str, number: int):
    def plant(root: Path) -> Iterator[Planted]:
        name = _of(root, "train")(number)
        with Image.open(image_of(root, name)) as image:
            line = add_object(root, name, label, box(*image.size))
        yield kind, f"{name}.xml", line

    return plant


def _same_as_first(wider: float, kind: str, number: int):
    def plant(root: Path) -> Iterator[Planted]:
        name = _of(root, "train")(number)
        text = label_of(root, name).read_text()
        box = [
            float(text.split(f"<{s}>")[1].split("<")[0]) for s in ("xmin", "ymin", "xmax", "ymax")
        ]
        label = text.split("<name>")[1].split("<")[0]
        line = add_object(root, name, label, (*box[:2], box[2] + wider, box[3]))
        yield kind, f"{name}.xml", line

    return plant


def unknown_class(root: Path) -> Iterator[Planted]:
    (root / "classes.txt").write_text("\n".join(CLASSES))
    name = _of(root, "train")(5)
    yield "unknown class", f"{name}.xml", add_object(root, name, "Lymph", (5, 5, 40, 40))


def class_of_test_alone(root: Path) -> Iterator[Planted]:
    if not (root / "classes.txt").exists():
        add_object(root, _of(root, "test")(1), "Lymph", (5, 5, 40, 40))
        yield "class not in training", root.name, None


def missing_image(root: Path) -> Iterator[Planted]:
    name = _of(root, "train")(6)
    image_of(root, name).unlink()
    yield "label without image", f"{name}.xml", None


def truncated_image(root: Path) -> Iterator[Planted]:
    path = image_of(root, _of(root, "val")(1))
    _replace_image(path, path.read_bytes()[: path.stat().st_size // 2])
    yield "unreadable image", path.name, None


def text_as_image(root: Path) -> Iterator[Planted]:
    path = image_of(root, _of(root, "val")(2))
    _replace_image(path, b"<html>not found</html>")
    yield "unreadable image", path.name, None


def empty_image(root: Path) -> Iterator[Planted]:
    path = image_of(root, _of(root, "val")(3))
    _replace_image(path, b"")
    yield "unreadable image", path.name, None


def turned_image(root: Path) -> Iterator[Planted]:
    path = image_of(root, _of(root, "train")(7))
    with Image.open(path) as image:
        exif = Image.Exif()
        exif[0x0112] = 6
        _save(path, image.copy(), exif=exif)
    yield "rotated image", path.name, None


def other_size(root: Path) -> Iterator[Planted]:
    name = _of(root, "train")(8)
    path = label_of(root, name)
    path.write_text(path.read_text().replace("<width>", "<width>1", 1))
    yield "image of another size", f"{name}.xml", None


def broken_label(root: Path) -> Iterator[Planted]:
    name = _of(root, "train")(9)
    path = label_of(root, name)
    text = path.read_text()
    text = text[: text.rindex("</object>")]
    path.write_text(text)
    yield "unreadable label file", f"{name}.xml", text.count("\n") + 1


def image_without_label(root: Path) -> Iterator[Planted]:
    pixels = np.random.default_rng(9).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(image_of(root, "unlabelled"))
    yield "image without label", "unlabelled.jpg", None


def missing_label(root: Path) -> Iterator[Planted]:
    list_too(root, "val", "nothing_here")
    lines = (root / "ImageSets" / "Main" / "val.txt").read_text().count("\n")
    yield "missing label file", "val.txt", lines


def listed_twice(root: Path) -> Iterator[Planted]:
    name = _of(root, "train")(10)
    list_too(root, "test", name)
    yield "same image in two splits", f"{name}.jpg", None


def _copy(root: Path, number: int, copy: str) -> Image.Image:
    name = _of(root, "train")(number)
    label_of(root, copy).write_text(
        label_of(root, name).read_text().replace(f"{name}.", f"{copy}.")
    )
    list_too(root, "test", copy)
    return image_of(root, name)


def copied_to_test(root: Path) -> Iterator[Planted]:
    original = _copy(root, 11, "copied")
    image_of(root, "copied").write_bytes(original.read_bytes())
    yield "same image in two splits", "copied.jpg", None


def coded_again_in_test(root: Path) -> Iterator[Planted]:
    with Image.open(_copy(root, 12, "again")) as image:
        image.point(lambda value: value * 0.9).save(image_of(root, "again"), quality=50)
    yield "similar images in two splits", "again.jpg", None


def unlike_test(root: Path) -> Iterator[Planted]:
    for name in listed(root, "test"):
        with Image.open(image_of(root, name)) as image:
            grey = image.convert("L").point(lambda value: value * 0.3).convert("RGB")
        _save(image_of(root, name), grey)
    yield "split looks different", root.name, None


def labelled_twice(root: Path) -> Iterator[Planted]:
    name = _of(root, "train")(15)
    text = label_of(root, name).read_text()
    label_of(root, "second").write_text(text)  # with the <filename> of the first
    yield "same image twice", f"{name}.jpg", None


FAULTS = {
    "unlike test": unlike_test,  # first, since it changes every image of test
    "inverted": _box("RBC", lambda w, h: (50, 50, 20, 80), "inverted box", 0),
    "empty": _box("RBC", lambda w, h: (30, 30, 30, 30), "empty box", 1),
    "outside": _box("RBC", lambda w, h: (w + 9, 5, w + 40, 40), "box outside its image", 2),
    "partly outside": _box(
        "WBC", lambda w, h: (w - 9, 5, w + 9, 40), "box partly outside its image", 3
    ),
    "tiny": _box("WBC", lambda w, h: (9, 9, 10, 30), "tiny box", 4),
    "duplicate": _same_as_first(0, "duplicate box", 13),
    "nearly the same": _same_as_first(1, "nearly the same box", 14),
    "unknown class": unknown_class,
    "class of test alone": class_of_test_alone,
    "missing image": missing_image,
    "truncated image": truncated_image,
    "text as image": text_as_image,
    "empty image": empty_image,
    "turned image": turned_image,
    "other size": other_size,
    "labelled twice": labelled_twice,
    "broken label": broken_label,
    "image without label": image_without_label,
    "missing label": missing_label,
    "listed twice": listed_twice,
    "copied to test": copied_to_test,
    "coded again in test": coded_again_in_test,
}
