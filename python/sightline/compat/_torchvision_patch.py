"""Replaces torchvision's ops by Sightline's within torchvision's own modules."""

import sys
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

# Classes of torchvision.models.detection that store `box_iou` when they are created.
_KEEPERS = (("rpn", "RegionProposalNetwork"), ("roi_heads", "RoIHeads"))
_KEPT_AS = "box_similarity"

Function = Callable[..., Any]


class _Kept:
    """Returns `ours` where an instance stores `theirs`, and never stores `ours` in an instance."""

    def __init__(self, theirs: Function, ours: Function) -> None:
        self.theirs, self.ours = theirs, ours

    def __get__(self, instance: Any, kind: type) -> Any:
        if instance is None:
            return self
        kept = vars(instance).get(_KEPT_AS)
        return self.ours if kept is self.theirs else kept

    def __set__(self, instance: Any, value: Any) -> None:
        vars(instance)[_KEPT_AS] = self.theirs if value is self.ours else value


class Patch:
    """Replaces functions of `torchvision.ops` until each `enter` had its `leave`; these nest.

    Every module of torchvision that has such a function as an attribute gets ours instead. After
    the last `leave`, all get theirs back, including modules that were imported in between.
    """

    def __init__(self, functions: dict[str, Function]) -> None:
        self._functions = functions  # name in torchvision.ops -> ours
        self._lock = threading.Lock()
        self._entered = 0
        self._places: list[tuple[ModuleType, str, Function]] = []  # with the original function
        self._seen: set[ModuleType] = set()
        self._keepers: list[type] = []

    def enter(self) -> None:
        with self._lock:
            if self._entered == 0:
                self._replace()
            self._entered += 1

    def leave(self) -> None:
        with self._lock:
            self._entered -= 1
            if self._entered == 0:
                self._restore()

    def _replace(self) -> None:
        ops = import_module("torchvision.ops")
        detection = "torchvision.models.detection"
        keepers = [getattr(import_module(f"{detection}.{m}"), name) for m, name in _KEEPERS]
        theirs = {name: getattr(ops, name) for name in self._functions}
        replacing = {id(theirs[name]): ours for name, ours in self._functions.items()}
        self._seen = set(_modules())
        for module in self._seen:
            for name, value in list(vars(module).items()):
                ours = replacing.get(id(value))
                if ours is not None and ours is not value:
                    self._places.append((module, name, value))
                    setattr(module, name, ours)
        self._keepers = [kind for kind in keepers if _KEPT_AS not in vars(kind)]
        for kind in self._keepers:
            setattr(kind, _KEPT_AS, _Kept(theirs["box_iou"], self._functions["box_iou"]))

    def _restore(self) -> None:
        for kind in self._keepers:
            delattr(kind, _KEPT_AS)
        theirs = {}
        ours = {id(function) for function in self._functions.values()}
        for module, name, value in self._places:
            now = vars(module).get(name)
            if id(now) in ours:  # not where something else has replaced it since
                theirs[id(now)] = value
                setattr(module, name, value)
        for module in set(_modules()) - self._seen:
            for name, value in list(vars(module).items()):
                if id(value) in theirs:
                    setattr(module, name, theirs[id(value)])
        self._places, self._seen, self._keepers = [], set(), []


def _modules() -> list[ModuleType]:
    found = list(sys.modules.items())
    return [m for name, m in found if name.split(".")[0] == "torchvision" and m is not None]
