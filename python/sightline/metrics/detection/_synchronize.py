"""Gathers one message from every process; torch is imported only when this is called."""

from typing import Any

import numpy as np

_FAILED = -1


def in_one_process() -> bool:
    """Whether there is no process group, as where a script runs without torchrun or torch."""
    try:
        import torch.distributed as dist
    except (ImportError, OSError):  # not installed, or its libraries do not load
        return True
    return not (dist.is_available() and dist.is_initialized())


def gather_messages(
    message: bytes | None, agreed: str, group: Any, dst: int | None
) -> list[bytes] | None:
    """The messages of all ranks, in the order of ranks; None on ranks other than `dst`.

    There are always two collectives: the sizes, then the bytes, padded to the longest message.
    After the first one, every rank knows of an error on any rank and raises too.

    Args:
        message: the message of this rank; None where it failed to create one.
        agreed: text that has to be the same on all ranks.

    Raises:
        RuntimeError: a rank has no message.
        ValueError: `agreed` differs.
    """
    import torch
    import torch.distributed as dist

    device = torch.device("cpu")
    if dist.get_backend(group) == "nccl":
        device = torch.device("cuda", torch.cuda.current_device())
    ranks = dist.get_world_size(group)

    import hashlib  # loads OpenSSL, for which evaluations in one process need not wait

    digest = hashlib.sha256(agreed.encode()).digest()[:8]
    size = _FAILED if message is None else len(message)
    mine = torch.tensor([size, int.from_bytes(digest, "little", signed=True)], device=device)
    table = torch.empty(ranks, 2, dtype=torch.int64, device=device)
    dist.all_gather(list(table), mine, group=group)
    sizes, digests = table.cpu().T.tolist()
    _check(sizes, digests, agreed)
    assert message is not None

    padded = torch.zeros(max(sizes), dtype=torch.uint8)
    padded[: len(message)] = torch.frombuffer(bytearray(message), dtype=torch.uint8)
    padded = padded.to(device)
    if dst is None or dst == dist.get_rank():
        parts = torch.empty(ranks, max(sizes), dtype=torch.uint8, device=device)
    if dst is None:
        dist.all_gather(list(parts), padded, group=group)
    elif dst == dist.get_rank():
        dist.gather(padded, list(parts), dst=dst, group=group)
    else:
        dist.gather(padded, None, dst=dst, group=group)
        return None
    rows: np.ndarray = parts.cpu().numpy()
    return [row[:size].tobytes() for row, size in zip(rows, sizes)]


def _check(sizes: list[int], digests: list[int], agreed: str) -> None:
    failed = [rank for rank, size in enumerate(sizes) if size == _FAILED]
    if failed:
        raise RuntimeError(f"ranks {failed} could not give their images; see their errors")
    others = [rank for rank, digest in enumerate(digests) if digest != digests[0]]
    if others:
        raise ValueError(
            f"evaluators must have the same settings on all ranks; those of ranks {others} "
            f"differ from rank 0's. Here they are {agreed}"
        )
