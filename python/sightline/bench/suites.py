"""Every work by its name, and the suites they come in."""

from . import boxes, growth

SUITES = {"boxes": boxes.WORKS, "growth": growth.WORKS}
WORKS = {work.name: work for works in SUITES.values() for work in works}
