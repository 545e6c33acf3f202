"""sightline predict <run> <images ...> [out=<folder>] [score_threshold=0.3]

Writes a copy of each image with its boxes (or its class) drawn, at its original size, and
predictions.json. <run> is a run folder or a weights file; <images> are files, folders, or patterns
such as 'photos/*.jpg'. An image that cannot be read is reported and gets an "error" in
predictions.json; the others are still predicted, and the exit status is 2. After Ctrl-C the results
so far are kept.

  out=               folder for the results; <run>/predict[-k] by default
  score_threshold=   leave out boxes with a lower score, 0 to 1; 0.3 by default
  recall=            instead: the share of objects to find, such as 0.9, on the validation split (at
                     IoU .5); the highest threshold that reaches it is used
  precision=         instead: the share of boxes that are right, on the validation split; the lowest
                     threshold that reaches it is used
  weights=           best (default) or last
  device=            auto (default), cpu or cuda
"""

import sys
from collections.abc import Sequence
from glob import glob
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline._files import write_json
from sightline._text import printable
from sightline.cli.arguments import Arguments, UsageError, parse
from sightline.data import DataError, read_image
from sightline.data.image import images_in, is_image
from sightline.tasks import SCORE_THRESHOLD
from sightline.train.predictor import Predictor, load
from sightline.train.prepare import choose_device
from sightline.train.validation_curve import validation_curve

_OPTIONS = ("out", "score_threshold", "recall", "precision", "weights", "device")
_SOME_FAILED = 2


def run(words: Sequence[str]) -> int:
    arguments = parse(words, known=_OPTIONS)
    if len(arguments.positional) < 2:
        raise UsageError("give a run folder (or weights file) and at least one image")
    source, *pictures = arguments.positional
    out = arguments.take("out")
    weights = arguments.take_text("weights", "best")
    wanted = _take_wanted(arguments)
    device = choose_device(arguments.take_text("device", "auto"))
    arguments.finish(_OPTIONS)
    if out and (Path(out) / "predictions.json").exists():
        raise UsageError(f"{out} already holds a predictions.json: choose another out=")
    files = picture_files(pictures)
    threshold = _threshold_for(wanted, source, weights)
    predictor = load(source, weights=weights, device=device)
    folder = _new_folder(Path(out) if out else None, Path(source))

    rows: list[dict[str, Any]] = []
    failed = 0
    try:
        for file in files:
            row = _predict_file(predictor, file, threshold, folder)
            rows.append(row)
            failed += "error" in row
    finally:
        # Also after Ctrl-C or a full disk: the results so far are complete.
        write_json(folder / "predictions.json", rows)
    say(f"results  {folder}")
    if failed:
        say(
            f"sightline predict: {failed} of {len(files)} images could not be read; "
            'predictions.json has an "error" for each',
            file=sys.stderr,
        )
    return _SOME_FAILED if failed else 0


def _take_wanted(arguments: Arguments) -> dict[str, float]:
    """What decides which boxes are kept: a score threshold, a recall or a precision."""
    names = ("score_threshold", "recall", "precision")
    given = [name for name in names if name in arguments.options]
    if len(given) > 1:
        raise UsageError(f"give only one of {' and '.join(given)}")
    name = given[0] if given else "score_threshold"
    value = arguments.take_number(name, SCORE_THRESHOLD)
    if not 0 <= value <= 1:
        raise UsageError(f"{name} must be in [0, 1], got {value:g}")
    return {name: value}


def _threshold_for(wanted: dict[str, float], source: str, weights: str) -> float:
    if "score_threshold" in wanted:
        return wanted["score_threshold"]
    curve, path = validation_curve(source, weights=weights)
    point = curve.at(**wanted)
    say(
        f"score threshold {point.threshold:.4g}: recall {point.recall:.3f}, precision "
        f"{point.precision:.3f} on the validation split ({path})"
    )
    return point.threshold


def _predict_file(
    predictor: Predictor, file: Path, threshold: float, folder: Path
) -> dict[str, Any]:
    """Predict, draw and print one file; returns its row of predictions.json."""
    try:
        image = read_image(file, max_pixels=predictor.preprocess.max_pixels)
    except DataError as error:
        say(f"sightline predict: {error}", file=sys.stderr)
        return {"image": str(file), "error": str(error)}
    found = predictor.predict(image, score_threshold=threshold)
    target = _unused(folder / f"{file.stem}.png")
    found.draw().save(target)
    say(f"{printable(file)}  {found.summary()}")
    return {**found.to_dict(), "image": str(file), "picture": target.name}


def picture_files(words: Sequence[str]) -> list[Path]:
    """The files that arguments name; for a folder or a pattern its images, sorted by name.

    An argument names a file or folder where one of exactly that name exists. Otherwise it is a
    pattern: * matches any part of a name, ** any folders, [ab] one of two characters.

    Raises:
        DataError: an argument matches nothing.
    """
    files: list[Path] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            files += images_in(path)
        elif path.exists():
            files.append(path)
        else:
            found = [Path(match) for match in glob(word, recursive=True)]
            found = sorted(path for path in found if path.is_file() and is_image(path))
            if not found:
                raise DataError(f"{word}: no such image or folder, and no image matches it")
            files += found
    return files


def _new_folder(out: Path | None, source: Path) -> Path:
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        return out
    parent = source if source.is_dir() else source.parent
    number = 1
    while True:
        folder = parent / ("predict" if number == 1 else f"predict-{number}")
        try:
            folder.mkdir()
        except FileExistsError:
            number += 1
            continue
        return folder


def _unused(path: Path) -> Path:
    """The path, or <stem>-2, -3 ...: two folders may hold images of the same name."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate
