"""Creates tensors for tests of ops, and compares results, which may be arrays or tensors."""

import numpy as np
import torch


def tensors(*arrays):
    return [torch.from_numpy(array.copy()) for array in arrays]


def assert_same(got, expected):
    """Equal values, dtype and shape; `expected` is an array, or a list or tuple of several."""
    if isinstance(expected, list | tuple):
        for part, wanted in zip(got, expected, strict=True):
            assert_same(part, wanted)
        return
    got = got.detach().cpu().numpy() if isinstance(got, torch.Tensor) else got
    assert got.dtype == expected.dtype and got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)
