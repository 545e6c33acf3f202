"""The goals of our batch norm."""

from ..outcome import LIMIT, THREADS
from .benchmark import COMPILE, DTYPES, EAGER, KEPT, LayerBenchmark

_LARGE = 200e6  # bytes above which the copy bandwidth of a GPU is the limit


def goals(layer: LayerBenchmark, device: str, threads: int, *, on_chip: bool) -> dict[str, float]:
    """Ratios: time of a peer or of one thread to ours, limit to our time, and what eager torch
    keeps for the backward pass to what ours keeps."""
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
    """Ours keeps x, not two tensors of its size; with a residual, x and one bit per element."""
    if layer.activation == "silu" and not layer.residual:
        return {KEPT: 2}
    if layer.activation == "relu" and layer.residual:
        return {KEPT: round(2 / (1 + 1 / (8 * DTYPES[layer.dtype].itemsize)), 1)}
    return {}
