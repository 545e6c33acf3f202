"""A whole run from settings: header, training, final evaluation, and the files of its folder."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch.optim import Optimizer

from sightline._files import read_json, write_json
from sightline.data import Annotations, Augment, make_loader
from sightline.data.annotations import with_classes
from sightline.data.loader import Loader
from sightline.optim.ema import EMA
from sightline.optim.make import make_optimizer
from sightline.optim.schedule import Schedule, make_schedule
from sightline.settings.groups import SettingsError
from sightline.settings.read import Layer, config_layer, settings_values, write_config
from sightline.tasks import TASKS, Evaluation, default_task
from sightline.train.data_record import data_digest, data_record
from sightline.train.distributed import started_with
from sightline.train.early_stopping import EarlyStopping
from sightline.train.environment import environment
from sightline.train.evaluate import evaluate
from sightline.train.fit import fit
from sightline.train.header import print_header
from sightline.train.history import History
from sightline.train.log import Log
from sightline.train.monitor import choose_monitor
from sightline.train.predictor import Predictor, load
from sightline.train.prepare import Prepared, prepare
from sightline.train.resume_checks import check_data, check_settings
from sightline.train.run_dir import RunDir, new_run_dir
from sightline.train.step import SupervisedStep

__all__ = ["Run", "evaluate_predictor", "resume_run", "train_from_settings", "write_evaluation"]


@dataclass(frozen=True)
class Run:
    """A finished or interrupted run."""

    path: Path
    history: History
    evaluation: Evaluation | None


def train_from_settings(
    layers: Sequence[Layer], *, log: Log | None = None, out: str | Path | None = None
) -> Run:
    """Train a model with the given settings, evaluate its best weights, and write a run folder.

    Args:
        layers: settings; later ones override earlier ones; see `sightline.settings.read`.
        log: where progress is printed.
        out: the run's folder; None creates `<train.out>/<task>/<train.name>[-k]`.

    Raises:
        SettingsError, DataError: nothing was written.
        The errors of `fit`.
    """
    refuse_several_processes()
    log = log or Log()
    prepared = prepare(layers, log=log)
    options = prepared.settings.train
    watched = choose_monitor(prepared, log)
    path = Path(out) if out else new_run_dir(prepared.task.name, options.name, root=options.out)
    run = RunDir(path, prepared.metadata, settings_values(prepared.settings))
    with run.opened(resume=False):
        write_config(run.config, prepared.settings)
        data = {
            split: data_record(annotations) if annotations is not None else None
            for split, annotations in prepared.splits.items()
        }
        write_json(run.data, data, indent=None)
        digests = {split: data_digest(found) if found else None for split, found in data.items()}
        write_json(path / "env.json", {**environment(), "seed": options.seed, "data": digests})
        run.event("start", origins=prepared.settings.origins)
        print_header(prepared, path, log)
        return _train(prepared, run, watched, log, resume=False)


def resume_run(path: str | Path, *, log: Log | None = None) -> Run:
    """Continue a run that was stopped, from its folder, to the same bits.

    Args:
        path: the run's folder; or its `weights/previous.state.pt`, to continue from the epoch
            before the last.
        log: where progress is printed.

    Raises:
        FileNotFoundError: there is no run, or no state, in `path`.
        BlockingIOError: another process trains into it.
        ValueError: the state is damaged; or the settings or the data differ from those that it was
            trained with.
    """
    refuse_several_processes()
    log, path = log or Log(), Path(path)
    resume: bool | Literal["previous"] = True
    if path.is_file():
        run = RunDir(path.parent.parent)
        if path not in (run.state, run.previous_state):
            raise ValueError(f"{path} is not the state of a run: give the run's folder")
        resume = "previous" if path == run.previous_state else True
        path = run.path
    else:
        run = RunDir(path)
    with run.opened(resume=resume):
        saved = run.load_state(resume)
        prepared = prepare([config_layer(path)], log=log)
        check_settings(saved.get("settings", {}), prepared.settings, run.config)
        del saved  # `fit` loads it again, and memory may not suffice for two
        if run.data.is_file():
            check_data(read_json(run.data), prepared.splits, path, log)
        else:
            log.warn(f"no {run.data}: so changes of the data cannot be recognised")
        run.metadata, run.settings = prepared.metadata, settings_values(prepared.settings)
        print_header(prepared, path, log)
        watched = choose_monitor(prepared, log)
        return _train(prepared, run, watched, log, resume=resume)


def refuse_several_processes() -> None:
    """Raise SettingsError where a launcher started several processes: each would train the run."""
    count = started_with()
    if count > 1:
        raise SettingsError(
            f"this is one of {count} processes (WORLD_SIZE), and a run trains in one: start it "
            "without torchrun, or with WORLD_SIZE unset where the processes train runs of their own"
        )


def _train(
    prepared: Prepared,
    run: RunDir,
    watched: tuple[str, Literal["min", "max"]],
    log: Log,
    *,
    resume: bool | Literal["previous"],
) -> Run:
    options, path = prepared.settings.train, run.path
    train_loader = loader_for(prepared, prepared.train, training=True)
    train_loader.warn = log.warn
    val_loader = metric = None
    monitor, mode = watched
    if prepared.val is not None:
        val_loader = loader_for(prepared, prepared.val, training=False)
        metric = prepared.task.metric(prepared.val, prepared.preprocess)
    stopping = None
    if options.patience:
        stopping = EarlyStopping(
            monitor,
            mode=mode,
            patience=options.patience,
            min_delta=options.min_delta,
            start_epoch=options.start_epoch,
        )
    history = fit(
        step_for(prepared, len(train_loader), mode),
        train_loader,
        val_loader=val_loader,
        epochs=options.epochs,
        metric=metric,
        out=run,
        resume=resume,
        early_stopping=stopping,
        monitor=monitor,
        mode=mode,
        log=log,
    )
    if history.stopped == "interrupted":
        log.line(f"continue with: sightline train resume={path}")
        return Run(path, history, None)
    evaluation = None
    if prepared.val is not None:
        predictor = load(path, device=prepared.device)
        evaluation = evaluate_predictor(predictor, prepared.val, prepared.settings.data.batch_size)
        write_evaluation(path, evaluation, prepared.val, weights="best")
    return Run(path, history, evaluation)


def step_for(
    prepared: Prepared, steps_per_epoch: int, mode: Literal["min", "max"]
) -> SupervisedStep:
    """The step for the settings, with the terms of the task."""
    model, chosen, options = prepared.model, prepared.settings.optimizer, prepared.settings.train
    optimizer = make_optimizer(
        model,
        chosen.name,
        lr=chosen.lr,
        weight_decay=chosen.weight_decay,
        momentum=chosen.momentum,
    )
    return SupervisedStep(
        model,
        optimizer,
        terms=prepared.task.terms,
        schedule=schedule_for(prepared, optimizer, steps_per_epoch, mode),
        ema=EMA(model, decay=options.ema_decay) if options.ema_decay else None,
        clip_norm=chosen.clip_norm,
        amp=options.amp,
        seed=options.seed,
    )


def schedule_for(
    prepared: Prepared, optimizer: Optimizer, steps_per_epoch: int, mode: Literal["min", "max"]
) -> Schedule:
    """The schedule for the settings; `mode` is that of the monitored column."""
    chosen = prepared.settings.optimizer
    return make_schedule(
        optimizer,
        chosen.schedule,
        epochs=prepared.settings.train.epochs,
        steps_per_epoch=steps_per_epoch,
        warmup_epochs=chosen.warmup_epochs,
        gamma=chosen.gamma,
        step_epochs=chosen.step_epochs,
        milestones=chosen.milestones,
        final_factor=chosen.final_factor,
        initial_factor=chosen.initial_factor,
        peak=chosen.peak,
        patience=chosen.plateau_patience,
        mode=mode,
    )


def loader_for(prepared: Prepared, annotations: Annotations, *, training: bool) -> Loader:
    """A loader for one split; only training is shuffled and augmented."""
    data, augment = prepared.settings.data, prepared.settings.augment
    copies = math.prod(augment.copies(mirror=annotations.mirror_safe)) if training else 1
    count = len(annotations) * copies
    return make_loader(
        annotations,
        prepared.preprocess,
        batch_size=data.batch_size,
        shuffle=training,
        augment=augment if training and augment != Augment.none() else None,
        seed=prepared.settings.train.seed,
        workers=data.workers,
        prefetch=data.prefetch,
        pin_memory=prepared.device.type == "cuda",
        # A last batch of one image may have no variance for batch norm.
        drop_last=training and count % data.batch_size == 1 < count,
        cache=data.cache,
        cache_bytes=data.cache_mb << 20,
        cache_dir=data.cache_dir,
        keep_crowd=False,  # one box for many objects is neither trained nor evaluated on
        replace_unreadable=training and data.on_bad_label != "error",
    )


def evaluate_predictor(
    predictor: Predictor, annotations: Annotations, batch_size: int = 16
) -> Evaluation:
    """All metrics of a trained model on a data set, whose classes are matched by name.

    Raises:
        ValueError: another task, or objects of classes that the model does not know.
    """
    task = TASKS[predictor.task]
    if not task.accepts(annotations):
        raise ValueError(
            f"the model is for {task.name}, the labels of {annotations.source} are for "
            f"{default_task(annotations).name}"
        )
    annotations = with_classes(annotations, predictor.class_names)
    metric = task.metric(annotations, predictor.preprocess)
    loader = make_loader(
        annotations, predictor.preprocess, batch_size=batch_size, shuffle=False, cache_bytes=0
    )
    evaluate(predictor.model, loader, metric=metric, losses=False)
    return metric.evaluation()


def write_evaluation(
    folder: Path, evaluation: Evaluation, annotations: Annotations, *, weights: str
) -> None:
    """Write evaluation.json and predictions.json of a data set into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(
        folder / "evaluation.json",
        {
            "data": annotations.source,
            "split": annotations.split,
            "weights": weights,
            **evaluation.to_dict(),
        },
    )
    write_json(folder / "predictions.json", evaluation.predictions)
