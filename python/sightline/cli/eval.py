"""sightline eval <run> [data=<path>] [split=test] [weights=best|last] [--json]
sightline eval --gt <gt.json> --dt <dt.json> [--iou-type bbox|segm|keypoints] [--corrected]
               [--protocol coco] [--per-class] [--plots <folder>] [--json]

The first form evaluates the weights of a run on a split of its data set (or of another one, whose
classes are matched by name). It writes evaluation.json and predictions.json into
<run>/eval-<split> and adds the results to <run>/report.html.

The second form prints COCO's twelve numbers (ten for keypoints) for ground truth and detections in
COCO's JSON format. They equal those of pycocotools to the last bit, including its known faults; a
warning says where a fault changes the numbers. LVIS files are refused, since LVIS is evaluated by
other rules.

  split=       split to evaluate on; val by default
  weights=     best (default) or last
  device=      auto (default), cpu or cuda
  batch_size=  images that go through the network together; 16 by default
  out=         folder for the results; <run>/eval-<split> by default
  --iou-type   what the overlap is computed from: bbox (default), segm (masks) or keypoints
  --corrected  correct the faults of pycocotools (an object with id 0 counts as missed) and refuse
               what it accepts silently (NaN scores, boxes with a negative side, boxes as masks)
  --protocol   coco applies COCO's rules to LVIS files too
  --per-class  print a table of the classes too
  --plots      folder for PNG files of precision, recall, F1 by score, kinds of errors, the
               confusion matrix and the reliability of the scores
  --json       print one JSON object instead of tables
"""

import json
import math
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from sightline._console import say
from sightline._text import shortened
from sightline.cli.arguments import Arguments, UsageError, parse
from sightline.metrics import evaluate_coco

if TYPE_CHECKING:
    # The COCO form needs no torch; what does is imported only where a run is evaluated.
    from sightline.data import Annotations
    from sightline.tasks import Evaluation

_OPTIONS = (
    "gt",
    "dt",
    "data",
    "split",
    "weights",
    "device",
    "out",
    "batch_size",
    "plots",
    "iou_type",
    "protocol",
)


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=("json", "per_class", "corrected"), known=_OPTIONS)
    gt, dt = arguments.take("gt"), arguments.take("dt")
    if gt is None and dt is None:
        return _evaluate_run(arguments)
    if gt is None or dt is None:
        raise UsageError("give both --gt (ground truth) and --dt (detections)")
    plots = arguments.take("plots")
    iou_type, protocol = arguments.take_text("iou_type", "bbox"), arguments.take("protocol")
    arguments.finish(_OPTIONS)
    parity = "corrected" if "corrected" in arguments.flags else "pycocotools"
    with warnings.catch_warnings():
        warnings.simplefilter("always", UserWarning)
        results = evaluate_coco(gt, dt, iou_type=iou_type, parity=parity, protocol=protocol)
    if "json" in arguments.flags:
        say(json.dumps(results.to_dict()))
    else:
        say(results.summary())
        if "per_class" in arguments.flags:
            say(f"\n{results.per_class_summary()}")
    if plots is not None:
        from sightline.report import write_plots

        paths = write_plots(results, plots)
        if "json" not in arguments.flags:
            say("\n" + "\n".join(f"wrote {path}" for path in paths))
    return 0


def _evaluate_run(arguments: Arguments) -> int:
    from sightline._files import to_json
    from sightline.train.log import Log
    from sightline.train.predictor import load
    from sightline.train.prepare import choose_device, warn_of_issues
    from sightline.train.session import evaluate_predictor, write_evaluation

    if "plots" in arguments.options or "per_class" in arguments.flags:
        raise UsageError(
            "--plots and --per-class go with --gt and --dt: for a run they are always written"
        )
    if {"iou_type", "protocol"} & set(arguments.options) or "corrected" in arguments.flags:
        raise UsageError("--iou-type, --protocol and --corrected go with --gt and --dt")
    if len(arguments.positional) != 1:
        raise UsageError("give one run folder or weights file, or --gt and --dt")
    source = Path(arguments.positional[0])
    split = arguments.take_text("split", "val")
    weights = arguments.take_text("weights", "best")
    device = choose_device(arguments.take_text("device", "auto"))
    out = arguments.take("out")
    batch_size, data = arguments.take_count("batch_size", 16), arguments.take("data")
    arguments.finish(_OPTIONS)
    predictor = load(source, weights=weights, device=device)
    annotations = read_annotations(source, split, data=data)
    as_json = "json" in arguments.flags
    warn_of_issues([annotations], Log(quiet=as_json))
    evaluation = evaluate_predictor(predictor, annotations, batch_size)
    folder = Path(out) if out else _result_folder(source, split)
    write_evaluation(folder, evaluation, annotations, weights=weights)
    if as_json:
        say(to_json({"split": split, "images": len(annotations), **evaluation.metrics}))
        return 0
    say(f"{len(annotations)} images of the {split} split, weights {weights}")
    say(evaluation_table(evaluation))
    say(f"results  {folder}")
    if source.is_dir() and out is None:
        from sightline.report import write_report

        say(f"report   {write_report(source, warn=Log().warn)}")
    return 0


def _result_folder(source: Path, split: str) -> Path:
    if source.is_dir():
        return source / f"eval-{split}"
    # A file of a run: <run>/weights/best.safetensors.
    return source.parent / f"{source.stem}-eval-{split}"


def read_annotations(source: Path, split: str, *, data: str | None) -> "Annotations":
    """The split of the run's own data set, or of `data`, read as the run read it."""
    from sightline._files import read_json
    from sightline.settings.read import config_layer, override_layer, resolve
    from sightline.train.prepare import read_split
    from sightline.train.resume_checks import check_test_split
    from sightline.train.run_dir import RunDir

    layers = []
    if (source / "config.yaml").is_file():
        layers.append(config_layer(source))
    elif data is None:
        raise UsageError(f"{source} is not a run folder, so data=<path> is needed")
    if data is not None:
        layers.append(override_layer({"data.path": data, "data.format": None}))
    annotations = read_split(resolve(layers), split)
    if (noted := RunDir(source).data).is_file():
        check_test_split(read_json(noted), annotations, source)
    return annotations


def evaluation_table(evaluation: "Evaluation") -> str:
    """Metrics, and one line per class where there are classes, as text."""
    lines = [
        f"  {name:<16} {_cell(value)}"
        for name, value in evaluation.metrics.items()
        if isinstance(value, float)
    ]
    if evaluation.per_class:
        columns = list(evaluation.per_class[0])
        names = [shortened(row["name"]) for row in evaluation.per_class]
        width = max([5, *map(len, names)])
        lines.append("  " + "class".ljust(width) + "".join(f"{c:>12}" for c in columns[1:]))
        for name, row in zip(names, evaluation.per_class):
            cells = [f"{_cell(value):>12}" for value in row.values()][1:]
            lines.append("  " + name.ljust(width) + "".join(cells))
    if any(isinstance(v, float) and math.isnan(v) for v in evaluation.metrics.values()):
        lines.append("  -: not defined, since no image of the split has an object of this class")
    return "\n".join(lines)


def _cell(value: float | int) -> str:
    if isinstance(value, float):
        return "-" if math.isnan(value) else f"{value:.4f}"
    return str(value)
