"""Where the inputs of a benchmark are: on a device of torch, or in NumPy arrays."""

try:
    import torch
except (ImportError, OSError):  # then only arrays are timed
    torch = None  # type: ignore[assignment]

ARRAYS = "arrays"  # in place of "cpu" or "cuda"
