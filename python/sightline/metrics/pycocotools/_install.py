"""Taking the place of pycocotools in a program that imports it."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType, TracebackType

_PARTS = ("coco", "cocoeval", "mask")


class Installation:
    """What `install_as_pycocotools` did; as a context, it is undone at the end.

    Attributes:
        replaced: names of the modules that had been imported and were replaced. What a program
            took out of them before (`from pycocotools.coco import COCO`) stays what it was.
    """

    def __init__(self) -> None:
        names = ["pycocotools", *(f"pycocotools.{part}" for part in (*_PARTS, "_mask"))]
        self._before = {name: sys.modules.get(name) for name in names}
        self.replaced = [name for name, module in self._before.items() if module is not None]

    def uninstall(self) -> None:
        """Put the modules back that were there before."""
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
        said = ", ".join(self.replaced) or "no module that was imported before"
        return f"<sightline in the place of pycocotools; replaced {said}>"


def install_as_pycocotools() -> Installation:
    """Make `import pycocotools` mean this package, in this process, from now on.

    Call it before anything imports pycocotools, which need not be installed.

    Returns:
        What was replaced, with `uninstall()`; also a context that uninstalls at its end.

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
