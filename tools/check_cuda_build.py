"""Loads a build with CUDA kernels from a folder and runs each kind of binding: on a CPU torch, too.

python tools/check_cuda_build.py build/cuda/site
"""

import sys
from pathlib import Path


def main() -> None:
    site = Path(sys.argv[1]).resolve()
    # An editable install of the same package would be found first.
    sys.meta_path = [
        finder for finder in sys.meta_path if "Redirecting" not in type(finder).__name__
    ]
    sys.path.insert(0, str(site))

    import numpy as np
    import torch

    import sightline
    from sightline import _load, ops

    if site not in Path(str(sightline.__file__)).resolve().parents:
        raise SystemExit(f"loaded {sightline.__file__}, not the build in {site}")
    if not _load.cuda_architectures:
        raise SystemExit(f"the build in {site} has no CUDA kernels")
    boxes = np.array([[0.0, 0, 2, 2], [1, 0, 3, 2]])
    expected = [[1, 2 / 6], [2 / 6, 1]]
    if ops.box_iou(boxes, boxes).tolist() != expected:
        raise SystemExit("box_iou on arrays is wrong")
    if ops.box_iou(torch.from_numpy(boxes), torch.from_numpy(boxes)).tolist() != expected:
        raise SystemExit("box_iou on tensors is wrong")
    registered = torch._C._dispatch_has_kernel_for_dispatch_key("sightline::box_iou", "CUDA")
    if not registered:
        raise SystemExit("box_iou has no CUDA kernel registered")
    print(f"torch {torch.__version__}: CUDA kernels for {_load.cuda_architectures} loaded")


if __name__ == "__main__":
    main()
