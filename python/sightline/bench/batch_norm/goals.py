"""What ours is held to."""

from .contenders import COMPILE, EAGER
from .work import DTYPES, Work

# By how much the times of others, or of one thread, are to be longer; the share of the limit; and
# how many times what ours keeps for the backward pass eager torch keeps.
THREADS, LIMIT, KEPT = "threads", "limit", "kept"
_LARGE = 200e6  # bytes from which a GPU's copy bandwidth is what counts


def goals(work: Work, device: str, threads: int, *, on_chip: bool) -> dict[str, float]:
    if work.program != "step":
        return {}
    speed = _on_cuda(work, on_chip) if device == "cuda" else _on_cpu(work, threads)
    return speed | _memory(work)


def _on_cpu(work: Work, threads: int) -> dict[str, float]:
    if (work.dtype, work.activation) != ("float32", "relu") or threads > 2:
        return {}
    if threads == 2:
        return {THREADS: 1.7}
    if work.layout == "channels_last":
        return {EAGER: 3}
    return {EAGER: 5} if work.residual else {EAGER: 4, COMPILE: 2, LIMIT: 0.7}


def _on_cuda(work: Work, on_chip: bool) -> dict[str, float]:
    if work.layout != "channels_last" or work.dtype == "float32":
        return {}
    large = {LIMIT: 0.85} if work.size > _LARGE else {}
    return {EAGER: 2 if on_chip else 1.4, COMPILE: 0.97} | large


def _memory(work: Work) -> dict[str, float]:
    """x in place of x and another tensor as large; with a residual, x and one bit per element."""
    if work.activation == "silu" and not work.residual:
        return {KEPT: 2}
    if work.activation == "relu" and work.residual:
        return {KEPT: round(2 / (1 + 1 / (8 * DTYPES[work.dtype].itemsize)), 1)}
    return {}
