"""YAML within bounds: aliases that stand for millions of values are refused unread."""

from __future__ import annotations

from typing import Any

__all__ = ["load_yaml"]

_MOST_VALUES = 1_000_000
_MOST_CHARACTERS = 4 << 20  # PyYAML takes about a second for 500,000


def load_yaml(text: str, *, as_text: bool = False) -> Any:
    """Return the value of a YAML text, without running any code that its tags ask for.

    Args:
        text: the YAML text.
        as_text: leave every scalar as written: `no` is "no", 1.0 is "1.0", nothing is "".

    Raises:
        ImportError: without PyYAML.
        yaml.YAMLError: invalid; longer than four million characters; nested too deeply; or more
            than a million values once its aliases are written out.
    """
    try:
        import yaml
    except ImportError as error:
        raise ImportError("reading YAML needs PyYAML: pip install 'sightline[train]'") from error
    if len(text) > _MOST_CHARACTERS:
        raise yaml.MarkedYAMLError(
            problem=f"{len(text):,} characters are too many (at most {_MOST_CHARACTERS:,})"
        )
    loader = (yaml.BaseLoader if as_text else yaml.SafeLoader)(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        if _values(node, {}) > _MOST_VALUES:
            raise yaml.MarkedYAMLError(
                problem=f"aliases stand for more than {_MOST_VALUES:,} values",
                problem_mark=node.start_mark,
            )
        return loader.construct_document(node)
    except RecursionError as error:
        raise yaml.MarkedYAMLError(problem="nested too deeply") from error
    except ValueError as error:  # a date such as 2001-02-30, a number of thousands of digits
        raise yaml.MarkedYAMLError(problem=str(error)) from error
    finally:
        loader.dispose()


def _values(node: Any, known: dict[int, int]) -> int:
    """The number of values below a node, where each alias counts as what it stands for."""
    if not isinstance(node.value, list):
        return 1
    if id(node) not in known:
        known[id(node)] = _MOST_VALUES + 1  # while it is counted: an alias of itself has no end
        children = [
            child for item in node.value for child in (item if isinstance(item, tuple) else (item,))
        ]
        known[id(node)] = 1 + sum(_values(child, known) for child in children)
    return known[id(node)]
