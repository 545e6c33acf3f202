"""The files of a wheel and of a source distribution; what the libraries need, export and hold."""

import importlib.metadata
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from . import binary

ROOT = Path(__file__).resolve().parents[2]
SYSTEM_LIBRARIES = {
    "libc.so.6",
    "libm.so.6",
    "libstdc++.so.6",
    "libgcc_s.so.1",
    "libpthread.so.0",
    "ld-linux-x86-64.so.2",
    "ld-linux-aarch64.so.1",
}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel of this checkout, unpacked; objects that are built already are used again."""
    folder = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "wheel", "-q"]
    arguments = ["--no-build-isolation", "--no-deps", "-w", str(folder), str(ROOT)]
    subprocess.run([*pip, *arguments], check=True)
    (archive,) = folder.glob("*.whl")
    with zipfile.ZipFile(archive) as packed:
        packed.extractall(folder / "unpacked")
    return folder / "unpacked"


def library(wheel: Path, name: str) -> Path:
    (path,) = (wheel / "sightline").glob(f"{name}.*.so")
    return path


def test_wheel_holds_the_package_and_nothing_else(wheel):
    top = {path.name for path in wheel.iterdir()}
    version = importlib.metadata.version("sightline")
    assert top == {"sightline", f"sightline-{version}.dist-info"}
    files = {str(path.relative_to(wheel)) for path in (wheel / "sightline").rglob("*.*")}
    assert "sightline/py.typed" in files
    sources = (ROOT / "python").rglob("*.py")
    assert {name for name in files if name.endswith(".py")} == {
        str(path.relative_to(ROOT / "python")) for path in sources
    }
    odd = {name for name in files if not re.search(r"\.(py|so|typed)$", name)}
    # what pycocotools computes on the benchmark's sets
    assert odd == {"sightline/bench/coco/digests.json"}


def test_source_distribution_holds_what_the_build_and_the_tests_read(tmp_path):
    code = f"from scikit_build_core.build import build_sdist; build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    (archive,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(archive) as packed:
        top = {name.split("/")[1] for name in packed.getnames()}
    folders = {"benchmarks", "cmake", "csrc", "docs", "examples", "python", "tests", "tools"}
    assert folders | {"CMakeLists.txt", "LICENSE", "Makefile", "README.md", "pyproject.toml"} <= top
    assert not top & {".ci", ".venv", "build", "runs"}


@pytest.mark.parametrize("name", ["_numpy", "_torch"])
def test_libraries_hold_no_path_of_the_machine_that_built_them(wheel, name):
    data = library(wheel, name).read_bytes()
    for path in (str(ROOT), str(Path(sys.prefix).resolve()), str(Path.home())):
        assert path.encode() not in data, path
    assert binary.runtime_paths(library(wheel, name)) == []


@pytest.mark.parametrize("name", ["_numpy", "_torch"])
def test_libraries_need_and_export_only_what_they_must(wheel, name):
    extra = set(binary.needed(library(wheel, name))) - SYSTEM_LIBRARIES
    assert extra == ({"libtorch.so", "libtorch_cpu.so"} if name == "_torch" else set())
    assert binary.exported_symbols(library(wheel, name)) == {f"PyInit_{name}"}


def test_torch_library_asks_for_nothing_newer_than_torch_2_10(wheel):
    offered = set((Path(__file__).parent / "stable_symbols_2_10.txt").read_text().split())
    asked = binary.undefined_symbols(library(wheel, "_torch"))
    ours = {s for s in asked if not re.match(r"_?Py|_ITM_|__gmon_start__|__cxa_finalize", s)}
    assert {"aoti_torch_library_def", "torch_parallel_for"} <= ours
    assert ours <= offered


def kernel_objects() -> list[Path]:
    tag = f"cp{sys.version_info.major}{sys.version_info.minor}"
    return sorted((ROOT / "build").glob(f"{tag}-*/CMakeFiles/kernels.dir/csrc/**/*.o"))


@pytest.mark.skipif(not kernel_objects(), reason="the kernels were not built in this checkout")
def test_wide_instructions_stay_within_their_variants():
    functions = binary.instructions_of_functions(kernel_objects())
    variants = {"avx512": {}, "avx2": {}}
    for name, code in functions.items():
        if "run_avx512<" in name:
            if not name.endswith("[clone .cold]"):
                variants["avx512"][name] = code
        elif "run_avx2<" in name:
            if not name.endswith("[clone .cold]"):
                variants["avx2"][name] = code
            assert not binary.WIDE["avx512"].search(code), name
        else:
            assert not binary.WIDE["vex"].search(code), f"wide instruction outside: {name}"
    for level, codes in variants.items():
        # A body that was not inlined would run as baseline code, silently. What gcc splits off as
        # cold, such as the way to an exception, holds no loop.
        narrow = [name for name, code in codes.items() if not binary.WIDE[level].search(code)]
        assert codes and not narrow, (level, narrow)
