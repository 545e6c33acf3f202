"""What the README shows runs as it stands."""

import re
from pathlib import Path

import pytest

README = (Path(__file__).parents[1] / "README.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def test_readme_shows_code():
    assert len(BLOCKS) >= 4


@pytest.mark.parametrize("code", BLOCKS, ids=[f"block{i}" for i in range(len(BLOCKS))])
def test_code_of_the_readme_runs(code, capsys):
    exec(compile(code, "README.md", "exec"), {})


def test_files_that_the_readme_names_exist():
    for target in re.findall(r"\]\(([^)]+)\)", README):
        if "://" not in target:
            assert (Path(__file__).parents[1] / target).exists(), target
