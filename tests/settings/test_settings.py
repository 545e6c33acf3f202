import dataclasses

import pytest

from sightline.settings.groups import (
    GROUP_VALUES,
    GROUPS,
    Settings,
    SettingsError,
    setting_names,
)
from sightline.settings.read import (
    config_layer,
    fill,
    full_key,
    override_layer,
    resolve,
    to_yaml,
    write_config,
)


def resolved(*words):
    return resolve([override_layer(words)])


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("data", "data.path"),
        ("model", "model.name"),
        ("optimizer", "optimizer.name"),
        ("epochs", "train.epochs"),
        ("batch-size", "data.batch_size"),
        ("optimizer.lr", "optimizer.lr"),
        ("flip_h", "augment.flip_h"),
        ("name", "train.name"),
        ("model.options.anchors", "model.options.anchors"),
    ],
)
def test_a_key_may_leave_out_its_group(typed, meant):
    assert full_key(typed) == meant


def test_no_setting_needs_its_group_to_be_understood():
    for name in setting_names():
        group, leaf = name.split(".", 1)
        short = group if GROUP_VALUES.get(group) == leaf else leaf
        assert full_key(short) == name


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("epoch", r"unknown setting 'epoch'; did you mean epochs\?"),
        ("train.epoch", r"unknown setting 'train.epoch'; did you mean train.epochs\?"),
        ("optimizer.learning_rate", r"unknown setting 'optimizer.learning_rate'"),
    ],
)
def test_an_unknown_key_is_named(typed, message):
    with pytest.raises(SettingsError, match=message):
        full_key(typed)


def test_values_take_the_type_of_their_setting():
    settings = resolved(
        "epochs=7",
        "lr=1e-3",
        "size=240x320",
        "deterministic=yes",
        "clip_norm=none",
        "milestones=[3, 5]",
        "val_split=None",
        "data=some/folder",
        "train.name=3",
    )
    assert settings.train.epochs == 7 and settings.optimizer.lr == 1e-3
    assert settings.data.size == (240, 320) and settings.train.deterministic is True
    assert settings.optimizer.clip_norm is None and settings.optimizer.milestones == (3, 5)
    assert settings.data.val_split is None and settings.data.path == "some/folder"
    assert settings.train.name == "3"
    assert resolved("size=128").data.size == (128, 128)


def test_model_options_are_free_and_merge():
    layers = [
        ("preset detect", {"model.options": {"width": 8, "depth": 2}}),
        override_layer(["model.options.depth=3", "model.options.rate=1e-3"]),
    ]
    assert resolve(layers).model.options == {"width": 8, "depth": 3, "rate": 1e-3}


def test_what_is_filled_in_gives_way_to_what_was_set_even_to_none():
    asked = resolved("epochs=7", "size=none", "model.options.depth=3")
    values = {"train.epochs": 9, "data.size": (8, 8), "optimizer.lr": "0.5"}
    options = {"model.options": {"depth": 2, "width": 8}}
    settings = fill(asked, "data", values | options)
    assert settings.train.epochs == 7 and settings.origins["train.epochs"] == "cli"
    assert settings.data.size is None
    assert settings.optimizer.lr == 0.5 and settings.origins["optimizer.lr"] == "data"
    assert settings.model.options == {"depth": 3, "width": 8}
    assert fill(settings, "later", {"optimizer.lr": 0.1}) == settings
    assert asked.optimizer.lr == resolve([]).optimizer.lr, "what was given is left as it is"


