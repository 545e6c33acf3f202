"""The report of one run or several: PNG files in each run's folder, and one HTML page."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sightline._files import atomic_write, read_json
from sightline.report.confusion import draw_confusion
from sightline.report.curves import draw_losses, draw_metrics, draw_rate
from sightline.report.figure import png
from sightline.report.page import Page
from sightline.report.pictures import draw_examples
from sightline.report.precision_recall import draw_precision_recall
from sightline.settings.groups import Settings
from sightline.settings.read import config_layer, resolve
from sightline.tasks import TASKS
from sightline.train.history import read_results
from sightline.train.prepare import read_split

__all__ = ["write_report"]


def write_report(
    runs: str | Path | Sequence[str | Path],
    *,
    out: str | Path | None = None,
    title: str | None = None,
    warn: Callable[[str], None] = print,
) -> Path:
    """Draw the results of runs and write them to one HTML page.

    The PNG files go into `plots/` of each run and of each of its `eval-<split>` folders. The page
    is self-contained, so it can be moved or sent.

    Args:
        runs: one run folder, or several for one page.
        out: path of the page; None writes `report.html` into the run, and is for one run only.
        title: heading of the page.
        warn: called with a line of text where images cannot be shown because the data set is no
            longer where it was.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: a folder without results.csv.
        ValueError: several runs without `out`, or no run.
        ImportError: matplotlib or Pillow is missing.
    """
    folders = [Path(runs)] if isinstance(runs, (str, Path)) else [Path(run) for run in runs]
    if not folders:
        raise ValueError("`runs` must hold at least one run folder, got none")
    if len(folders) > 1 and out is None:
        raise ValueError(
            f"`out` is needed for a page of {len(folders)} runs, so that it does not replace the "
            f"report of {folders[0]}: give out={str(folders[0].parent / 'report.html')!r}"
        )
    for folder in folders:
        if not (folder / "results.csv").is_file():
            raise FileNotFoundError(f"{folder} has no results.csv, so no run with finished epochs")
    page = Page(title or f"Report of {', '.join(str(folder) for folder in folders)}")
    for folder in folders:
        _run_section(page, folder, warn)
    path = Path(out) if out else folders[0] / "report.html"
    atomic_write(path, page.render())
    return path


def _run_section(page: Page, folder: Path, warn: Callable[[str], None]) -> None:
    rows = read_results(folder / "results.csv")
    # A run of `fit` has neither a settings file nor an evaluation.
    settings = resolve([config_layer(folder)]) if (folder / "config.yaml").is_file() else None
    evaluations = [
        path
        for path in (folder / "evaluation.json", *sorted(folder.glob("eval-*/evaluation.json")))
        if path.is_file()
    ]
    best = best_epoch(folder)
    if settings is None:
        page.heading(f"Run {folder}")
        page.text(_story(rows, None, best))
        _training_section(page, folder, rows, best)
        return
    title = TASKS[str(settings.train.task)].title
    page.heading(f"{title}: {settings.model.name} on {settings.data.path}")
    page.text(_story(rows, settings, best))
    # `eval` on the split that training validated on would repeat the results of training.
    latest = {}
    for path in evaluations:
        found = read_json(path)
        latest[found["split"], found["weights"], found["data"]] = path
    for path in latest.values():
        _evaluation_section(page, path, settings, warn)
    _training_section(page, folder, rows, best)


def _training_section(
    page: Page, folder: Path, rows: list[dict[str, float]], best: int | None
) -> None:
    page.heading("Training", level=3)
    plots = folder / "plots"
    _show(page, plots / "loss.png", draw_losses(rows, best_epoch=best), "loss over epochs")
    metrics = draw_metrics(rows, best_epoch=best)
    if metrics is not None:
        _show(page, plots / "metrics.png", metrics, "validation metrics over epochs")
    _show(page, plots / "lr.png", draw_rate(rows), "learning rate over epochs")
    config = folder / "config.yaml"
    text = f"Every number is in {folder / 'results.csv'}"
    text += f", every setting in {config}." if config.is_file() else "."
    page.text(text, note=True)


def best_epoch(folder: Path) -> int | None:
    """The epoch of `weights/best`, from its header."""
    from sightline.train.checkpoint import load_weights

    path = folder / "weights" / "best.safetensors"
    return int(load_weights(path)[1]["epoch"]) if path.is_file() else None


def _story(rows: list[dict[str, float]], settings: Settings | None, best: int | None) -> str:
    """The course of the training in sentences."""
    seconds = sum(row["seconds"] for row in rows)
    if settings is None:
        text = f"Trained for {len(rows)} epochs in {seconds:.0f} s. "
        if best is not None and any(name.startswith("val/") for name in rows[-1]):
            text += f"The best epoch was number {best}. "
    else:
        text = (
            f"Trained for {len(rows)} of {settings.train.epochs} epochs in {seconds:.0f} s with "
            f"{settings.optimizer.name} at a largest learning rate of {settings.optimizer.lr:g}. "
        )
        if best is not None and settings.data.val_split is not None:
            text += f"The best epoch on the {settings.data.val_split} split was number {best}. "
    first, last = rows[0]["train/loss"], rows[-1]["train/loss"]
    text += f"The training loss went from {first:.3f} to {last:.3f}"
    if "val/loss" in rows[-1]:
        text += f"; the validation loss ended at {rows[-1]['val/loss']:.3f}"
    return text + "."


def _evaluation_section(
    page: Page, path: Path, settings: Settings, warn: Callable[[str], None]
) -> None:
    found, folder = read_json(path), path.parent
    task = TASKS[found["task"]]
    predictions = read_json(folder / "predictions.json")
    split, metrics, plots = found["split"], found["metrics"], folder / "plots"
    page.heading(f"On the {split} split, with the {found['weights']} weights", level=3)
    page.cards([(name, metrics[name]) for name in task.headlines if name in metrics])
    page.table(
        [
            {"metric": name, "value": metrics[name], "meaning": meaning}
            for name, meaning in task.meanings.items()
            if name in metrics
        ]
    )
    _class_sections(page, found, plots)
    try:
        annotations = read_split(
            _reading(settings, found["data"]), split, class_names=found["class_names"]
        )
    except (OSError, ValueError) as error:
        warn(f"no example images in the report: {error}")
        return
    buffer = io.BytesIO()
    draw_examples(task, annotations, predictions).save(buffer, "PNG", optimize=True)
    page.heading("Examples", level=3)
    plots.mkdir(parents=True, exist_ok=True)
    atomic_write(plots / "predictions.png", buffer.getvalue())
    page.picture(buffer.getvalue(), f"predictions on the {split} split")


def _class_sections(page: Page, found: dict[str, Any], plots: Path) -> None:
    """Tables and figures per class; nothing for a task without classes."""
    if found["per_class"]:
        page.heading("By class", level=3)
        page.table(found["per_class"])
    if confusion := found["confusion"]:
        figure = draw_confusion(confusion["counts"], confusion["rows"], confusion["columns"])
        page.heading("Confusion matrix", level=3)
        if note := TASKS[found["task"]].confusion_note:
            page.text(note, note=True)
        _show(page, plots / "confusion_matrix.png", figure, "confusion matrix")
    if found["curves"]:
        values = {row["name"]: row["AP50"] for row in found["per_class"]}
        values = {name: math.nan if ap is None else ap for name, ap in values.items()}
        curves = [{**curve, "AP50": values[curve["name"]]} for curve in found["curves"]]
        page.heading("Precision and recall", level=3)
        _show(page, plots / "precision_recall.png", draw_precision_recall(curves), "PR curves")


def _reading(settings: Settings, source: str) -> Settings:
    """The settings of the run, with the data set that was evaluated, which may be another one."""
    if source == settings.data.path:
        return settings
    return replace(settings, data=replace(settings.data, path=source, format=None))


def _show(page: Page, path: Path, figure: Any, description: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = png(figure)
    atomic_write(path, data)
    page.picture(data, description)
