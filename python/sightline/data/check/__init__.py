"""Checks a data set: its labels, its images, and its splits against each other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from sightline.data.check.files import check_files
from sightline.data.check.findings import DatasetReport, Finding, sorted_findings
from sightline.data.check.fix import refuse_unwritable, write_clean
from sightline.data.check.gather import Gathered, gather
from sightline.data.check.images import Images, check_images, images_of
from sightline.data.check.labels import check_boxes, check_classes, check_messages
from sightline.data.check.pictures import Look
from sightline.data.check.splits import (
    Repeat,
    check_looks,
    check_repeats,
    repeats_of,
    surplus,
)
from sightline.formats.pictures import MAX_PIXELS

__all__ = ["DatasetReport", "Finding", "check_dataset", "clean_dataset"]


def check_dataset(
    path: str | Path,
    *,
    format: str | None = None,
    class_names: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    decode: bool = True,
    max_pixels: int | None = MAX_PIXELS,
) -> DatasetReport:
    """Check a data set, and return everything that was found in one pass.

    It finds boxes that are inverted, empty, partly or entirely outside their image, duplicate, tiny
    or of unknown classes; labels and images that cannot be read, are missing, or do not belong
    together; images with an EXIF orientation; images in two splits, also where they only look the
    same; classes that train lacks; and splits whose images look different from those of train.

    Args:
        path: what `read_dataset` takes.
        format: as in `read_dataset`.
        class_names: the classes; any other is unknown.
        size: height and width of the network's input, in which tiny boxes are looked for; None
            looks for them at the sizes that the images have.
        decode: decode every image, in threads; without it only the sizes of images are read, and
            damage and duplicates are not found.
        max_pixels: images with more pixels are reported and not decoded; None decodes all.

    Returns:
        A DatasetReport. Its memory grows by about half a kilobyte per image.

    Raises:
        DataError: there is no data set at the path.
        ValueError: no such format.

    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from PIL import Image
    >>> with TemporaryDirectory() as folder:
    ...     Image.new("RGB", (64, 48)).save(Path(folder) / "a.png")
    ...     _ = (Path(folder) / "a.txt").write_text("0 .5 .5 .2 0\\n")
    ...     report = check_dataset(folder)
    >>> [(finding.kind, finding.line) for finding in report.of_kind("empty box")]
    [('empty box', 1)]
    """
    data = gather(Path(path), format, class_names)
    return _checked(data, size, decode, max_pixels)[0]


def clean_dataset(
    path: str | Path,
    folder: str | Path,
    *,
    format: str | None = None,
    class_names: Sequence[str] | None = None,
    size: tuple[int, int] | None = None,
    decode: bool = True,
    max_pixels: int | None = MAX_PIXELS,
) -> tuple[DatasetReport, list[str]]:
    """Check a data set, and write a copy in the same format without what is wrong with it.

    The copy leaves out bad labels, labels and images that cannot be read or do not fit together,
    duplicate boxes, and second copies of an image; where an image is in two splits, the split for
    training loses it. Boxes are clipped to their image. The source is not changed.

    The other arguments are those of `check_dataset`.

    Args:
        folder: the copy; it must not exist, or be empty.

    Returns:
        The report on the source, and sentences on what was changed, left as it is, or lost because
        the format is written in its usual layout.

    Raises:
        DataError: there is no data set at the path, nothing is left, or the folder is in use.
        ValueError: no such format.
    """
    data = gather(Path(path), format, class_names)
    refuse_unwritable(data)  # before minutes of decoding
    report, images, looks, repeats = _checked(data, size, decode, max_pixels)
    out = surplus(images, repeats)
    unusable = {
        path
        for path, look, stated in zip(images.paths, looks, images.stated.tolist(), strict=True)
        if look.error or not look.fits(stated)
    }
    for split in data.parts:
        out.setdefault(split, set()).update(unusable)
    return report, write_clean(data, out, report, Path(folder))


def _checked(
    data: Gathered, size: tuple[int, int] | None, decode: bool, max_pixels: int | None
) -> tuple[DatasetReport, Images, list[Look], list[Repeat]]:
    images = images_of(data)
    looks, findings = check_images(data, images, decode=decode, max_pixels=max_pixels)
    findings += check_messages(data)
    findings += check_boxes(data, size)
    findings += check_classes(data)
    findings += check_files(data)
    repeats, complete = repeats_of(images, looks, max_pixels)
    findings += check_repeats(data, images, repeats, complete=complete)
    findings += check_looks(data, images, looks)
    report = DatasetReport(
        data.root,
        data.source.format,
        {split: len(part.labelled.table) for split, part in data.parts.items()},
        data.source.class_names,
        sorted_findings(findings),
    )
    return report, images, looks, repeats
