"""The training loop."""

import contextlib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sightline.metrics import DetectionEvaluator
from sightline.optim.ema import EMA
from sightline.optim.schedule import Schedule
from sightline.train.arguments import as_functions, as_schedule, check_epochs, check_instance
from sightline.train.batches import (
    LossMeter,
    Stopwatch,
    batch_size,
    check_loader,
    check_losses,
    check_optimizer,
    move_batch,
    set_epoch,
    split_batch,
)
from sightline.train.best_weights import BestWeights
from sightline.train.distributed import group_rank, group_size
from sightline.train.early_stopping import Best, EarlyStopping, read_monitor
from sightline.train.evaluate import evaluate
from sightline.train.evaluators import (
    Evaluator,
    as_evaluator,
    check_column,
    monitor_of,
    monitored_mode,
)
from sightline.train.history import History
from sightline.train.log import Log
from sightline.train.metadata import run_metadata
from sightline.train.precision import Precision
from sightline.train.run_dir import RunDir
from sightline.train.terms import Loss, compute_terms, prepare_loss

__all__ = ["fit"]

EpochCall = Callable[[dict[str, float], nn.Module], None]


def fit(
    model: nn.Module,
    train_loader: Iterable,
    *,
    val_loader: Iterable | None = None,
    optimizer: Optimizer,
    loss: Loss | None = None,
    schedule: Schedule | LRScheduler | None = None,
    epochs: int,
    evaluator: Evaluator | DetectionEvaluator | None = None,
    out: str | Path | RunDir | None = None,
    resume: bool | Literal["previous"] = False,
    ema: EMA | None = None,
    early_stopping: EarlyStopping | None = None,
    clip_norm: float | None = None,
    amp: str = "auto",
    monitor: str | None = None,
    mode: str | None = None,
    restore_best: bool = False,
    metadata: Mapping[str, Any] | None = None,
    on_epoch_end: EpochCall | Sequence[EpochCall] = (),
    log: Log | None = None,
) -> History:
    """Train `model` for `epochs` epochs.

    Any module trains with `loss`, which is called with what `model(inputs)` returned and the
    targets. Without `loss`, `model(inputs, targets)` must return a dict of scalar loss terms, whose
    sum is minimised, and `model(inputs)` predictions, which only `evaluator` looks at. The model is
    left with the weights of its last step, unless `restore_best` asks for the best; the averaged
    and the best ones are in `ema.model` and in `out`.

    Args:
        model: on the device to train on.
        train_loader: gives `(inputs, targets)`, or a dict with both under names such as "image" and
            "label"; tensors, and lists, tuples and dicts of them, are moved to the model's device.
            Its `set_epoch(e)`, or that of its sampler, is called before epoch e = 0, 1, ...
        val_loader: the same without augmentation; its loss is computed in evaluation mode.
        optimizer: over the parameters of `model`.
        loss: `loss(outputs, targets)`, a scalar or a dict of scalars that are summed, such as
            `torch.nn.CrossEntropyLoss()`. A module is moved to the model's device and its state is
            saved; parameters that it has belong into the optimizer. Targets of a classification
            loader of `sightline.data` reach it as labels [B].
        schedule: a `Schedule`, or a scheduler of torch that is stepped once an epoch, both over
            `optimizer`. `ReduceLROnPlateau` is given the column `monitor`.
        epochs: number of passes over `train_loader`, >= 1.
        evaluator: metrics over `val_loader`: `AccuracyEvaluator` or `DetectionEvaluator` of
            `sightline.metrics`, or any object with the methods of `Evaluator`.
        out: run folder for weights, state and results, which no other process can train into in
            the meantime; a `RunDir` brings its own metadata; None writes nothing. Under
            torch.distributed the process of rank 0 writes alone.
        resume: go on from the state in `out`. The weights, and all that follows, have the same
            bits as in a run that was never stopped. "previous" goes on from the state of the epoch
            before, for where the last one is damaged.
        ema: averaged weights; where given, they are what is validated and saved as best and last.
        early_stopping: when to stop before `epochs`; without a column of its own it watches
            `monitor`.
        clip_norm: largest L2 norm of all gradients together.
        amp: "auto" (bfloat16 on a GPU, off on the CPU), "bf16", "fp16" or "off".
        monitor: column that the best epoch is picked by; None: the one that the evaluator names
            ("val/accuracy", "val/AP50"), else "val/loss", or "train/loss" without a `val_loader`,
            where the last epoch always counts as the best.
        mode: "min" or "max" for `monitor`; None asks the evaluator's `directions`, and then the
            column's name.
        restore_best: leave `model` with the weights of the best epoch (the averaged ones with
            `ema`), also where training was stopped early or interrupted.
        metadata: stored in every weights file, beside what `train_loader` and `model` tell of
            themselves. `sightline.load` reads "task" ("classify" or "detect"), "class_names" and
            "preprocess" (a `Preprocess`).
        on_epoch_end: a function, or several, called with the epoch's row and the model, before the
            epoch is saved.
        log: where progress is printed; None prints to standard output.

    Returns:
        The history. Ctrl-C returns too, with `history.stopped == "interrupted"`; the epochs that
        were finished are saved, and resuming repeats the unfinished one.

    Raises:
        ValueError: an argument outside its range, an empty loader, an unknown `monitor`, an
            optimizer of another model, a schedule of another optimizer or of the opposite `mode`;
            `resume` in several processes.
        TypeError: a batch, or an argument, of another form; metadata that is not JSON.
        FloatingPointError: a loss term is NaN or infinite; names the term, the epoch and the step.
        FileExistsError: `out` already holds a run and `resume` is False.
        BlockingIOError: another process trains into `out`.
        OSError: a file could not be written; what was saved before is intact.
    """
    check_epochs(epochs)
    check_instance(optimizer, "optimizer", "param_groups", "torch.optim.AdamW(model.parameters())")
    if ema is not None:
        check_instance(ema, "ema", "model", "EMA(model)")
    if early_stopping is not None:
        check_instance(early_stopping, "early_stopping", "step", "EarlyStopping(patience=5)")
    epoch_calls = as_functions(on_epoch_end, "on_epoch_end")
    if clip_norm is not None and not clip_norm > 0:
        raise ValueError(f"`clip_norm` must be > 0, got {clip_norm}")
    if resume and out is None:
        raise ValueError("`resume` needs `out`, the folder of the run to go on with")
    check_loader(train_loader, "train_loader")
    if val_loader is not None:
        check_loader(val_loader, "val_loader")

    device = next(model.parameters()).device
    precision = Precision(amp, device)
    log = log or Log()
    stateful_loss = prepare_loss(loss, model)
    check_optimizer(optimizer, model, stateful_loss)
    evaluator = as_evaluator(evaluator)
    if evaluator is not None and val_loader is None:
        log.warn("`evaluator` has nothing to evaluate without `val_loader`")
    monitor = monitor or monitor_of(evaluator, validated=val_loader is not None)
    best = Best(monitored_mode(monitor, mode, evaluator))
    validated = val_loader is not None
    check_column("`monitor`", monitor, evaluator, validated=validated)
    if isinstance(early_stopping, EarlyStopping):
        early_stopping.follow(monitor, best.mode)
        watched = early_stopping.monitor or monitor
        check_column("`early_stopping` watches", watched, evaluator, validated=validated)
    schedule = as_schedule(
        schedule, optimizer, epochs=epochs, monitor=monitor, mode=best.mode, log=log
    )
    history = History(monitor)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "precision": precision}
    optional = {"loss": stateful_loss, "schedule": schedule, "ema": ema}
    parts |= {name: part for name, part in optional.items() if part is not None}
    if early_stopping is not None:
        parts["early_stopping"] = early_stopping
    parts |= {"best": best, "history": history}
    predicting = ema.model if ema is not None else model
    best_weights = BestWeights(predicting) if restore_best else None

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
        run.metadata = run_metadata(model, train_loader, metadata)
    with run.opened(resume=resume) if run is not None else contextlib.nullcontext():
        if run is not None:
            if resume:
                done = run.restore(parts, resume, warn=log.warn)
                run.event("resume", epoch=done)
                if best_weights is not None:
                    best_weights.read(run.best)
                if history.stopped == "early stopping":
                    done = epochs
            else:
                # So that stopping in the very first epoch can be resumed as well.
                run.save_epoch(0, parts, history, predicting, improved=False)

        log.start()
        try:
            for epoch in range(done + 1, epochs + 1):
                set_epoch(train_loader, epoch - 1)
                model.train()
                rate = optimizer.param_groups[0]["lr"]
                meter, watch = LossMeter(), Stopwatch()
                batches = log.batches(train_loader, title=f"epoch {epoch}/{epochs}")
                for step, batch in enumerate(watch.waiting(batches), start=1):
                    inputs, targets = move_batch(*split_batch(batch), device)
                    with precision.autocast():
                        losses, _ = compute_terms(model, loss, inputs, targets)
                    values = check_losses(losses, where=f"epoch {epoch}, step {step}")
                    precision.step(sum(losses.values()), optimizer, model, clip_norm)
                    if ema is not None:
                        ema.step(model)
                    if schedule is not None:
                        schedule.step()
                    meter.add(values, batch_size(inputs))
                if not meter.images:
                    raise ValueError(f"`train_loader` gave no batch in epoch {epoch}")

                train_seconds = watch.seconds
                row: dict[str, float] = {"epoch": epoch, "lr": rate, **meter.columns("train")}
                if val_loader is not None:
                    row |= evaluate(
                        predicting, val_loader, loss=loss, evaluator=evaluator, precision=precision
                    )
                monitored = read_monitor(row, monitor)
                row["seconds"] = watch.seconds
                row["images_per_second"] = meter.images / train_seconds
                row["data_fraction"] = watch.waited / train_seconds
                history.rows.append(row)

                improved = val_loader is None or best.step(monitored, epoch)
                if best.epoch is None:  # NaN so far: no epoch is better than the last one
                    improved = True
                if improved:
                    history.best_epoch = epoch
                    history.best_value = None if math.isnan(monitored) else monitored
                    if best_weights is not None:
                        best_weights.keep()
                if schedule is not None:
                    schedule.end_epoch(monitored)
                if early_stopping is not None and early_stopping.step(row, epoch):
                    history.stopped = "early stopping"
                    log.line(
                        f"no better {early_stopping.monitor} in {early_stopping.waited} epochs"
                    )
                for call in epoch_calls:
                    call(row, model)
                if run is not None:
                    run.save_epoch(epoch, parts, history, predicting, improved=improved)
                log.epoch(row, epochs=epochs, best=best.epoch == epoch)
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
            best_weights.load_into(model)
        return history
