"""Reads settings from YAML files and `key=value` words in layers, and writes them to YAML."""

import dataclasses
import types
import typing
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from sightline._files import atomic_write
from sightline._suggest import did_you_mean
from sightline._text import quoted, yaml_problem
from sightline.formats.yaml_file import load_yaml
from sightline.settings.groups import (
    GROUP_VALUES,
    GROUPS,
    Settings,
    SettingsError,
    setting_names,
)

__all__ = [
    "Layer",
    "config_layer",
    "fill",
    "override_layer",
    "resolve",
    "settings_values",
    "to_yaml",
    "write_config",
]

# Where values came from ("cli", "config ...") and "group.name" -> value.
Layer = tuple[str, Mapping[str, Any]]

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")
_NONE = ("none", "null", "")


def _yaml():
    try:
        import yaml
    except ImportError as error:
        raise ImportError(
            "settings are stored as YAML, and PyYAML is not installed: "
            "pip install 'sightline[train]'"
        ) from error
    return yaml


def full_key(key: str) -> str:
    """Return "group.name" for a key as a user types it.

    "data" means "data.path", and a name that only one group has means the setting of that group.
    Several groups have a "name", but "model" and "optimizer" are short forms of theirs, so "name"
    alone is that of the run. Keys below "model.options" are free: the model checks them.

    Raises:
        SettingsError: there is no such setting (the nearest one is suggested), or several groups
            have one of that name.
    """
    known = setting_names()
    key = key.strip().replace("-", "_")
    if key in GROUP_VALUES:
        return f"{key}.{GROUP_VALUES[key]}"
    if key in known or key.startswith("model.options."):
        return key
    matches = [name for name in known if name.split(".", 1)[1] == key]
    if len(matches) > 1:
        grouped = {f"{group}.{name}" for group, name in GROUP_VALUES.items()}
        matches = [name for name in matches if name not in grouped]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise SettingsError(f"{key!r} could be {' or '.join(matches)}: write one of them")
    short = [*(name.split(".", 1)[1] for name in known), *GROUP_VALUES]
    hint = did_you_mean(key, known if "." in key else short)
    raise SettingsError(f"unknown setting {key!r}{hint}")


def override_layer(words: Mapping[str, Any] | Iterable[str], origin: str = "cli") -> Layer:
    """The layer of `key=value` words (or of a mapping).

    Raises:
        SettingsError: a word has no "=", a key is unknown, or is given twice.
    """
    pairs: list[tuple[str, Any]] = []
    if isinstance(words, Mapping):
        pairs = list(words.items())
    else:
        for word in words:
            key, equals, value = word.partition("=")
            if not equals:
                raise SettingsError(f"expected key=value, got {word!r}")
            pairs.append((key, value))
    values: dict[str, Any] = {}
    for key, value in pairs:
        full = full_key(key)
        if full in values:
            raise SettingsError(f"{full} is given twice")
        values[full] = value
    return origin, values


def config_layer(path: str | Path) -> Layer:
    """The layer of a YAML file with groups of settings, such as a run's config.yaml."""
    path = Path(path)
    if path.is_dir():
        path = path / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no settings file {path}")
    yaml = _yaml()
    try:
        groups = load_yaml(path.read_text(encoding="utf-8")) or {}
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {yaml_problem(error)}") from error
    if not isinstance(groups, dict):
        raise SettingsError(f"{path} must hold groups of settings, got {type(groups).__name__}")
    values: dict[str, Any] = {}
    for group, content in groups.items():
        if group in GROUPS and isinstance(content, dict):
            values |= {f"{group}.{name}": value for name, value in content.items()}
        else:
            values[str(group)] = content
    try:
        return override_layer(values, f"config {path}")
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from error


def resolve(layers: Sequence[Layer]) -> Settings:
    """The settings of several layers; a later layer overrides an earlier one.

    Raises:
        SettingsError: a value has the wrong type or is outside its limits; the message names the
            setting, the value and what is allowed.
    """
    values: dict[str, Any] = {}
    origins = dict.fromkeys(setting_names(), "default")
    for origin, layer in layers:
        for key, value in layer.items():
            if key == "model.options" and isinstance(value, str):
                value = load_yaml(value)
            if key.startswith("model.options."):
                option = key.removeprefix("model.options.")
                options = dict(values.get("model.options") or {})
                values["model.options"] = options | {option: _free_value(value)}
                origins["model.options"] = origin
                continue
            if key == "model.options" and isinstance(value, Mapping):
                value = {**(values.get("model.options") or {}), **value}
            values[key] = value
            origins[key] = origin
    groups = {}
    for group, kind in GROUPS.items():
        given = {key: value for key, value in values.items() if key.split(".", 1)[0] == group}
        groups[group] = _changed(kind(), group, given)
    return Settings(**groups, origins=origins)


def fill(settings: Settings, origin: str, values: Mapping[str, Any]) -> Settings:
    """The same settings, with values for those that were not set yet.

    Args:
        origin: where the values come from.
        values: "group.name" -> value. "model.options" adds missing options.

    Raises:
        SettingsError: as in `resolve`.
    """
    taken: dict[str, dict[str, Any]] = {}
    origins = dict(settings.origins)
    for key, value in values.items():
        if key == "model.options":
            value = {**value, **settings.model.options}
        elif origins[key] != "default":
            continue
        taken.setdefault(key.split(".", 1)[0], {})[key] = value
        if origins[key] == "default":
            origins[key] = origin
    groups = {name: _changed(getattr(settings, name), name, found) for name, found in taken.items()}
    return dataclasses.replace(settings, **groups, origins=origins)


