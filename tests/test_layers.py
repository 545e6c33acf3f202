"""Imports point downwards: a module imports only from lower rows and from its own package."""

import ast
from pathlib import Path

import sightline

PACKAGE = Path(sightline.__file__).parent

# From the top; modules in one row never import each other.
ROWS = (
    ("__main__",),
    ("cli",),
    ("serve", "report", "bench", "compat"),
    ("train",),
    ("models", "data", "metrics"),
    ("ops", "reference"),
    ("_load", "_suggest", "_console"),
    ("_torch", "_numpy", "_text"),
)
ROW_OF = {room: row for row, rooms in enumerate(ROWS) for room in rooms}


def rooms_imported_by(path: Path) -> set[str]:
    """First name below `sightline` of every import in the file, relative imports resolved."""
    package = ["sightline", *path.relative_to(PACKAGE).parent.parts]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            names |= {f"{module}.{alias.name}" for alias in node.names}
    parts = (name.split(".") for name in names)
    return {name[1] for name in parts if name[0] == "sightline" and name[1:] and name[1] in ROW_OF}


def test_every_room_has_a_row():
    rooms = {p.stem for p in PACKAGE.iterdir() if p.suffix == ".py" or (p / "__init__.py").exists()}
    assert rooms - {"__init__"} <= set(ROW_OF)


def test_imports_point_downwards():
    wrong = []
    for path in PACKAGE.rglob("*.py"):
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":  # the lazy top level names every room
            continue
        wrong += [
            f"{path.relative_to(PACKAGE)} imports {other}"
            for other in rooms_imported_by(path)
            if other != room and ROW_OF[other] <= ROW_OF[room]
        ]
    assert not wrong, "\n".join(wrong)


def test_nothing_imports_torchvision():
    for path in PACKAGE.rglob("*.py"):
        if "compat" not in path.parts:
            assert "import torchvision" not in path.read_text(), path
