"""One loop for every task, and the small objects it is built from."""

from sightline.train.checkpoint import load_state, load_weights, save_state, save_weights
from sightline.train.early_stopping import EarlyStopping
from sightline.train.ema import EMA
from sightline.train.evaluate import Evaluator, evaluate
from sightline.train.fit import fit
from sightline.train.history import History, read_results
from sightline.train.log import Log
from sightline.train.optimizer import OPTIMIZERS, make_optimizer
from sightline.train.run_dir import RunDir, new_run_dir
from sightline.train.schedule import SCHEDULES, Schedule, make_schedule

__all__ = [
    "EMA",
    "OPTIMIZERS",
    "SCHEDULES",
    "EarlyStopping",
    "Evaluator",
    "History",
    "Log",
    "RunDir",
    "Schedule",
    "evaluate",
    "fit",
    "load_state",
    "load_weights",
    "make_optimizer",
    "make_schedule",
    "new_run_dir",
    "read_results",
    "save_state",
    "save_weights",
]
