"""Which of several processes this one is, where torchrun or torch.distributed started several."""

import os

import torch.distributed as distributed

__all__ = ["group_rank", "group_size", "started_with"]


def group_size() -> int:
    """Processes that torch.distributed has joined; 1 where it was not initialised."""
    return distributed.get_world_size() if _initialised() else 1


def group_rank() -> int:
    """The number of this process among them, from 0."""
    return distributed.get_rank() if _initialised() else 0


def started_with() -> int:
    """Processes in all, as torch.distributed or the variable WORLD_SIZE of a launcher says."""
    world = os.environ.get("WORLD_SIZE", "1")
    return max(group_size(), int(world) if world.isdecimal() else 1)


def _initialised() -> bool:
    return distributed.is_available() and distributed.is_initialized()
