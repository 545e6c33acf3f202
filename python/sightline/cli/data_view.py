"""sightline data view <source> [out=view.png] [count=16] [--augment]

Draws images of a data set with their labels into one PNG file. With --augment, or settings such as
augment.rotate=20 or augment.level=2, each row is one image: as it is, and as training changes it.

  out=            view.png by default; a file of that name is overwritten
  count=          number of images; 16 by default, or 6 with augmentation
  split=          the split to show; train by default, where there is one
  columns=        images per row; 4 by default
  variants=       changed versions per image; 3 by default
  width=          width of one image in pixels; 320 by default
  seed=           seed of the choice and of the changes; 0 by default
  source_format=  format of the source, where several fit
  on_bad_label=   drop-box (default), drop-image or error

Settings of augmentation, where what is not given is as in `sightline train`:

{settings}
"""

from collections.abc import Sequence
from dataclasses import asdict, fields
from textwrap import fill as fill_text
from textwrap import indent

from sightline._console import say
from sightline.cli.arguments import Arguments, UsageError, parse, png_path
from sightline.cli.data_convert import say_issues
from sightline.data import Annotations, Augment, default_augment
from sightline.data.view import draw_dataset_view
from sightline.data.write import all_splits
from sightline.settings.read import fill, override_layer, resolve

_AUGMENT = tuple(f"augment.{item.name}" for item in fields(Augment))
__doc__ = str(__doc__).format(settings=indent(fill_text("= ".join(_AUGMENT) + "=", 90), "  "))
_OPTIONS = (
    *("out", "count", "split", "columns", "variants", "width", "seed", "source_format"),
    *("on_bad_label", *_AUGMENT),
)


def run(words: Sequence[str]) -> int:
    arguments = parse(
        [word.removeprefix("data.") for word in words], known=_OPTIONS, flags=("augment",)
    )
    chosen = {name: value for name in _AUGMENT if (value := arguments.take(name)) is not None}
    augmented = bool(chosen) or "augment" in arguments.flags
    count = arguments.take_count("count", 6 if augmented else 16)
    columns = arguments.take_count("columns", 4)
    variants = arguments.take_count("variants", 3)
    width = arguments.take_count("width", 320)
    seed = arguments.take_count("seed", 0, at_least=0)
    name = arguments.take_text("out", "view.png")
    annotations = _opened(arguments, seed)
    out = png_path("out", name)
    say_issues({annotations.split: annotations})
    augment = None
    if augmented:
        settings = resolve([override_layer(chosen)])
        defaults = asdict(default_augment(annotations))
        settings = fill(settings, "data", {f"augment.{k}": v for k, v in defaults.items()})
        augment = settings.augment
    picture = draw_dataset_view(
        annotations,
        count=count,
        columns=columns,
        width=width,
        augment=augment,
        variants=variants,
        seed=seed,
    )
    picture.save(out)
    shown = f"{min(count, len(annotations)):,} of {len(annotations):,} images"
    say(f"drawn: {out} ({shown} of {annotations.split or 'all splits'})")
    return 0


def _opened(arguments: Arguments, seed: int) -> Annotations:
    split = arguments.take("split")
    source_format = arguments.take("source_format")
    on_bad_label = arguments.take_text("on_bad_label", "drop-box")
    arguments.finish(_OPTIONS)
    if len(arguments.positional) != 1:
        raise UsageError("give one data set")
    sets = all_splits(
        arguments.positional[0],
        splits=[split] if split else (),
        format=source_format,
        on_bad_label=on_bad_label,
        seed=seed,
    )
    return sets.get("train") or next(iter(sets.values()))
