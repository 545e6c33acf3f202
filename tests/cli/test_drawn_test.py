"""A test split that training puts aside is the one that `sightline eval` evaluates."""

import json
import shutil

import pytest

from sightline._files import read_json
from sightline.cli import main
from sightline.data import read_dataset

from ..tiny import write_colours
from ..trained import train_quickly


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("drawn")
    data = write_colours(folder / "data", count=10)
    changes = {"data.test_share": 0.2, "data.split_seed": 3, "epochs": 1}
    return data, train_quickly(data, "classify", out=folder / "run", **changes).path


def test_what_is_put_aside_is_noted_and_not_trained_on(run):
    path = run[1]
    noted = read_json(path / "data.json")
    assert [len(noted[split]["pictures"]) for split in ("train", "val", "test")] == [13, 3, 4]
    names = {split: {p["name"] for p in part["pictures"]} for split, part in noted.items()}
    assert not names["test"] & (names["train"] | names["val"])


def test_eval_evaluates_exactly_the_pictures_that_were_put_aside(run, tmp_path, capsys):
    data, path = run
    assert main(["eval", str(path), "split=test", f"out={tmp_path / 'out'}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    wanted = read_dataset(data, split="test", test_share=0.2, seed=3)
    found = read_json(tmp_path / "out" / "predictions.json")
    assert [row["image_id"] for row in found] == [record.image_id for record in wanted.records]


def test_eval_refuses_a_test_split_that_is_another_one(run, tmp_path, capsys):
    data, path = run
    other = shutil.copytree(data, tmp_path / "other")
    words = ["eval", str(path), "split=test", f"data={other}", f"out={tmp_path / 'out'}"]
    assert main(words) == 0  # a copy is the same
    for number in range(5):
        shutil.copy(other / "red" / "red0.png", other / "red" / f"new{number}.png")
    assert main(words) == 2
    error = capsys.readouterr().err
    assert "is not the one that" in error and "may have been trained on some of it" in error


def test_the_header_says_what_is_put_aside(run, tmp_path, capsys):
    data, _ = run
    words = ["epochs=1", "size=16", "model=resnet20", f"out={tmp_path}", "--quiet"]
    assert main(["train", f"data={data}", "test_share=0.2", *words[:-1]]) == 0
    assert "4 put aside as test images" in capsys.readouterr().out
