"""sightline predict <run> <pictures ...> [out=<folder>] [score_threshold=0.3]

Writes each picture with its boxes (or its class) drawn, and predictions.json. <run> is a run folder
or a weights file; <pictures> are files or folders.

  out=               folder for the results; <run>/predict[-k] without it
  score_threshold=   boxes below it are left out, 0 to 1
  weights=           best (default) or last
  device=            auto, cpu or cuda
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sightline._console import say
from sightline._text import printable, shortened
from sightline.cli.arguments import UsageError, parse
from sightline.data import DataError, read_image
from sightline.data.image import is_image
from sightline.report.draw import draw_classification, draw_detections
from sightline.train.files import write_json
from sightline.train.predictor import Predictor, load
from sightline.train.prepare import choose_device

_OPTIONS = ("out", "score_threshold", "weights", "device")
_SHOWN_SCORE = 0.3


def run(words: Sequence[str]) -> int:
    arguments = parse(words)
    if len(arguments.positional) < 2:
        raise UsageError("give a run folder (or weights file) and at least one picture")
    source, *pictures = arguments.positional
    out = arguments.take("out")
    threshold = arguments.take_number("score_threshold", _SHOWN_SCORE)
    if not 0 <= threshold <= 1:
        raise UsageError(f"score_threshold must be in [0, 1], got {threshold:g}")
    weights = arguments.take_text("weights", "best")
    device = choose_device(arguments.take_text("device", "auto"))
    arguments.finish(_OPTIONS)
    files = picture_files(pictures)
    predictor = load(source, weights=weights, device=device)
    folder = _new_folder(Path(out) if out else None, Path(source))

    rows = []
    for file in files:
        image = read_image(file)
        found = predictor.predict(image, score_threshold=threshold)
        target = _unused(folder / f"{file.stem}.png")
        _drawn(predictor, image, found).save(target)
        row = {"image": str(file), "picture": target.name, **_row(predictor, found)}
        rows.append(row)
        say(f"{printable(file)}  {_text(predictor, found)}")
    write_json(folder / "predictions.json", rows)
    say(f"results  {folder}")
    return 0


def picture_files(words: Sequence[str]) -> list[Path]:
    """The files that words name; a folder stands for the images in it, sorted by name."""
    files: list[Path] = []
    for word in words:
        path = Path(word)
        if path.is_dir():
            inside = sorted(item for item in path.iterdir() if is_image(item))
            if not inside:
                raise DataError(f"{path}: no image in this folder")
            files += inside
        elif path.is_file():
            files.append(path)
        else:
            raise DataError(f"{path}: no such picture or folder")
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
    """The path, or <stem>-2, -3 ...: two folders may hold pictures of one name."""
    number, candidate = 1, path
    while candidate.exists():
        number += 1
        candidate = path.with_stem(f"{path.stem}-{number}")
    return candidate


def _drawn(predictor: Predictor, image: Any, found: Any) -> Any:
    if predictor.task == "classify":
        return draw_classification(image, f"{found.name}  {found.score:.2f}")
    names = predictor.class_names
    width = max(image.shape[1], 640) if image.shape[1] < 640 else None
    return draw_detections(
        image, found.boxes, found.labels, names, scores=found.scores, width=width
    )


def _row(predictor: Predictor, found: Any) -> dict[str, Any]:
    if predictor.task == "classify":
        probabilities = dict(zip(predictor.class_names, found.probabilities.tolist(), strict=True))
        return {"name": found.name, "score": found.score, "probabilities": probabilities}
    return {
        "detections": [
            {"name": name, "label": int(label), "score": float(score), "box": box.tolist()}
            for name, label, score, box in zip(found.names, found.labels, found.scores, found.boxes)
        ]
    }


def _text(predictor: Predictor, found: Any) -> str:
    if predictor.task == "classify":
        return f"{shortened(found.name)} {found.score:.3f}"
    counts = {name: found.names.count(name) for name in dict.fromkeys(found.names)}
    said = (f"{count} {shortened(name)}" for name, count in counts.items())
    return ", ".join(said) or "nothing found"
