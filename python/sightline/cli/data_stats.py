"""sightline data stats <source> [out=stats.png] [--json]

Prints the images, classes and boxes of a data set in numbers, one table per split, and draws them
into one picture. No image is decoded.

  splits=         the splits to show, separated by commas; all official ones by default
  out=            where to draw them, a PNG file; nothing is drawn without it
  --json          print JSON in place of tables
  source_format=  format of the source, where several fit
  on_bad_label=   drop-box (default), drop-image or error
  seed=           seed of random splits; 0 by default
"""

import json
from collections.abc import Sequence

from sightline._console import say
from sightline.cli.arguments import UsageError, parse, png_path
from sightline.cli.data_convert import say_issues
from sightline.data.stats import dataset_stats
from sightline.data.write import all_splits

_OPTIONS = ("splits", "out", "source_format", "on_bad_label", "seed")


def run(words: Sequence[str]) -> int:
    arguments = parse(
        [word.removeprefix("data.") for word in words], known=_OPTIONS, flags=("json",)
    )
    splits = [name.strip() for name in arguments.take_text("splits", "").split(",") if name.strip()]
    picture = arguments.take("out")
    source_format = arguments.take("source_format")
    on_bad_label = arguments.take_text("on_bad_label", "drop-box")
    seed = arguments.take_count("seed", 0, at_least=0)
    arguments.finish(_OPTIONS)
    if len(arguments.positional) != 1:
        raise UsageError("give one data set")
    out = png_path("out", picture) if picture is not None else None
    sets = all_splits(
        arguments.positional[0],
        splits=splits,
        format=source_format,
        on_bad_label=on_bad_label,
        seed=seed,
    )
    if {"train", "val"} <= {*sets}:
        sets.pop("trainval", None)  # both of them once more
    say_issues(sets)
    stats = [dataset_stats(annotations) for annotations in sets.values()]
    if "json" in arguments.flags:
        say(json.dumps([split.to_dict() for split in stats], indent=1, ensure_ascii=False))
    else:
        say("\n".join(line for split in stats for line in split.lines()))
    if out is not None:
        from sightline.report.dataset import draw_dataset
        from sightline.report.figure import png

        out.write_bytes(png(draw_dataset(stats)))
        if "json" not in arguments.flags:
            say(f"drawn: {out}")
    return 0
