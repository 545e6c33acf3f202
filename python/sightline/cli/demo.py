"""sightline demo [out=runs] [seed=0] [key=value ...]

Trains a classifier on scanned digits and a detector on composed digit scenes, evaluates both
on pictures that neither saw, and writes one report. Needs no file and no network; a few minutes on
two CPU cores. Further key=value words apply to both trainings.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from sightline.cli.arguments import UsageError, parse
from sightline.report import write_report
from sightline.train.log import Log, duration
from sightline.train.predictor import load
from sightline.train.prepare import read_split
from sightline.train.session import evaluate_predictor, train_from_settings, write_evaluation
from sightline.train.settings_io import config_layer, override_layer, resolve


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
    scores = _held_out(detector.path)
    page = write_report(
        [detector.path, classifier.path],
        out=detector.path / "report.html",
        title="Sightline demo: digits found and digits read",
        warn=log.warn,
    )
    write_report(classifier.path, warn=log.warn)
    print(
        f"detector    AP {scores['AP']:.4f}  AP50 {scores['AP50']:.4f}  "
        "on held-out scenes (COCO protocol)"
    )
    if classifier.evaluation is not None:
        accuracy = classifier.evaluation.metrics["accuracy"]
        print(f"classifier  accuracy {accuracy:.4f}  on held-out digits")
    print(
        f"time        {duration(time.perf_counter() - started)}, of which training "
        f"{duration(trained)}"
    )
    print(f"report      {page}")
    return 0


def _held_out(path: Path) -> dict[str, float]:
    """Metrics on the test scenes, whose digits and photograph no training scene uses."""
    predictor = load(path)
    settings = resolve([config_layer(path)])
    test = read_split(settings, "test", class_names=predictor.class_names)
    evaluation = evaluate_predictor(predictor, test, 50)
    write_evaluation(path / "eval-test", evaluation, test, weights="best")
    return evaluation.metrics