def _changed(group: Any, name: str, values: Mapping[str, Any]) -> Any:
    """A group of settings with values by "group.name", checked."""
    hints = typing.get_type_hints(type(group))
    arguments = {
        item.name: _checked(values[key], hints[item.name], item, key)
        for item in dataclasses.fields(group)
        if (key := f"{name}.{item.name}") in values
    }
    try:
        return dataclasses.replace(group, **arguments)
    except ValueError as error:
        raise SettingsError(f"{name}: {error}") from error


def _checked(value: Any, hint: Any, item: dataclasses.Field, key: str) -> Any:
    limits = item.metadata
    try:
        result = _converted(value, hint)
    except (TypeError, ValueError):
        raise SettingsError(f"{key} must be {_spelled(hint)}, got {quoted(value)}") from None
    choices, low, high = (limits.get(name) for name in ("choices", "low", "high"))
    if result is None:
        return None
    if choices and result not in choices:
        hint = did_you_mean(str(result), choices)
        raise SettingsError(f"{key} must be one of {', '.join(choices)}, got {result!r}{hint}")
    for number in result if isinstance(result, tuple) else (result,):
        if isinstance(number, (int, float)) and not isinstance(number, bool):
            if low is not None and not number >= low:
                raise SettingsError(f"{key} must be at least {low:g}, got {value}")
            if high is not None and not number <= high:
                raise SettingsError(f"{key} must be at most {high:g}, got {value}")
    return result


def _converted(value: Any, hint: Any) -> Any:
    """`value` converted to the type `hint`; TypeError or ValueError where that is impossible."""
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        if value is None or (isinstance(value, str) and value.strip().lower() in _NONE):
            return None
        (inner,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
        return _converted(value, inner)
    if value is None:
        raise TypeError
    if hint is bool:
        text = str(value).strip().lower()
        if text not in _TRUE + _FALSE:
            raise ValueError
        return text in _TRUE
    if hint is int:
        if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
            raise ValueError
        return int(value)
    if hint is float:
        if isinstance(value, bool):
            raise ValueError
        number = float(value)
        if number != number:
            raise ValueError
        return number
    if hint is str:
        if isinstance(value, (dict, list)):
            raise TypeError
        return str(value)
    if typing.get_origin(hint) is tuple:
        return _converted_tuple(value, typing.get_args(hint))
    if typing.get_origin(hint) is dict:
        return dict(value)
    raise TypeError


def _converted_tuple(value: Any, arms: tuple[Any, ...]) -> tuple[Any, ...]:
    if isinstance(value, str):
        inside = value.strip().strip("[]()")
        value = [part for part in inside.replace("x", ",").split(",") if part.strip()]
    items = list(value) if isinstance(value, (list, tuple)) else [value]
    if len(arms) == 2 and arms[1] is ...:
        arms = (arms[0],) * len(items)
    if len(items) == 1:  # size=128 means 128 x 128
        items = items * len(arms)
    return tuple(_converted(item, arm) for item, arm in zip(items, arms, strict=True))


def _free_value(value: Any) -> Any:
    """The value of an option that only the model knows: a number, a list, a mapping, or text."""
    if not isinstance(value, str):
        return value
    parsed = load_yaml(value)
    if isinstance(parsed, str):
        try:
            return float(parsed)  # YAML reads 1e-3 as text
        except ValueError:
            return parsed
    return parsed


def _spelled(hint: Any) -> str:
    if isinstance(hint, types.UnionType) or typing.get_origin(hint) is typing.Union:
        (inner,) = (arm for arm in typing.get_args(hint) if arm is not type(None))
        return f"{_spelled(inner)} or none"
    if typing.get_origin(hint) is tuple:
        inner, *rest = typing.get_args(hint)
        some = bool(rest) and rest[0] is ...
        count = "" if some else f"{1 + len(rest)} "
        if inner is float:
            return f"{count}numbers, such as 0.8,1.25"
        return f"{count}integers, such as {'60,80' if some else '240x320'}"
    if typing.get_origin(hint) is dict:
        return "a mapping of names to values"
    return {int: "an integer", float: "a number", bool: "true or false", str: "text"}[hint]


def settings_values(settings: Settings) -> dict[str, Any]:
    """Every setting as "group.name" -> plain value that YAML and JSON can hold."""
    return {
        f"{group}.{item.name}": _plain(getattr(getattr(settings, group), item.name))
        for group, kind in GROUPS.items()
        for item in dataclasses.fields(kind)
    }


def to_yaml(settings: Settings) -> str:
    """The settings as YAML for `config_layer`; a comment says where each value came from."""
    yaml = _yaml()
    lines = []
    values = settings_values(settings)
    for group, kind in GROUPS.items():
        lines.append(f"{group}:")
        for item in dataclasses.fields(kind):
            key = f"{group}.{item.name}"
            value = values[key]
            text = yaml.safe_dump(value, default_flow_style=True, width=10**6, sort_keys=False)
            text = text.removesuffix("...\n").strip()
            lines.append(f"  {item.name}: {text}  # {settings.origins.get(key, 'default')}")
    return "\n".join(lines) + "\n"


def _plain(value: Any) -> Any:
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value


def write_config(path: str | Path, settings: Settings) -> None:
    """Write `to_yaml(settings)` to a file, completely or not at all."""
    atomic_write(path, "# Run again with: sightline train config=<this file>\n" + to_yaml(settings))
