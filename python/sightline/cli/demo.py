"""sightline demo [out=runs] [seed=0] [key=value ...]

Trains a classifier on scanned digits and a detector on scenes composed of such digits, evaluates
both on images that they were not trained on, and writes one report. It needs no files and no
network, and takes a few minutes on two CPU cores.

  out=         folder for the runs; runs by default
  seed=        seed of both trainings; 0 by default
  key=value    any setting of `sightline train`, for both trainings
"""

import time
from collections.abc import Sequence
from pathlib import Path

from sightline._console import say
from sightline.cli.arguments import UsageError, parse
from sightline.report import write_report
from sightline.settings.read import config_layer, override_layer, resolve
from sightline.train.log import Log, duration
from sightline.train.predictor import load
from sightline.train.prepare import read_split
from sightline.train.session import evaluate_predictor, train_from_settings, write_evaluation


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=("quiet",))
    if arguments.positional:
        raise UsageError(f"expected key=value, got {arguments.positional[0]!r}")
    root = arguments.take_text("out", "runs")
    log = Log(quiet="quiet" in arguments.flags)
    started = time.perf_counter()
    finished = {}
    for source in ("digits", "digit-scenes"):
        overrides = {**arguments.options, "data": source, "train.out": root, "train.name": "demo"}
        finished[source] = train_from_settings([override_layer(overrides, "demo")], log=log)
        if finished[source].history.stopped == "interrupted":
            return 130
        log.line()
    trained = time.perf_counter() - started

    classifier, detector = finished["digits"], finished["digit-scenes"]
    scores = _evaluate(detector.path, "test", "best")
    # The held-out digits also chose the best epoch; the weights of the last one are independent.
    accuracy = _evaluate(classifier.path, "val", "last")["accuracy"]
    page = write_report(
        [detector.path, classifier.path],
        out=detector.path / "report.html",
        title="Sightline demo: digits found and digits read",
        warn=log.warn,
    )
    write_report(classifier.path, warn=log.warn)
    say(
        f"detector    AP {scores['AP']:.4f}  AP50 {scores['AP50']:.4f}  "
        "on held-out scenes (COCO protocol)"
    )
    say(f"classifier  accuracy {accuracy:.4f}  on held-out digits, last epoch")
    say(
        f"time        {duration(time.perf_counter() - started)}, of which training "
        f"{duration(trained)}"
    )
    say(f"report      {page}")
    return 0


def _evaluate(path: Path, split: str, weights: str) -> dict[str, float]:
    """Metrics on a split; no digit or photograph of the test scenes is in a training scene."""
    predictor = load(path, weights=weights)
    settings = resolve([config_layer(path)])
    data = read_split(settings, split, class_names=predictor.class_names)
    evaluation = evaluate_predictor(predictor, data, 50)
    write_evaluation(path / f"eval-{split}", evaluation, data, weights=weights)
    return evaluation.metrics
