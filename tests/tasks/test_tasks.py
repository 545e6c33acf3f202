"""What a task is to the rest of the package: one entry of TASKS, and no name written elsewhere."""

from pathlib import Path

import numpy as np
import pytest

import sightline
from sightline.cli import main, train
from sightline.cli.eval import evaluation_table
from sightline.data import Annotations, LabelType
from sightline.losses import Terms
from sightline.settings.groups import SettingsError
from sightline.settings.read import override_layer
from sightline.tasks import TASKS, Evaluation, default_task
from sightline.tasks.classify import Classify
from sightline.train.log import Log
from sightline.train.prepare import prepare
from sightline.train.session import train_from_settings

from ..tiny import write_colours
from ..trained import QUICK

PACKAGE = Path(sightline.__file__).parent


def test_no_module_outside_the_tasks_and_presets_names_one():
    named = [
        f"{path.relative_to(PACKAGE)}:{number}"
        for path in PACKAGE.rglob("*.py")
        if "tasks" not in path.parts and path.name != "presets.py"
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if any(f'"{task}"' in line for task in TASKS)
    ]
    assert not named


def test_a_task_bears_its_name_and_accepts_the_labels_it_is_the_default_of():
    for label_type in LabelType:
        annotations = Annotations(label_type, ("a",), ())
        task = default_task(annotations)
        assert task.accepts(annotations) and TASKS[task.name] is task
    assert all(task.name == name for name, task in TASKS.items())


def test_an_evaluation_without_classes_is_a_table_of_its_metrics_alone():
    table = evaluation_table(Evaluation("reconstruct", (), {"error": 0.25, "images": 4}))
    assert table == "  error            0.2500"


def test_labels_without_a_task_are_named(monkeypatch):
    monkeypatch.delitem(TASKS, "detect")
    with pytest.raises(ValueError, match="on the labels of scenes, whose type is boxes"):
        default_task(Annotations("boxes", ("a",), (), source="scenes"))


def test_the_help_of_train_lists_the_tasks():
    assert train.__doc__ is not None
    assert f"task=<name>          one of {', '.join(TASKS)};" in train.__doc__


def test_one_entry_makes_a_task_that_trains_evaluates_and_predicts(tmp_path, monkeypatch):
    class Sort(Classify):
        name, title = "sort", "Sorter"

        def terms(self, model, inputs, targets, generator=None):
            found, outputs = super().terms(model, inputs, targets, generator)
            return Terms(found.losses, {"sorted": len(inputs)}), outputs

    monkeypatch.setitem(TASKS, "sort", Sort())
    data = write_colours(tmp_path / "data")
    layer = override_layer({"data": str(data), **QUICK["classify"], "epochs": 1, "task": "sort"})
    run = train_from_settings([layer], log=Log(quiet=True), out=tmp_path / "run")
    assert run.evaluation.task == "sort" and run.history.monitor == "val/accuracy"
    assert run.history.rows[0]["train/sorted"] == 4, "terms are those of the task"
    predictor = sightline.load(run.path)
    assert predictor.task == "sort"
    assert predictor.predict(np.zeros((8, 8, 3), np.uint8)).name in ("green", "red")
    assert main(["eval", str(run.path), f"out={tmp_path / 'eval'}"]) == 0
    for task, message in (
        ("detect", r"train.task is detect, but the labels of .* are for classify"),
        ("srot", r"train.task must be one of classify, detect, sort, got 'srot'; .* mean sort"),
    ):
        with pytest.raises(SettingsError, match=message):
            prepare([layer, override_layer({"task": task})], log=Log(quiet=True))
