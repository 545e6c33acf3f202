"""The number and rank of processes started by torchrun or joined by torch.distributed."""

import os

import torch.distributed as distributed

__all__ = ["group_rank", "group_size", "started_with"]


def group_size() -> int:
    """The number of processes in torch.distributed; 1 where it was not initialised."""
    return distributed.get_world_size() if _initialised() else 1


def group_rank() -> int:
    """The rank of this process, from 0."""
    return distributed.get_rank() if _initialised() else 0


def started_with() -> int:
    """The number of processes, from torch.distributed or a launcher's variable WORLD_SIZE."""
    world = os.environ.get("WORLD_SIZE", "1")
    return max(group_size(), int(world) if world.isdecimal() else 1)


def _initialised() -> bool:
    return distributed.is_available() and distributed.is_initialized()
