"""Imports point downwards: a module imports only from lower rows and from its own package.

A leading underscore marks what nothing outside its package imports.
"""

import ast
from collections.abc import Mapping
from pathlib import Path

import sightline

PACKAGE = Path(sightline.__file__).parent

# From the top; modules in one row never import each other.
ROWS = (
    ("__main__",),
    ("cli",),
    ("serve", "report", "bench", "compat"),
    ("experiments",),
    ("train",),
    ("tasks",),
    ("settings",),
    ("models", "data", "metrics", "optim"),
    ("nn", "losses", "formats"),
    ("ops", "reference"),
    ("_load", "_suggest", "_console", "_files"),
    ("_torch", "_numpy", "_text"),
)
# The same within the metrics, where what has no row may be imported by all.
METRIC_ROWS = (("pycocotools",), ("coco",), ("detection",), ("shapes",))
# Modules that import each other and are allowed to, as sets of names below `sightline`; none are.
CIRCLES: set[frozenset[str]] = set()
ROW_OF = {package: row for row, packages in enumerate(ROWS) for package in packages}


def names_imported_by(source: str, package: list[str]) -> set[str]:
    """Dotted name of all that a file of the package imports, lazily and for types too."""
    names = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    return names


def imports_of_package() -> dict[str, set[str]]:
    """Names imported by each module, both without the leading `sightline`."""
    found = {}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        package = ["sightline", *parts[:-1]]
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name:  # the lazy top level names all
            names = names_imported_by(path.read_text(), package)
            found[name] = {n[10:] for n in names if n.startswith("sightline.")}
    return found


def circles_among(imports: Mapping[str, set[str]]) -> set[frozenset[str]]:
    """Sets of modules of which each leads to each."""

    def module_of(name: str) -> str | None:
        while name and name not in imports:
            name = name.rpartition(".")[0]
        return name or None

    direct = {
        module: {m for m in map(module_of, names) if m is not None and m != module}
        for module, names in imports.items()
    }
    reached = {}
    for module in direct:
        seen: set[str] = set()
        ahead = [module]
        while ahead:
            new = direct[ahead.pop()] - seen
            seen |= new
            ahead += new
        reached[module] = seen
    return {
        frozenset(other for other in seen if module in reached[other])
        for module, seen in reached.items()
        if module in seen
    }


IMPORTS = imports_of_package()
PACKAGES = {
    ".".join(path.parent.relative_to(PACKAGE).parts) for path in PACKAGE.rglob("__init__.py")
}


def test_every_package_has_a_row():
    packages = {
        p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()
    }
    assert packages - {"__init__"} <= set(ROW_OF)


def test_imports_point_downwards():
    wrong = [
        f"{module} imports {name}"
        for module, names in IMPORTS.items()
        for name in names
        if (package := module.split(".")[0]) != (other := name.split(".")[0])
        and other in ROW_OF
        and ROW_OF[other] <= ROW_OF[package]
    ]
    assert not wrong, "\n".join(wrong)


def test_imports_within_the_metrics_point_downwards():
    row_of = {
        f"metrics.{package}": row
        for row, packages in enumerate(METRIC_ROWS)
        for package in packages
    }
    wrong = []
    for module, names in IMPORTS.items():
        package = ".".join(module.split(".")[:2])
        for name in names if package in row_of else ():
            other = ".".join(name.split(".")[:2])
            if other != package and row_of.get(other, len(row_of)) <= row_of[package]:
                wrong.append(f"{module} imports {name}")
    assert not wrong, "\n".join(wrong)


def imports_of_private(imports: Mapping[str, set[str]]) -> list[str]:
    """Where a leading underscore, of a module or a name, is imported from outside its package."""
    found = []
    for module, names in imports.items():
        for name in names:
            parts = name.split(".")
            for i, part in enumerate(parts):
                if part.startswith("_") and not part.startswith("__"):
                    owner = ".".join(parts[:i])
                    package = owner if owner in PACKAGES else owner.rpartition(".")[0]
                    if package and not f"{module}.".startswith(f"{package}."):
                        found.append(f"{module} imports {name}")
    return found


def test_private_modules_are_imported_within_their_package():
    found = imports_of_private(IMPORTS)
    assert not found, "\n".join(found)


def test_an_import_of_a_private_module_is_found():
    names = {
        "metrics._arrays",
        "metrics.coco._x.name",
        "ops._rules.register",
        "_text.quoted",
        "ops.__all__",
    }
    assert imports_of_private({"metrics.coco.reader": names}) == [
        "metrics.coco.reader imports ops._rules.register"
    ]


def test_no_modules_import_each_other():
    found = circles_among(IMPORTS)
    assert found == CIRCLES, [sorted(circle) for circle in found ^ CIRCLES]


def test_a_circle_is_found_through_lazy_and_typed_imports():
    sources = {
        "a": "from .b import f",
        "b": "def f():\n    from sightline import c",
        "c": "if TYPE_CHECKING:\n    import sightline.a.name",
        "d": "from sightline.a import g",
    }
    imports = {
        name: {n[10:] for n in names_imported_by(source, ["sightline"])}
        for name, source in sources.items()
    }
    assert circles_among(imports) == {frozenset("abc")}
    assert circles_among(imports | {"c": set()}) == set()


def test_nothing_imports_the_reference():
    # It is what the package is tested against, so it and the package know nothing of each other.
    users = [
        module
        for module, names in IMPORTS.items()
        if not module.startswith("reference")
        and any(name.split(".")[0] == "reference" for name in names)
    ]
    assert not users
    used = {
        name.split(".")[0]
        for module, names in IMPORTS.items()
        if module.startswith("reference")
        for name in names
    }
    assert used <= {"reference"}


def test_nothing_imports_torchvision():
    for path in PACKAGE.rglob("*.py"):
        if "compat" not in path.parts:
            assert "import torchvision" not in path.read_text(), path
