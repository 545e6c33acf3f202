"""Import this before using `torch.ops.sightline`: it loads torch's libraries, then ours."""

import importlib
import importlib.util

try:
    import torch
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        "sightline ops on tensors need torch: pip install 'sightline[torch]'"
    ) from error

if importlib.util.find_spec("sightline._torch") is None:
    raise ImportError(
        f"sightline was built without its torch ops, but torch {torch.__version__} is installed: "
        "rebuild with `pip install --no-build-isolation --force-reinstall --no-deps sightline`"
    )

# GPU architectures that the CUDA kernels were built for, "" without any. Loading registers the ops.
cuda_architectures: str = importlib.import_module("sightline._torch").cuda_architectures
ops = torch.ops.sightline
