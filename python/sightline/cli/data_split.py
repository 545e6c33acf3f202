"""sightline data split <source> <folder> [shares=8:1:1] [group=prefix] [like=<folder>]

Divides a data set into splits, and writes it with them into a new folder. Each split gets the same
share of each class, files of equal content come into one split, and the result depends only on the
names of the images and the seed. Nothing in the source changes; its own splits are disregarded.

  shares=         8:1:1 by default; also 60/20/20, 70/15/15, 98/1/1 or any others; two numbers are
                  train and val. rest:100:100 are numbers of images
  names=          names of the splits, separated by commas: train,val,test by default
  group=          keep images together whose names agree up to their last number (prefix), that
                  lie in one folder (folder), or where a regular expression finds the same text
  like=           an earlier result: its images stay in their splits, and new ones are divided
  seed=           0 by default
  stratify=       no disregards the classes
  format=         format to write; by default that of the source
  images=         link (default) makes hard links, or symbolic ones to another file system; copy
                  copies; none writes the label files alone
  source_format=  format of the source, where several fit
  on_bad_label=   error (default) stops at bad labels; drop-box leaves out the box, drop-image the
                  image
"""

from collections.abc import Sequence
from pathlib import Path

from sightline._console import say
from sightline._text import quoted
from sightline.cli.arguments import UsageError, parse
from sightline.cli.data_convert import say_issues, summary
from sightline.data import Annotations
from sightline.data.draw_splits import draw_splits, group_of, shares_of
from sightline.data.write import WRITERS, all_images, all_splits, write_dataset

_OPTIONS = (
    *("shares", "names", "group", "like", "seed", "stratify", "format", "images"),
    *("source_format", "on_bad_label"),
)
_YES_NO = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}


def run(words: Sequence[str]) -> int:
    arguments = parse([word.removeprefix("data.") for word in words], known=_OPTIONS)
    shares_text = arguments.take_text("shares", "8:1:1")
    names = [name.strip() for name in arguments.take_text("names", "").split(",") if name.strip()]
    group = arguments.take("group")
    like = arguments.take("like")
    seed = arguments.take_count("seed", 0, at_least=0)
    stratify = arguments.take_text("stratify", "yes").lower()
    format = arguments.take("format")
    images = arguments.take_text("images", "link")
    source_format = arguments.take("source_format")
    on_bad_label = arguments.take_text("on_bad_label", "error")
    arguments.finish(_OPTIONS)
    if len(arguments.positional) != 2:
        raise UsageError("give a data set and a new folder")
    if stratify not in _YES_NO:
        raise UsageError(f"stratify must be yes or no, got {quoted(stratify)}")
    source, folder = arguments.positional
    everything = all_images(source, format=source_format, on_bad_label=on_bad_label)
    format = format or everything.format
    if format not in WRITERS:
        unknown = quoted(source if format == everything.format else format)
        raise UsageError(f"{unknown} cannot be written: give format=, one of {', '.join(WRITERS)}")
    earlier = None
    if like is not None:
        earlier = _earlier([str(record.image_id) for record in everything.records], like)
    drawn = draw_splits(
        everything,
        shares_of(shares_text, names, count=len(everything)),
        seed=seed,
        stratify=_YES_NO[stratify],
        group=group_of(group) if group else None,
        earlier=earlier,
    )
    parts: dict[str | None, Annotations] = {split: drawn[split] for split in drawn}
    lost = write_dataset(parts, folder, format=format, images=images)
    say_issues(parts)
    for split, annotations in parts.items():
        say(summary(split, annotations))
    for sentence in lost:
        say(f"not kept  {sentence}")
    rule = next(iter(parts.values())).split_rule
    say(f"written   {Path(folder)} ({format}; {rule})")
    return 0


def _earlier(names: Sequence[str], like: str) -> dict[str, str]:
    """Name of an image -> its split in an earlier result, where images are found by file name."""
    split_of_stem: dict[str, str] = {}
    for split, annotations in all_splits(like, on_bad_label="drop-box").items():
        if split is None:
            raise UsageError(f"like={like}: that data set has no splits")
        for record in annotations.records:
            split_of_stem[_stem(str(record.image_id))] = split
    found = {name: split_of_stem[_stem(name)] for name in names if _stem(name) in split_of_stem}
    if not found:
        raise UsageError(f"like={like}: has none of these images; their file names must agree")
    say(f"like      {len(found):,} of {len(names):,} images are in {like} and stay in their splits")
    return found


def _stem(name: str) -> str:
    return name.rpartition("/")[2]
