"""The training loop."""

import contextlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from sightline.train.batches import (
    LossMeter,
    Stopwatch,
    check_loader,
    check_losses,
    move_batch,
    set_epoch,
)
from sightline.train.early_stopping import Best, EarlyStopping, monitor_mode, read_monitor
from sightline.train.ema import EMA
from sightline.train.evaluate import Evaluator, evaluate
from sightline.train.history import History
from sightline.train.log import Log
from sightline.train.precision import Precision
from sightline.train.run_dir import RunDir
from sightline.train.schedule import Schedule

__all__ = ["fit"]


def fit(
    model: nn.Module,
    train_loader: Iterable,
    *,
    val_loader: Iterable | None = None,
    optimizer: Optimizer,
    schedule: Schedule | LRScheduler | None = None,
    epochs: int,
    evaluator: Evaluator | None = None,
    out: str | Path | RunDir | None = None,
    resume: bool = False,
    ema: EMA | None = None,
    early_stopping: EarlyStopping | None = None,
    clip_norm: float | None = None,
    amp: str = "auto",
    monitor: str | None = None,
    mode: str | None = None,
    metadata: dict[str, Any] | None = None,
    on_epoch_end: Sequence[Callable[[dict[str, float], nn.Module], None]] = (),
    log: Log | None = None,
) -> History:
    """Train `model` for `epochs` epochs.

    `model(images, targets)` must return a dict of scalar loss terms, whose sum is minimised, and
    `model(images)` predictions, which only `evaluator` looks at. The model is left with the weights
    of its last step; the averaged and the best ones are in `ema.model` and in `out`.

    Args:
        model: on the device to train on.
        train_loader: gives `(images [B, C, H, W], targets: list of B dicts)`; its `set_epoch(e)`
            is called before epoch e = 0, 1, ... where it has one.
        val_loader: the same without augmentation; its loss is computed in evaluation mode.
        optimizer: over the parameters of `model`.
        schedule: a `Schedule`, or a scheduler of torch that is stepped once an epoch.
        epochs: number of passes over `train_loader`, >= 1.
        evaluator: metrics over `val_loader`.
        out: run folder for weights, state and results, which no other process can train into in
            the meantime; a `RunDir` brings its own metadata; None writes nothing.
        resume: go on from the state in `out`. The weights, and all that follows, have the same
            bits as in a run that was never stopped.
        ema: averaged weights; where given, they are what is validated and saved as best and last.
        early_stopping: when to stop before `epochs`.
        clip_norm: largest L2 norm of all gradients together.
        amp: "auto" (bfloat16 on a GPU, off on the CPU), "bf16", "fp16" or "off".
        monitor: column that the best epoch is picked by; None: "val/loss", or "train/loss" without
            a `val_loader`, where the last epoch always counts as the best.
        mode: "min" or "max" for `monitor`; None tells from its name.
        metadata: stored in every weights file.
        on_epoch_end: functions called with the epoch's row and the model, before it is saved.
        log: where progress is printed; None prints to standard output.

    Returns:
        The history. Ctrl-C returns too, with `history.stopped == "interrupted"`; the epochs that
        were finished are saved, and resuming repeats the unfinished one.

    Raises:
        ValueError: an argument outside its range, an empty loader, an unknown `monitor`.
        FloatingPointError: a loss term is NaN or infinite; names the term, the epoch and the step.
        FileExistsError: `out` already holds a run and `resume` is False.
        BlockingIOError: another process trains into `out`.
        OSError: a file could not be written; what was saved before is intact.
    """
    if epochs < 1:
        raise ValueError(f"`epochs` must be >= 1, got {epochs}")
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
    if schedule is not None and not isinstance(schedule, Schedule):
        schedule = Schedule(schedule, every="epoch")
    monitor = monitor or ("val/loss" if val_loader is not None else "train/loss")
    best = Best(monitor_mode(monitor, mode))
    history = History(monitor)
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "precision": precision}
    optional = {"schedule": schedule, "ema": ema, "early_stopping": early_stopping}
    parts |= {name: part for name, part in optional.items() if part is not None}
    parts |= {"best": best, "history": history}
    predicting = ema.model if ema is not None else model

    done = 0
    run = out if isinstance(out, RunDir) or out is None else RunDir(Path(out), metadata or {})
    with run.opened(resume=resume) if run is not None else contextlib.nullcontext():
        if run is not None:
            if resume:
                done = run.restore(parts)
                run.event("resume", epoch=done)
                if history.stopped == "early stopping":
                    return history
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
                for step, (images, targets) in enumerate(watch.waiting(batches), start=1):
                    images, targets = move_batch(images, targets, device)
                    with precision.autocast():
                        losses = model(images, targets)
                    values = check_losses(losses, where=f"epoch {epoch}, step {step}")
                    precision.step(sum(losses.values()), optimizer, model, clip_norm)
                    if ema is not None:
                        ema.step(model)
                    if schedule is not None:
                        schedule.step()
                    meter.add(values, len(images))
                if not meter.images:
                    raise ValueError(f"`train_loader` gave no batch in epoch {epoch}")

                train_seconds = watch.seconds
                row: dict[str, float] = {"epoch": epoch, "lr": rate, **meter.columns("train")}
                if val_loader is not None:
                    row |= evaluate(
                        predicting, val_loader, evaluator=evaluator, precision=precision
                    )
                monitored = read_monitor(row, monitor)
                row["seconds"] = watch.seconds
                row["images_per_second"] = meter.images / train_seconds
                row["data_fraction"] = watch.waited / train_seconds
                history.rows.append(row)

                improved = best.step(monitored, epoch) if val_loader is not None else True
                if improved:
                    history.best_epoch, history.best_value = epoch, monitored
                if schedule is not None:
                    schedule.end_epoch(monitored)
                if early_stopping is not None and early_stopping.step(row, epoch):
                    history.stopped = "early stopping"
                    log.line(
                        f"no better {early_stopping.monitor} in {early_stopping.waited} epochs"
                    )
                for call in on_epoch_end:
                    call(row, model)
                if run is not None:
                    run.save_epoch(epoch, parts, history, predicting, improved=improved)
                log.epoch(row, epochs=epochs, best=improved and val_loader is not None)
                if history.stopped:
                    break
        except KeyboardInterrupt:
            history.stopped = "interrupted"
            log.line(f"interrupted; {len(history.rows)} finished epochs are kept")
        if run is not None:
            run.event("end", epochs=len(history.rows), stopped=history.stopped)
        return history
