"""Suggests the known name that a mistyped one probably stands for."""

import re
from collections.abc import Iterable
from difflib import SequenceMatcher

__all__ = ["did_you_mean", "nearest", "unknown"]

# Names are taken for each other from this share of common letters in order:
# "trian" and "train" share .8, "pretrained" and "translate" .53.
_ALIKE = 0.75
_SHORTEST_PART = 3  # from so many letters on, a name suggests longer ones that begin with it


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar to `name`, or None where none is similar.

    Where two names have the same group ("train.epoch", "val/AP5"), only the rest is compared.
    """
    scored = [(_likeness(name, candidate), candidate) for candidate in known]
    best = max(scored, key=lambda pair: pair[0], default=(0.0, None))
    return best[1] if best[0] >= _ALIKE else None


def did_you_mean(name: str, known: Iterable[str], *, quoted: bool = False) -> str:
    """The end of a sentence, "; did you mean train?", or "" where no known name is similar."""
    near = nearest(name, known)
    if near is None:
        return ""
    return f"; did you mean {near!r}?" if quoted else f"; did you mean {near}?"


def unknown(what: str, name: str, known: Iterable[str], *, quoted: bool = False) -> str:
    """Why a name is refused: the most similar known name, where there is one, and all of them."""
    known = list(known)
    hint = did_you_mean(name, known, quoted=quoted)
    listed = ", ".join(map(repr, known) if quoted else known)
    join = " There are" if hint else "; there are"
    return f"unknown {what} {name!r}{hint}{join} {listed}"


def _likeness(name: str, candidate: str) -> float:
    first, second = (re.split(r"[./]", text.lower().lstrip("-")) for text in (name, candidate))
    if first[:-1] == second[:-1] or first[-1] == second[-1]:
        first, second = first[-1:], second[-1:]
    one, other = ".".join(first), ".".join(second)
    alike = SequenceMatcher(None, one, other).ratio()
    begins = len(one) >= _SHORTEST_PART and other.startswith(one)
    return max(alike, _ALIKE) if begins else alike
