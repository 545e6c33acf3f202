"""Arguments of the command line: `key=value`, `--key value`, `--flag`, and positional ones."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from sightline._suggest import did_you_mean, unknown

__all__ = ["Arguments", "UsageError", "parse", "png_path"]

_KEY = re.compile(r"[A-Za-z_][\w.-]*")


class UsageError(ValueError):
    """Arguments on the command line that cannot be understood."""


@dataclass
class Arguments:
    """Parsed arguments.

    Attributes:
        positional: in the order given.
        options: name, without leading dashes, to text.
        flags: the flags that were given.
    """

    positional: list[str] = field(default_factory=list)
    options: dict[str, str] = field(default_factory=dict)
    flags: set[str] = field(default_factory=set)

    def take(self, name: str) -> str | None:
        """Remove and return one option; None where it was not given."""
        return self.options.pop(name, None)

    def take_text(self, name: str, default: str) -> str:
        return self.options.pop(name, default)

    def take_number(self, name: str, default: float) -> float:
        text = self.take(name)
        if text is None:
            return float(default)
        try:
            return float(text)
        except ValueError:
            raise UsageError(f"{name} must be a number, got {text!r}") from None

    def take_count(self, name: str, default: int, *, at_least: int = 1) -> int:
        """A whole number."""
        number = self.take_number(name, default)
        if not number.is_integer() or number < at_least:
            raise UsageError(
                f"{name} must be a whole number of at least {at_least}, got {number:g}"
            )
        return int(number)

    def finish(self, known: Collection[str]) -> None:
        """Raise UsageError where an option is left that no `take` asked for."""
        for name in self.options:
            raise UsageError(unknown("option", name, _dashed(known)))


def png_path(name: str, text: str) -> Path:
    """The path of a picture to write; UsageError unless it is that of a PNG file."""
    if Path(text).suffix.lower() != ".png":
        raise UsageError(
            f"{name}={text}: the picture is a PNG file; give a name that ends with .png"
        )
    return Path(text)


def parse(
    words: Sequence[str], *, flags: Collection[str] = (), known: Collection[str] = ()
) -> Arguments:
    """Sort arguments into positional ones, options and flags.

    `--key value`, `--key=value` and `key=value` mean the same. The name of an existing file is
    positional, even where it looks like an option.

    Args:
        words: the arguments, as in `sys.argv[1:]`.
        flags: names of options that take no value.
        known: names of the other options, where all are known in advance; an unknown one is then
            an error here. Without it, `Arguments.finish` reports what is left over.

    Raises:
        UsageError: an option is given twice or without a value, or a flag with a value.
    """
    parsed = Arguments()
    names, flag_names = _dashed(known), _dashed(flags)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        dashed = word.startswith("--")
        key, equals, value = word.removeprefix("--").partition("=")
        if key.replace("-", "_") in flags and dashed:
            if equals:
                raise UsageError(f"--{key} takes no value, got {value!r}")
            parsed.flags.add(key.replace("-", "_"))
            continue
        is_option = bool(_KEY.fullmatch(key)) and (dashed or (equals and not Path(word).exists()))
        if not is_option:
            if dashed:
                raise UsageError(f"{word!r} is not an option")
            parsed.positional.append(word)
            continue
        if dashed and names and f"--{key.replace('_', '-')}" not in names:
            every = dict.fromkeys((*names, *flag_names))
            raise UsageError(unknown("option", f"--{key}", every))
        if not equals:
            if not rest or rest[0].startswith("--"):
                hint = did_you_mean(key, flag_names)
                raise UsageError(f"--{key} needs a value{hint}")
            value = rest.pop(0)
        key = key.replace("-", "_")
        if key in parsed.options:
            raise UsageError(f"{key} is given twice")
        parsed.options[key] = value
    return parsed


def _dashed(names: Collection[str]) -> list[str]:
    """Names of options as they are typed, with dashes."""
    return [f"--{name.removeprefix('--').replace('_', '-')}" for name in names]
