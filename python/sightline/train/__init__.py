"""The training loop for every task, and the small objects that it uses."""

import importlib
from typing import TYPE_CHECKING, Any

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.train needs torch: pip install 'sightline[train]'") from error

from sightline.optim.ema import EMA
from sightline.optim.make import OPTIMIZERS, make_optimizer
from sightline.optim.schedule import SCHEDULES, Schedule, make_schedule
from sightline.tasks import Classification, Detections
from sightline.train.adversarial_step import AdversarialStep, Player
from sightline.train.batches import Batch
from sightline.train.checkpoint import load_state, load_weights, save_state, save_weights
from sightline.train.closure_step import ClosureStep
from sightline.train.early_stopping import EarlyStopping
from sightline.train.evaluate import evaluate
from sightline.train.fit import fit
from sightline.train.history import History, read_results
from sightline.train.log import Log
from sightline.train.metric import Metric
from sightline.train.run_dir import RunDir, new_run_dir
from sightline.train.step import Progress, Step, SupervisedStep
from sightline.train.terms import call_with_targets

Evaluator = Metric  # the earlier name

if TYPE_CHECKING:
    from sightline.train.predictor import load
    from sightline.train.session import resume_run, train_from_settings

# These need the models, and so the native ops; the loop itself trains any model without either.
_NEED_MODELS = {
    "load": "predictor",
    "resume_run": "session",
    "train_from_settings": "session",
}


def __getattr__(name: str) -> Any:
    if name in _NEED_MODELS:
        return getattr(importlib.import_module(f"{__name__}.{_NEED_MODELS[name]}"), name)
    raise AttributeError(f"module 'sightline.train' has no attribute {name!r}")


__all__ = [
    "EMA",
    "OPTIMIZERS",
    "SCHEDULES",
    "AdversarialStep",
    "Batch",
    "Classification",
    "ClosureStep",
    "Detections",
    "EarlyStopping",
    "Evaluator",
    "History",
    "Log",
    "Metric",
    "Player",
    "Progress",
    "RunDir",
    "Schedule",
    "Step",
    "SupervisedStep",
    "call_with_targets",
    "evaluate",
    "fit",
    "load",
    "load_state",
    "load_weights",
    "make_optimizer",
    "make_schedule",
    "new_run_dir",
    "read_results",
    "resume_run",
    "save_state",
    "save_weights",
    "train_from_settings",
]
