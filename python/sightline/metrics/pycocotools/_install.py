"""Replaces pycocotools in a program that imports it."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType

_PARTS = ("coco", "cocoeval", "mask")


class Installation:
    """The effect of `install_as_pycocotools`; used as a context, it is undone at the end.

    Attributes:
        replaced: names of the modules that had been imported before and were replaced. Names that
            a program imported from them before (`from pycocotools.coco import COCO`) are unchanged.
    """

    def __init__(self) -> None:
        names = ["pycocotools", *(f"pycocotools.{part}" for part in (*_PARTS, "_mask"))]
        self._before = {name: sys.modules.get(name) for name in names}
        self.replaced = [name for name, module in self._before.items() if module is not None]

    def uninstall(self) -> None:
        """Restore the earlier modules."""
        for name, module in self._before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module

    def __enter__(self) -> "Installation":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.uninstall()

    def __repr__(self) -> str:
        said = ", ".join(self.replaced) or "no imported module"
        return f"<sightline in place of pycocotools; replaced {said}>"


def install_as_pycocotools() -> Installation:
    """Let `import pycocotools` import this package, in this process, from now on.

    Call it before anything imports pycocotools, which need not be installed.

    Returns:
        An `Installation`, which lists what was replaced and has `uninstall()`; used as a context,
        it uninstalls at the end.

    Example:
        >>> with install_as_pycocotools():
        ...     from pycocotools.cocoeval import COCOeval
        >>> COCOeval.__module__
        'sightline.metrics.pycocotools.cocoeval'
    """
    from sightline.metrics.pycocotools import coco, cocoeval, mask

    installation = Installation()
    package = ModuleType("pycocotools", __doc__)
    package.__spec__ = ModuleSpec("pycocotools", None, is_package=True)
    package.__path__ = []  # a package without further modules
    sys.modules["pycocotools"] = package
    for name, module in {"coco": coco, "cocoeval": cocoeval, "mask": mask, "_mask": mask}.items():
        sys.modules[f"pycocotools.{name}"] = module
        setattr(package, name, module)
    return installation
