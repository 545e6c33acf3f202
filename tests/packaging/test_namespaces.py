"""Every folder of csrc is a namespace of its own: no name is defined twice in one library."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CSRC = Path(__file__).parents[2] / "csrc"
# Headers of adapters and of .cu files, which need those of torch, pybind11 or CUDA.
_NEEDS_MORE = re.compile(r"(^|_)(torch|numpy|interpreter|cuda)\.h$")


def sources() -> list[Path]:
    return sorted(p for p in CSRC.rglob("*") if p.suffix in (".h", ".cpp", ".cu", ".cuh"))


def namespaces_of(path: Path) -> list[str]:
    """The named namespaces that a file opens at its left margin, but those within others."""
    return re.findall(r"^namespace (sightline[\w:]*) \{", path.read_text(), re.MULTILINE)


def own_namespace(path: Path) -> str:
    folders = path.relative_to(CSRC).parent.parts
    return "::".join(["sightline", *(folders if folders != ("common",) else ())])


def test_every_file_defines_names_in_the_namespace_of_its_folder():
    wrong = [
        f"{path.relative_to(CSRC)} opens {opened}, its folder is {own_namespace(path)}"
        for path in sources()
        for opened in namespaces_of(path)
        if opened != own_namespace(path) and not opened.startswith(own_namespace(path) + "::")
    ]
    assert not wrong, "\n".join(wrong)


def test_every_header_opens_the_namespace_of_its_folder():
    headers = [p for p in sources() if p.suffix == ".h" and p.name not in ("macros.h",)]
    assert len(headers) > 50
    assert [str(p) for p in headers if not namespaces_of(p)] == []


def test_headers_of_all_ops_compile_side_by_side(tmp_path):
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the headers with")
    headers = [p for p in sources() if p.suffix == ".h" and not _NEEDS_MORE.search(p.name)]
    lines = [f'#include "{p.relative_to(CSRC)}"\n' for p in headers if not needs_more(p)]
    assert len(lines) > 40
    unit = tmp_path / "all.cpp"
    unit.write_text("".join(lines))
    done = subprocess.run(
        [compiler, "-std=c++20", "-fsyntax-only", "-w", f"-I{CSRC}", unit],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[:3000]


def needs_more(path: Path) -> bool:
    """Whether a header includes one of those."""
    included = re.findall(r'#include "([^"]+)"', path.read_text())
    return any(_NEEDS_MORE.search(Path(name).name) for name in included)
