"""Optimizers by name, learning-rate schedules and averaged weights."""

try:
    import torch  # noqa: F401
except ModuleNotFoundError as error:
    raise ImportError("sightline.optim needs torch: pip install 'sightline[torch]'") from error

from sightline.optim.ema import EMA
from sightline.optim.make import OPTIMIZERS, make_optimizer, parameter_groups
from sightline.optim.schedule import SCHEDULES, Schedule, make_schedule

__all__ = [
    "EMA",
    "OPTIMIZERS",
    "SCHEDULES",
    "Schedule",
    "make_optimizer",
    "make_schedule",
    "parameter_groups",
]
