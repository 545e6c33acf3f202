"""Every work by its name, and the suites they come in."""

from . import boxes, growth
from .work import Work

SUITES = {"boxes": boxes.WORKS, "growth": growth.WORKS}
WORKS = {work.name: work for works in SUITES.values() for work in works}


def find(name: str, shape: tuple[int, ...]) -> Work:
    """The work of that name, of a suite or, where it has one, of that shape."""
    if not shape:
        return WORKS[name]
    return {work.name: work for work in boxes.of_shape(shape)}[name]
