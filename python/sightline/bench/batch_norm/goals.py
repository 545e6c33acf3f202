"""What ours is held to."""

from ..outcome import LIMIT, THREADS
from .benchmark import COMPILE, DTYPES, EAGER, KEPT, LayerBenchmark

_LARGE = 200e6  # bytes from which a GPU's copy bandwidth is what counts


def goals(layer: LayerBenchmark, device: str, threads: int, *, on_chip: bool) -> dict[str, float]:
    """By how much the times of peers, or of one thread, are to be longer; the share of the limit;
    and how much more than ours eager torch keeps."""
    if layer.program != "step":
        return {}
    speed = _on_cuda(layer, on_chip) if device == "cuda" else _on_cpu(layer, threads)
    return speed | _memory(layer)


def _on_cpu(layer: LayerBenchmark, threads: int) -> dict[str, float]:
    if (layer.dtype, layer.activation) != ("float32", "relu") or threads > 2:
        return {}
    if threads == 2:
        return {THREADS: 1.7}
    if layer.layout == "channels_last":
        return {EAGER: 3}
    return {EAGER: 5} if layer.residual else {EAGER: 4, COMPILE: 2, LIMIT: 0.7}


def _on_cuda(layer: LayerBenchmark, on_chip: bool) -> dict[str, float]:
    if layer.layout != "channels_last" or layer.dtype == "float32":
        return {}
    large = {LIMIT: 0.85} if layer.size > _LARGE else {}
    return {EAGER: 2 if on_chip else 1.4, COMPILE: 0.97} | large


def _memory(layer: LayerBenchmark) -> dict[str, float]:
    """x in place of x and another tensor as large; with a residual, x and one bit per element."""
    if layer.activation == "silu" and not layer.residual:
        return {KEPT: 2}
    if layer.activation == "relu" and layer.residual:
        return {KEPT: round(2 / (1 + 1 / (8 * DTYPES[layer.dtype].itemsize)), 1)}
    return {}
