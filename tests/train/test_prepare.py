import io

import pytest

from sightline.settings.presets import PRESETS, preset_for
from sightline.settings.read import override_layer, resolve
from sightline.train.log import Log
from sightline.train.prepare import prepare
from sightline.train.session import loader_for

from ..tiny import write_squares


def test_blood_cells_need_nothing_but_their_folder(shared_data):
    text = io.StringIO()
    ready = prepare([override_layer({"data": str(shared_data / "bccd")})], log=Log(text))
    assert ready.task.name == "detect" and ready.train.class_names == ("Platelets", "RBC", "WBC")
    assert (len(ready.train), len(ready.val)) == (205, 87)
    assert ready.preprocess.size == (240, 320)
    # The set has two boxes of no area; each is named with its file, its rule and what was done.
    assert "box dropped" in text.getvalue() and ".xml" in text.getvalue()
    assert "xmin < xmax" in text.getvalue() or "ymin < ymax" in text.getvalue()
    everything = {"data": str(shared_data / "bccd"), "train_split": "trainval", "val_split": None}
    whole = prepare([override_layer(everything)], log=Log(quiet=True))
    assert len(whole.train) == 292 and whole.val is None


def test_what_a_person_sets_wins_over_preset_and_data(tmp_path):
    data = write_squares(tmp_path)
    asked = {"data": str(data), "size": 32, "flip_h": 0.0, "lr": 0.5}
    asked["model.options.anchors"] = [[[8, 8]], [[16, 16]]]
    ready = prepare([override_layer(asked)], log=Log(quiet=True))
    settings = ready.settings
    assert settings.data.size == (32, 32) and settings.optimizer.lr == 0.5
    assert settings.augment.flip_h == 0.0 and settings.origins["augment.flip_h"] == "cli"
    assert settings.model.options["anchors"] == [[[8, 8]], [[16, 16]]]
    assert settings.origins["train.epochs"] == "preset detect"
    assert settings.train.epochs == PRESETS["detect"]["train.epochs"]


def test_one_seed_gives_one_set_of_weights(tmp_path):
    data = write_squares(tmp_path)

    def weights(seed):
        asked = {"data": str(data), "seed": seed, "size": 32}
        model = prepare([override_layer(asked)], log=Log(quiet=True)).model
        return next(model.parameters()).detach()

    assert (weights(3) == weights(3)).all() and (weights(3) != weights(4)).any()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_holds_settings_that_exist(name):
    settings = resolve([override_layer(PRESETS[name], f"preset {name}")])
    assert settings.model.name and settings.train.epochs >= 1


def test_presets_of_a_task_leave_reading_alone():
    # The task is known only after reading, so these would come too late.
    reading = {"path", "format", "train_split", "val_split", "split_seed", "on_bad_label"}
    for task in ("detect", "classify"):
        assert not {f"data.{name}" for name in reading} & PRESETS[task].keys()


def test_a_preset_may_say_how_its_data_set_is_read(monkeypatch):
    few = {"data.scene_count": 3, "data.size": (64, 64)}
    monkeypatch.setitem(PRESETS, "digit-scenes", {**PRESETS["digit-scenes"], **few})
    layer = override_layer({"data": "digit-scenes", "val_split": None})
    assert len(prepare([layer], log=Log(quiet=True)).train) == 3


def test_a_preset_is_found_by_data_set_and_then_by_task():
    assert preset_for("digits", "classify") == "digits"
    assert preset_for("/some/folder", "detect") == "detect"


def test_a_level_multiplies_the_steps_of_training_alone(tmp_path):
    data = write_squares(tmp_path)

    def steps(**asked):
        asked = {"data": str(data), "size": 32, "batch_size": 4, **asked}
        ready = prepare([override_layer(asked)], log=Log(quiet=True))
        train = loader_for(ready, ready.train, training=True)
        return len(train.dataset), len(train), len(loader_for(ready, ready.val, training=False))

    images, _, val_steps = steps()
    assert steps(level=3) == (8 * images, -(-8 * images // 4), val_steps)
    # A last batch of one image is left out.
    assert steps(level=1, batch_size=2 * images - 1)[1] == 1
