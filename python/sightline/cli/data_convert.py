"""sightline data convert <source> <folder> format=yolo [images=link] [splits=train,val]

Writes a data set in another format, with all its official splits, into a new folder, and says what
that format cannot hold. <source> is a folder or file of any format that is read, or digits or
digit-scenes. Nothing is overwritten, and nothing in the source changes.

  format=         {formats} (one folder of images per class)
  images=         copy (default); link makes hard links, or symbolic ones to another file system;
                  none writes the label files alone
  splits=         the splits to write, separated by commas; all official ones by default. Where
                  train and val are not official, they are a random 80/20 split
  test_share=     with splits=train,val,test: share of the images that become test
  seed=           seed of random splits, and of digit-scenes; 0 by default
  source_format=  format of the source, where several fit
  on_bad_label=   error (default) stops at bad labels; drop-box leaves out the box, drop-image the
                  image
  scene_count=    number of scenes per split of digit-scenes
"""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from sightline._console import say
from sightline._text import counted, listed
from sightline.cli.arguments import UsageError, parse
from sightline.data import Annotations
from sightline.data.issues import gathered
from sightline.data.write import WRITERS, all_splits, write_dataset
from sightline.formats import LabelType

__doc__ = str(__doc__).format(formats=", ".join(WRITERS))
_OPTIONS = (
    *("format", "images", "splits", "test_share", "seed", "source_format", "on_bad_label"),
    "scene_count",
)
_LISTED_ISSUES = 5


def run(words: Sequence[str]) -> int:
    # Errors of the readers name the settings of `sightline train`, such as data.format.
    arguments = parse([word.removeprefix("data.") for word in words], known=_OPTIONS)
    format = arguments.take("format")
    images = arguments.take_text("images", "copy")
    splits = [name for name in arguments.take_text("splits", "").split(",") if name.strip()]
    source_format = arguments.take("source_format")
    on_bad_label = arguments.take_text("on_bad_label", "error")
    seed = arguments.take_count("seed", 0, at_least=0)
    test_share = arguments.take_number("test_share", 0) or None
    scene_count = arguments.take_count("scene_count", 0, at_least=0) or None
    arguments.finish(_OPTIONS)
    if len(arguments.positional) != 2:
        raise UsageError("give a data set and a new folder, and format=yolo, say")
    if format not in WRITERS:
        raise UsageError(f"format must be one of {', '.join(WRITERS)}, got {format!r}")
    source, folder = arguments.positional
    sets = all_splits(
        source,
        splits=[name.strip() for name in splits],
        format=source_format,
        on_bad_label=on_bad_label,
        seed=seed,
        test_share=test_share,
        scene_count=scene_count,
    )
    lost = write_dataset(sets, folder, format=format, images=images)
    say_issues(sets)
    for split, annotations in sets.items():
        say(summary(split, annotations))
    for sentence in lost:
        say(f"note      {sentence}")
    say(f"written   {Path(folder)} ({format})")
    return 0


def say_issues(sets: Mapping[str | None, Annotations]) -> None:
    """Say on standard error what the reader assumed or dropped, each once."""
    issues = dict.fromkeys(issue for data in sets.values() for issue in data.issues)
    found = gathered(issues)
    for said in found[:_LISTED_ISSUES]:
        say(f"sightline data: {said.text}", file=sys.stderr)
    if len(found) > _LISTED_ISSUES:
        say(f"sightline data: ... and {len(found) - _LISTED_ISSUES} more", file=sys.stderr)


def summary(split: str | None, annotations: Annotations) -> str:
    """One line on a split: its images, and its objects per class."""
    images = counted(len(annotations), "image")
    counts = annotations.class_counts().tolist()
    total = counted(sum(counts), "object")
    named = listed([f"{n} {count:,}" for n, count in zip(annotations.class_names, counts)], 5)
    what = (
        f"{images}, {named if annotations.label_type == LabelType.CLASS else f'{total}: {named}'}"
    )
    return f"{split or 'no split':<9} {what}"