def test_a_value_that_cannot_be_filled_in_is_named():
    with pytest.raises(SettingsError, match=r"train.epochs must be at least 1, got 0"):
        fill(resolve([]), "data", {"train.epochs": 0})
    with pytest.raises(SettingsError, match=r"augment: `scale` must be \(low, high\)"):
        fill(resolve([]), "data", {"augment.scale": (2.0, 1.0)})


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("epochs=many", "train.epochs must be an integer, got 'many'"),
        ("epochs=2.5", "train.epochs must be an integer, got '2.5'"),
        ("epochs=0", "train.epochs must be at least 1, got 0"),
        ("lr=-1", "optimizer.lr must be at least 1e-12, got -1"),
        ("lr=nan", "optimizer.lr must be a number, got 'nan'"),
        ("ema_decay=1", "train.ema_decay must be at most 0.999999, got 1"),
        ("size=1,2,3", "data.size must be 2 integers, such as 240x320 or none, got '1,2,3'"),
        ("milestones=a", "optimizer.milestones must be integers, such as 60,80, got 'a'"),
        ("deterministic=maybe", "train.deterministic must be true or false, got 'maybe'"),
        ("schedule=cosin", r"optimizer.schedule must be one of .*got 'cosin'; did you mean cosine"),
        ("on_bad_label=ignore", "data.on_bad_label must be one of error, drop-box, drop-image"),
        ("flip_h=2", r"augment: `flip_h` must lie in \[0, 1\], got 2.0"),
        ("epochs", "expected key=value, got 'epochs'"),
    ],
)
def test_a_bad_value_names_the_setting_and_what_is_allowed(word, message):
    with pytest.raises(SettingsError, match=message):
        resolved(word)


def test_one_key_twice_is_an_error():
    with pytest.raises(SettingsError, match=r"train.epochs is given twice"):
        override_layer(["epochs=1", "train.epochs=2"])


def test_later_layers_win_and_origins_say_who_set_what():
    layers = [
        ("data", {"data.size": (64, 64), "train.epochs": 9}),
        ("preset digits", {"train.epochs": 5, "optimizer.lr": 0.1}),
        override_layer(["lr=0.2"]),
    ]
    settings = resolve(layers)
    assert (settings.train.epochs, settings.optimizer.lr) == (5, 0.2)
    assert settings.origins["train.epochs"] == "preset digits"
    assert settings.origins["optimizer.lr"] == "cli"
    assert settings.origins["data.size"] == "data"
    assert settings.origins["train.seed"] == "default"
    assert set(settings.origins) == set(setting_names())


def test_config_file_says_origins_and_reads_back_to_the_same_settings(tmp_path):
    settings = resolved("data=folder", "epochs=3", "size=64", "model.options.widths=[8, 16]")
    write_config(tmp_path / "config.yaml", settings)
    text = (tmp_path / "config.yaml").read_text()
    assert "  epochs: 3  # cli\n" in text and "  seed: 0  # default\n" in text
    again = resolve([config_layer(tmp_path)])
    assert dataclasses.replace(again, origins={}) == dataclasses.replace(settings, origins={})
    assert again.origins["train.epochs"] == f"config {tmp_path / 'config.yaml'}"


def test_every_setting_survives_yaml(tmp_path):
    settings = resolve([])
    (tmp_path / "config.yaml").write_text(to_yaml(settings))
    again = resolve([config_layer(tmp_path)])
    assert all(getattr(again, group) == getattr(settings, group) for group in GROUPS)
    assert isinstance(again, Settings)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("train: [", "is not valid YAML"),
        ("- 1", "must hold groups of settings, got list"),
        ("train:\n  epoch: 3", r"unknown setting 'train.epoch'; did you mean train.epochs"),
        ("trian:\n  epochs: 3", "unknown setting 'trian'"),
    ],
)
def test_a_bad_config_file_is_named(tmp_path, text, message):
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as error:
        config_layer(path)
    assert "mine.yaml" in str(error.value)


def test_a_missing_config_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no settings file .*gone\.yaml"):
        config_layer(tmp_path / "gone.yaml")


def test_settings_are_importable_from_where_they_were():
    from sightline.settings import read
    from sightline.train import settings_io

    assert all(getattr(settings_io, name) is getattr(read, name) for name in settings_io.__all__)


def test_config_of_aliases_without_end_is_refused_and_long_values_are_cut(tmp_path):
    rows = "".join(
        f"  - &a{i} [" + ", ".join([f"*a{i - 1}" if i else "x"] * 10) + "]\n" for i in range(9)
    )
    path = tmp_path / "config.yaml"
    path.write_text(f"train:\n  seed:\n{rows}")
    with pytest.raises(SettingsError, match=r"not valid YAML: .*aliases stand for more than"):
        config_layer(path)
    path.write_text(f"train:\n  seed: [{'x, ' * 10_000}]\n")
    with pytest.raises(SettingsError) as caught:
        resolve([config_layer(path)])
    assert len(str(caught.value)) < 300
