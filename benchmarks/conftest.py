"""Every benchmark checks that the contenders agree before it times them, and runs on one thread."""

import numpy as np
import pytest
import torch

from sightline import _numpy


@pytest.fixture(autouse=True)
def one_thread():
    torch_threads, threads = torch.get_num_threads(), _numpy.get_num_threads()
    torch.set_num_threads(1)
    _numpy.set_num_threads(1)
    yield
    torch.set_num_threads(torch_threads)
    _numpy.set_num_threads(threads)


@pytest.fixture
def random_boxes():
    """Makes [n, 4] float32 xyxy boxes with corners in 1,280 pixels and sides of 1 to 160."""

    def make(n: int, seed: int = 0) -> np.ndarray:
        rng = np.random.default_rng(seed)
        corner = rng.uniform(0, 1280, (n, 2))
        return np.concatenate([corner, corner + rng.uniform(1, 160, (n, 2))], 1).astype(np.float32)

    return make
