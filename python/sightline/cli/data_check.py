"""sightline data check <source> [fix=<folder>] [--json] [--all]

Checks the labels, the images and the splits of a data set, and prints what is wrong, by kind, each
with file, line, rule and fix. Nothing in the source changes. The exit status is 1 where there is an
error, such as a label that readers drop or refuse, or an image in two splits; otherwise 0.

  fix=<folder>    write a clean copy into a new folder: without bad labels and images, duplicate
                  boxes, and those images of train that are in another split too
  source_format=  format of the source, where several fit; format= is the same
  size=240x320    height and width of the network's input, to find boxes that are tiny there
  max_pixels=     decode images of up to this many pixels
  --labels        do not decode the images: finds no damaged, duplicate or unusual ones
  --all           list every finding; otherwise the first ten of each kind
  --json          print the report as JSON
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.data.check import check_dataset, clean_dataset
from sightline.formats.pictures import MAX_PIXELS

_OPTIONS = ("fix", "source_format", "format", "size", "max_pixels")


def run(words: Sequence[str]) -> int:
    # Errors of the readers name the settings of `sightline train`, such as data.format.
    words = [word.removeprefix("data.") for word in words]
    arguments = parse(words, flags=("json", "all", "labels"), known=_OPTIONS)
    format, fix = arguments.take("source_format") or arguments.take("format"), arguments.take("fix")
    size = _size(arguments.take("size"))
    max_pixels = arguments.take_count("max_pixels", MAX_PIXELS)
    arguments.finish(_OPTIONS)
    if len(arguments.positional) != 1:
        raise UsageError("give one data set: sightline data check <folder>")
    path = arguments.positional[0]
    decode = "labels" not in arguments.flags
    options: dict[str, Any] = {
        "format": format,
        "size": size,
        "decode": decode,
        "max_pixels": max_pixels,
    }
    done: list[str] = []
    if fix is None:
        report = check_dataset(path, **options)
    else:
        report, done = clean_dataset(path, fix, **options)
    if "json" in arguments.flags:
        content = report.to_dict()
        if fix is not None:
            content |= {"copy": fix, "changes": done}
        say(json.dumps(content, indent=2))
    else:
        for line in report.lines(None if "all" in arguments.flags else 10):
            say(line)
        for sentence in done:
            say(f"copy     {sentence}")
        if fix is not None:
            say(f"written  {Path(fix)}")
    return 0 if report.ok else 1


def _size(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    sides = text.lower().split("x")
    if len(sides) != 2 or not all(side.isdecimal() and int(side) for side in sides):
        raise UsageError(f"size must be height and width, such as 240x320, got {text!r}")
    return int(sides[0]), int(sides[1])
