"""The examples in the docstrings and in the documentation run."""

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

import sightline.metrics

FOLDER = Path(sightline.metrics.__file__).parent
MODULES = [
    ".".join(("sightline.metrics", *path.relative_to(FOLDER).with_suffix("").parts))
    for path in sorted(FOLDER.rglob("*.py"))
    if ">>> " in path.read_text()
]


def test_the_main_modules_have_examples():
    assert len(MODULES) >= 10


@pytest.mark.parametrize("module", MODULES)
def test_examples_run(module):
    result = doctest.testmod(import_module(module))
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
