"""The examples in the docstrings run."""

import doctest

import pytest

from sightline.metrics import confidence, detection, detection_confusion, detection_results


@pytest.mark.parametrize("module", [confidence, detection, detection_confusion, detection_results])
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0
