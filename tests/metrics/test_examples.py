"""The examples in the docstrings and in the documentation run."""

import doctest
import re
from pathlib import Path

import pytest

from sightline.metrics import classification
from sightline.metrics.coco import evaluate
from sightline.metrics.detection import confidence, confusion, evaluator, results, weighted_ap
from sightline.metrics.shapes import keypoints, masks

MODULES = (
    *(classification, evaluate, confidence, evaluator),
    *(confusion, results, keypoints, masks, weighted_ap),
)


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


PAGE = Path(__file__).parents[2] / "docs" / "metrics" / "analysis.md"
BLOCKS = re.findall(r"```pycon\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_examples_of_the_page_on_analysis_run():
    parser, runner, names = doctest.DocTestParser(), doctest.DocTestRunner(), {}
    for number, block in enumerate(BLOCKS):
        examples = parser.get_doctest(block, names, f"block {number}", str(PAGE), 0)
        runner.run(examples, clear_globs=False)
        names.update(examples.globs)
    assert runner.summarize().failed == 0 and runner.tries > 15
