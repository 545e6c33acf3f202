"""Fixtures of the op tests."""

import os

import pytest
import torch

from sightline import _load


@pytest.fixture
def cuda() -> torch.device:
    """A GPU that this build has kernels for.

    Tests skip without one, and fail where SIGHTLINE_TEST_CUDA=1 promises it.
    """
    if not (torch.cuda.is_available() and _load.cuda_architectures):
        if os.environ.get("SIGHTLINE_TEST_CUDA") == "1":
            pytest.fail("SIGHTLINE_TEST_CUDA=1, but torch sees no GPU or this build has no kernels")
        pytest.skip("no GPU, or a build without CUDA kernels")
    return torch.device("cuda")
