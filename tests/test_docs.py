"""What README and documentation show runs as it stands, and what they name exists."""

import ast
import contextlib
import importlib.util
import json
import os
import re
import shlex
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sightline.cli import VERBS, main

from .cli.no_work import Taken, stop_before_work

ROOT = Path(__file__).parents[1]
PAGES = {
    str(path.relative_to(ROOT)): path.read_text()
    for path in (
        ROOT / "README.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "csrc" / "README.md",
        ROOT / "benchmarks" / "README.md",
        *sorted((ROOT / "docs").rglob("*.md")),
    )
}
FENCED = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
COMMAND = re.compile(r"^(?: {4}|\$ )(sightline [^\n]*)|`(sightline(?: [^`\n]+)?)`", re.MULTILINE)


def blocks_of(page):
    """Code of the Python blocks of a page, on the lines on which it stands there."""
    text = PAGES[page]
    found = [match for match in FENCED.finditer(text) if match[1] == "python"]
    return ["\n" * text.count("\n", 0, match.start(2)) + match[2] for match in found]


BLOCKS = [(page, number) for page in PAGES for number in range(len(blocks_of(page)))]
# Names and number of blocks that have run, of each page: a page's blocks share their names.
NAMESPACES: dict[str, tuple[dict, int]] = {}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where examples run: with the files that they name."""
    folder = tmp_path_factory.mktemp("docs")
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3)).astype(np.uint8)
    Image.fromarray(picture).save(folder / "picture.jpg")
    box = {"image_id": 1, "category_id": 1, "bbox": [5, 5, 20, 20]}
    truth = {
        "images": [{"id": 1, "file_name": "picture.jpg", "width": 64, "height": 48}],
        "categories": [{"id": 1, "name": "cat"}],
        "annotations": [{**box, "id": 1, "iscrowd": 0, "area": 400}],
    }
    (folder / "instances_val2017.json").write_text(json.dumps(truth))
    (folder / "detections.json").write_text(json.dumps([{**box, "score": 0.9}]))
    return folder


class StandInWriter:
    """TensorBoard's writer, where that is not installed."""

    def __init__(self, log_dir=None):
        self.scalars = []

    def add_scalar(self, tag, scalar_value, global_step=None):
        self.scalars.append((tag, float(scalar_value), int(global_step)))

    def close(self):
        assert self.scalars


@pytest.fixture
def place(folder, monkeypatch):
    """The folder, as one process of torchrun would see it; what examples install is taken away."""
    monkeypatch.chdir(folder)
    alone = {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29561"}
    for name, value in alone.items():
        monkeypatch.setenv(name, value)
    if importlib.util.find_spec("tensorboard") is None:
        board = types.ModuleType("torch.utils.tensorboard")
        board.SummaryWriter = StandInWriter
        monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", board)
    before = {name: module for name, module in sys.modules.items() if "pycocotools" in name}
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "pycocotools"]:
        if name not in before:
            del sys.modules[name]
    sys.modules.update(before)
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_initialized():
        distributed.destroy_process_group()


def missing_packages(code):
    """Packages that a block imports and that are not installed."""
    names = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).split(".")[0])
    return sorted(name for name in names if importlib.util.find_spec(name) is None)


@pytest.mark.parametrize(("page", "number"), BLOCKS)
def test_an_example_runs(page, number, place, capsys):
    blocks = blocks_of(page)
    names, done = NAMESPACES.get(page, ({}, 0))
    for block in range(done, number + 1):
        absent = [] if "install_as" in blocks[block] else missing_packages(blocks[block])
        NAMESPACES[page] = names, block + 1
        if absent and block == number:
            pytest.skip(f"needs {', '.join(absent)}")
        if not absent:
            exec(compile(blocks[block], page, "exec"), names)


def test_there_are_examples_of_the_main_things():
    assert len(BLOCKS) > 30 and sum(page == "README.md" for page, _ in BLOCKS) >= 4


@pytest.mark.parametrize("page", PAGES)
def test_every_fenced_block_is_of_a_kind_that_a_test_runs(page):
    # "pycon" of docs/metrics/analysis.md runs in tests/metrics/test_examples.py.
    kinds = {match[1] for match in FENCED.finditer(PAGES[page])}
    assert kinds <= ({"python", "pycon"} if page.endswith("analysis.md") else {"python"})


def commands_of(page):
    found = (first or second for first, second in COMMAND.findall(PAGES[page]))
    return sorted({re.split(r"\s+#|\s{2,}", command)[0].strip() for command in found})


COMMANDS = sorted({command for page in PAGES for command in commands_of(page)})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_docs_is_understood(command, monkeypatch, tmp_path, capsys):
    stop_before_work(monkeypatch)
    monkeypatch.chdir(tmp_path)
    words = shlex.split(command)[1:]
    if len(words) < 2 and not command.endswith("info"):
        assert not words or words[0] in VERBS  # a verb that is only named
        return
    with contextlib.suppress(Taken):
        assert main(words) == 0


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_docs_names_no_path_outside_the_project(command):
    assert "../" not in command


def test_commands_of_the_docs_are_found():
    assert "sightline eval <run> split=test" in COMMANDS and len(COMMANDS) > 15


@pytest.mark.parametrize("page", PAGES)
def test_what_a_page_links_to_exists(page):
    for target in re.findall(r"\]\(([^)]+)\)", PAGES[page]):
        if "://" not in target and not target.startswith("#"):
            assert (ROOT / page).parent.joinpath(target.split("#")[0]).exists(), target


@pytest.mark.parametrize("page", PAGES)
def test_a_target_of_make_that_a_page_names_exists(page):
    makefile = (ROOT / "Makefile").read_text()
    named = re.findall(r"^ {4}make ([a-z-]+)|`make ([a-z-]+)", PAGES[page], re.MULTILINE)
    for target in filter(None, (name for pair in named for name in pair)):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


def test_every_page_of_the_docs_can_be_found_from_the_readme():
    reached, left = set(), ["README.md"]
    while left:
        page = left.pop()
        if page in reached or page not in PAGES:
            continue
        reached.add(page)
        folder = os.path.dirname(page)
        targets = re.findall(r"\]\(([^)#]+\.md)", PAGES[page])
        left += [os.path.normpath(os.path.join(folder, target)) for target in targets]
    assert set(PAGES) <= reached
