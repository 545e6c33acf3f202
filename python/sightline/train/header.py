"""Prints the header of a run."""

from pathlib import Path

from sightline._text import listed, printable, shortened
from sightline.settings.read import resolve, settings_values
from sightline.train.log import Log
from sightline.train.prepare import Prepared

__all__ = ["print_header"]


def print_header(prepared: Prepared, path: Path, log: Log) -> None:
    """Print the model, the data, and the settings that differ from the defaults."""
    settings, train = prepared.settings, prepared.train
    parameters = sum(p.numel() for p in prepared.model.parameters())
    height, width = prepared.preprocess.size
    counts = [f"{len(train)} train"]
    if prepared.val is not None:
        counts.append(f"{len(prepared.val)} {prepared.val.split or 'val'}")
    if prepared.test is not None:
        counts.append(f"{len(prepared.test)} put aside as test")
    counted = zip(train.class_names, train.class_counts())
    classes = listed([f"{shortened(name)} {count}" for name, count in counted])
    log.line(f"run      {printable(path)}")
    log.line(
        f"model    {settings.model.name}, {parameters / 1e6:.2f} M parameters, "
        f"{height} x {width} pixels, on {prepared.device}"
    )
    log.line(
        f"data     {printable(settings.data.path)} ({train.format}): {', '.join(counts)} images"
    )
    log.line(f"classes  {classes}")
    log.line("settings that differ from the defaults, by where they come from:")
    values, defaults = settings_values(settings), settings_values(resolve([]))
    by_origin: dict[str, list[str]] = {}
    for key, origin in settings.origins.items():
        value, default = values[key], defaults[key]
        if origin != "default" and value != default and key != "model.options":
            by_origin.setdefault(origin, []).append(f"{key}={_short(value)}")
    log.table((origin, " ".join(words)) for origin, words in by_origin.items())


def _short(value: object) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(_short(item) for item in value)
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
