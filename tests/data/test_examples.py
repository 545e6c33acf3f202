"""The examples in the docstrings run."""

import doctest

import pytest

from sightline.data import digits, preprocess, splits


@pytest.mark.parametrize("module", [digits, preprocess, splits])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
