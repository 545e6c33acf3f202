"""The training loop."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack

from torch import nn
from torch.optim import Optimizer

from sightline._suggest import did_you_mean
from sightline.losses import as_terms
from sightline.nn.wrappers import unwrapped
from sightline.train.arguments import as_functions, check_count, check_instance
from sightline.train.batches import (
    Stopwatch,
    batch_size,
    check_loader,
    count_batches,
    set_epoch,
    waiting_hint,
)
from sightline.train.best_weights import BestWeights
from sightline.train.distributed import group_rank, group_size
from sightline.train.early_stopping import Best, EarlyStopping, monitor_mode, read_monitor
from sightline.train.evaluate import evaluate
from sightline.train.history import History
from sightline.train.log import Log
from sightline.train.metadata import run_metadata
from sightline.train.metric import as_metric, check_column, directions_of, monitor_of
from sightline.train.run_dir import RunDir
from sightline.train.step import Progress, Step, StepOptions, SupervisedStep, is_part
from sightline.train.terms import TermsMeter, check_terms

__all__ = ["fit"]

EpochCall = Callable[[dict[str, float], nn.Module], None]


def fit(
    model: Step | nn.Module,
    train_loader: Iterable,
    *,
    val_loader: Iterable | None = None,
    optimizer: Optimizer | None = None,
    epochs: int,
    metric: Any = None,
    evaluator: Any = None,
    out: str | Path | RunDir | None = None,
    resume: bool | Literal["previous"] = False,
    early_stopping: EarlyStopping | None = None,
    monitor: str | None = None,
    mode: str | None = None,
    restore_best: bool = False,
    metadata: Mapping[str, Any] | None = None,
    on_epoch_end: EpochCall | Sequence[EpochCall] = (),
    log: Log | None = None,
    **options: Unpack[StepOptions],
) -> History:
    """Train for `epochs` epochs.

    A `Step` trains one batch. Instead of a step, pass any module with `optimizer` and `loss`, which
    is called with the outputs of `model(inputs)` and the targets:

        fit(model, loader, optimizer=AdamW(model.parameters()), loss=CrossEntropyLoss(), epochs=3)

    The model ends with the weights of its last step, or with `restore_best` those of the best
    epoch; the averaged and the best weights are in `ema.model` and in `out`.

    Args:
        model: a step; or a module, on the device to train on, for which a `SupervisedStep` is made.
        train_loader: yields `(inputs, targets)`, `(inputs, targets, samples)`, or a dict with
            inputs and targets under names such as "image" and "label"; tensors, and lists, tuples
            and dicts of them, are moved to the model's device. Its `set_epoch(e)`, or that of its
            sampler, is called before epoch e = 0, 1, ...
        val_loader: the same without augmentation; its loss is computed in evaluation mode, with one
            forward pass per batch.
        optimizer: for a module, over its parameters; a step has its own.
        epochs: number of passes over `train_loader`, >= 1.
        metric: metric on `val_loader`: `AccuracyEvaluator` or `DetectionEvaluator` of
            `sightline.metrics`, or any object with the methods of `Metric`.
        evaluator: the earlier name of `metric`.
        out: run folder for weights, state and results, which is locked against other processes; a
            `RunDir` has its own metadata; None writes nothing. With torch.distributed only the
            process of rank 0 writes.
        resume: continue from the state in `out`. The weights, and everything after, have the same
            bits as in a run that was never stopped. "previous" continues from the state of the
            previous epoch, where the last one is damaged.
        early_stopping: when to stop before `epochs`; without a column it watches `monitor`.
        monitor: column by which the best epoch is chosen; None for the one that the metric names
            ("val/accuracy", "val/AP50"), otherwise "val/loss", or "train/loss" without a
            `val_loader`, where the last epoch always counts as the best.
        mode: "min" or "max" for `monitor`; None for "min" for a loss, and for another column its
            direction in the metric's `directions`. It is never guessed.
        restore_best: end with the weights of the best epoch (the averaged ones with `ema`), also
            where training was stopped early or interrupted.
        metadata: stored in every weights file, in addition to the metadata of `train_loader` and
            the model. `sightline.load` reads "task" (a name in `sightline.tasks.TASKS`),
            "class_names" and "preprocess" (a `Preprocess`).
        on_epoch_end: a function, or several, called with the epoch's row and the model, before the
            epoch is saved.
        log: where progress is printed; None prints to standard output.
        options: `loss`, `terms`, `schedule`, `ema`, `clip_norm`, `accumulate`, `amp` and `seed` for
            a module, as in `SupervisedStep`.

    Returns:
        The history. After Ctrl-C it has `history.stopped == "interrupted"`; the finished epochs are
        saved, and resuming repeats the unfinished one.

    Raises:
        ValueError: an argument outside its range, an empty loader, an unknown `monitor` or one
            without a known direction, an optimizer of another model, a schedule of another
            optimizer or with the opposite `mode`; `resume` in several processes.
        TypeError: a batch or an argument in another form; metadata that is not JSON.
        FloatingPointError: a loss term is NaN or infinite; the message names the term, the epoch
            and the step.
        FileExistsError: `out` already contains a run and `resume` is False.
        BlockingIOError: another process trains into `out`.
        OSError: a file could not be written; what was saved before is intact.
    """
    check_count(epochs, "epochs")
    if early_stopping is not None:
        check_instance(early_stopping, "early_stopping", "step", "EarlyStopping(patience=5)")
    epoch_calls = as_functions(on_epoch_end, "on_epoch_end")
    if resume and out is None:
        raise ValueError("`resume` needs `out`, the folder of the run to continue")
    check_loader(train_loader, "train_loader")
    validated = val_loader is not None
    if validated:
        check_loader(val_loader, "val_loader")
    log = log or Log()
    step = _as_step(model, optimizer, options)
    name = type(step).__name__
    metric = as_metric(metric, evaluator)
    if metric is not None and not validated:
        log.warn("`metric` has nothing to measure without `val_loader`")
    if metric is None and validated and not step.has_val_loss:
        raise TypeError(
            f"{name} has no losses in validation: give a `metric`, or leave out `val_loader`"
        )
    monitor = monitor or monitor_of(metric, validated=validated)
    directions = directions_of(metric)
    best = Best(monitor_mode(monitor, mode, directions))
    check_column("`monitor`", monitor, step=step, metric=metric, validated=validated)
    if isinstance(early_stopping, EarlyStopping):
        watched = early_stopping.watches(monitor)
        check_column(
            "`monitor` of `early_stopping`", watched, step=step, metric=metric, validated=validated
        )
        early_stopping.follow(monitor, best.mode, directions)
    step.begin(epochs=epochs, monitor=monitor, mode=best.mode, log=log)
    history = History(monitor)
    parts = _all_parts(step, early_stopping, best, history)
    best_weights = BestWeights(step.model) if restore_best else None

    done = 0
    run = out if isinstance(out, RunDir) or out is None else RunDir(Path(out))
    if run is not None and group_size() > 1:
        if resume:
            raise ValueError(
                f"resuming in {group_size()} processes is not supported: the state holds the "
                "random numbers of one; resume in one process, or start a new run"
            )
        if group_rank():
            run = None  # the first process writes for all
    if run is not None and run is not out:
        run.metadata = run_metadata(step.network, train_loader, metadata)
    with run.opened(resume=resume) if run is not None else contextlib.nullcontext():
        if run is not None:
            if resume:
                done = run.restore(parts, resume, device=step.device, warn=log.warn)
                run.event("resume", epoch=done)
                if best_weights is not None:
                    best_weights.read(run.best)
                if history.stopped == "early stopping":
                    done = epochs
            else:
                # So that a run that is stopped in the first epoch can be resumed as well.
                run.save_epoch(0, parts, history, step.model, improved=False)

        log.start()
        try:
            for epoch in range(done + 1, epochs + 1):
                set_epoch(train_loader, epoch - 1)
                step.train(True)
                row: dict[str, float] = {"epoch": epoch, **step.rates()}
                meter, watch = TermsMeter(), Stopwatch()
                count = count_batches(train_loader)
                batches = log.batches(train_loader, title=f"epoch {epoch}/{epochs}")
                for number, batch in enumerate(watch.waiting(batches), start=1):
                    batch = step.take(batch)
                    progress = Progress(epoch, epochs, number, count)
                    terms = as_terms(step(batch, progress), source=f"{name}(batch, progress)")
                    meter.add(check_terms(terms, where=str(progress)), batch_size(batch.inputs))
                step.end_batches()
                if not meter.images:
                    raise ValueError(f"`train_loader` gave no batch in epoch {epoch}")

                train_seconds = watch.seconds
                row |= meter.columns("train")
                if val_loader is not None:
                    row |= evaluate(step, val_loader, metric=metric)
                monitored = read_monitor(row, monitor)
                row["seconds"] = watch.seconds
                row["images_per_second"] = meter.images / train_seconds
                row["data_fraction"] = watch.waited / train_seconds
                history.rows.append(row)

                improved = val_loader is None or best.step(monitored, epoch)
                if best.epoch is None:  # NaN so far: use the last epoch
                    improved = True
                if improved:
                    history.best_epoch = epoch
                    history.best_value = None if math.isnan(monitored) else monitored
                    if best_weights is not None:
                        best_weights.keep()
                step.end_epoch(row)
                if early_stopping is not None and early_stopping.step(row, epoch):
                    history.stopped = "early stopping"
                    log.line(
                        f"no better {early_stopping.monitor} in {early_stopping.waited} epochs"
                    )
                for call in epoch_calls:
                    call(row, step.network)
                if run is not None:
                    run.save_epoch(epoch, parts, history, step.model, improved=improved)
                log.epoch(row, epochs=epochs, best=best.epoch == epoch)
                # The first one also starts processes and decodes what is kept for the others.
                if epoch == done + 2:
                    hint = waiting_hint(watch.waited, train_seconds, train_loader)
                    if hint is not None:
                        log.line(f"hint: {hint}")
                if history.stopped:
                    break
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            log.line(f"interrupted; {len(history.rows)} finished epochs are kept")
        if val_loader is not None and history.rows and best.epoch is None:
            log.warn(f"{monitor} was NaN in every epoch: the best weights are the last ones")
        if run is not None:
            run.event("end", epochs=len(history.rows), stopped=history.stopped)
        if best_weights is not None:
            best_weights.load_into(step.network)
        return history


def _as_step(model: Step | nn.Module, optimizer: Optimizer | None, options: StepOptions) -> Step:
    """The step, or a `SupervisedStep` for a module with its options."""
    for name in options:
        if name not in StepOptions.__annotations__:
            hint = did_you_mean(name, ["metric", *StepOptions.__annotations__], quoted=True)
            raise TypeError(f"fit() got an unexpected argument {name!r}{hint}")
    if isinstance(model, Step):
        if not isinstance(getattr(model, "model", None), nn.Module):
            raise TypeError(
                f"{type(model).__name__} must set `model`, the module that is validated and saved "
                "(in __init__; a subclass of another step calls super().__init__)"
            )
        given = {"optimizer": optimizer, **options}
        beside = [f"`{name}`" for name, value in given.items() if value is not None]
        if beside:
            raise TypeError(
                f"{', '.join(beside)} cannot be given beside a step, which has its own: give them "
                f"to {type(model).__name__}(...)"
            )
        return model
    if not isinstance(model, nn.Module):
        got = model.__name__ if isinstance(model, type) else type(model).__name__
        kind = f"the class {got}" if isinstance(model, type) else got
        raise TypeError(f"`model` must be a torch.nn.Module or a sightline.train.Step, got {kind}")
    if optimizer is None:
        raise TypeError(
            "a module trains with `optimizer`, such as torch.optim.AdamW(model.parameters())"
        )
    return SupervisedStep(model, optimizer, **options)


def _all_parts(
    step: Step, early_stopping: EarlyStopping | None, best: Best, history: History
) -> dict[str, Any]:
    """Everything with a state, by name."""
    parts = step.parts()
    _check_parts(step, parts)
    own = {"early_stopping": early_stopping, "best": best, "history": history}
    for name in own:
        if name in parts:
            raise ValueError(
                f"{type(step).__name__}.parts() has {name!r}, which is a name of fit's own: give "
                "the part another name"
            )
    return parts | {name: part for name, part in own.items() if part is not None}


def _check_parts(step: Step, parts: Mapping[str, Any]) -> None:
    """Raise TypeError unless the parts can be saved, and hold the model."""
    kind = type(step).__name__
    for name, part in parts.items():
        if not is_part(part):
            raise TypeError(
                f"{kind}.parts() has {name!r}, which is no torch.Generator and lacks state_dict() "
                f"or load_state_dict(): {type(part).__name__}"
            )
    inner = unwrapped(step.network)
    modules = [part for part in parts.values() if isinstance(part, nn.Module)]
    if not any(inner is module for part in modules for module in part.modules()):
        raise TypeError(
            f"{kind}.parts() lacks the model, which resuming needs: add other parts by "
            "`return super().parts() | {...}`"
        )
