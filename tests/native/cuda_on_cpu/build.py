"""Compiles .cu files with g++ into a library whose kernels run on the CPU (see cuda_runtime.h)."""

import ctypes
import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[2]
BUILD = ROOT / "build" / "cuda_on_cpu"

# The .cu files that <family>.cpp calls, below csrc.
SOURCES = {
    "batch_norm": ("batch_norm/cuda_forward.cu", "batch_norm/cuda_backward.cu"),
    "matching": ("assign/max_iou/cuda.cu",),
    "nms": (
        "nms/greedy/cuda.cu",
        "nms/order.cu",
        "nms/greedy/suppressed_by.cu",
        "nms/padded/cuda.cu",
        "nms/multiclass/cuda.cu",
    ),
    "nms_sorted": (
        "nms/soft/cuda.cu",
        "nms/matrix/cuda.cu",
        "nms/rotated/cuda.cu",
        "nms/fusion/cuda.cu",
    ),
    "assign_atss": ("assign/atss/cuda.cu",),
    "assign_predictions": ("assign/sim_ota/cuda.cu", "assign/task_aligned/cuda.cu"),
    "assign_yolo": ("assign/yolo/cuda.cu",),
    "warp": ("warp/cuda.cu",),
    "average_precision": ("evaluation/average_precision/cuda.cu",),
}
FLAGS = ("-std=c++20", "-O1", "-g1", "-fPIC", "-ffp-contract=off", "-fvisibility=hidden", "-w")

# kernel<<<...>>>( or kernel<T, N><<<...>>>(; the arguments may hold <> of one level.
_LAUNCH = re.compile(
    r"([A-Za-z_][\w:]*(?:<[^;<>()]*(?:<[^;<>()]*>[^;<>()]*)*>)?)\s*<<<(.*?)>>>\s*\(", re.S
)
# One variable a declaration: a type without commas outside <>, a name, its dimensions.
_SHARED = re.compile(
    r"(?<!extern )__shared__\s+((?:unsigned\s+|long\s+)*[\w:]+(?:<[^;=]*?>)?)\s+"
    r"(\w+)((?:\[[^\]]*\])*)\s*;"
)
_DYNAMIC = re.compile(r"extern\s+__shared__\s+(?:__align__\(\w+\)\s+)?([\w:]+)\s+(\w+)\[\]\s*;")


def translate(code: str, path: Path) -> str:
    """CUDA C++ as C++: launches and shared memory become calls; lines stay where they are."""

    def launch(match: re.Match[str]) -> str:
        kernel, configuration = match.groups()
        call = f"[=](auto... arguments) {{ {kernel}(arguments...); }}"
        return f"cuda_on_cpu::Launch({configuration}).of({call})("

    def shared(match: re.Match[str]) -> str:
        kind, name, dimensions = match.groups()
        array = f"cuda_on_cpu::shared<{kind}{dimensions}>(__FILE__, __LINE__)"
        return f"auto& {name} = {array};"

    code = _DYNAMIC.sub(
        r"\1* const \2 = static_cast<\1*>(cuda_on_cpu::dynamic_shared_memory());", code
    )
    code = _SHARED.sub(shared, _LAUNCH.sub(launch, code))
    for left in ("__shared__", "<<<"):
        if left in re.sub(r"//.*", "", code):
            raise ValueError(f"{path}: a form of {left} that translate() does not know")
    return f'#line 1 "{path}"\n{code}'


def library(family: str) -> ctypes.CDLL:
    """The emulated kernels of a family; skips where there is no g++, fails where it refuses."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("no g++ to compile the CUDA kernels for the CPU")
    inputs = [*HERE.glob("*"), *(p for p in (ROOT / "csrc").rglob("*.*") if p.suffix != ".cpp")]
    digest = hashlib.sha256(repr(FLAGS).encode())
    for path in sorted(p for p in inputs if p.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    folder = BUILD / digest.hexdigest()[:16]
    built = folder / f"{family}.so"
    if not built.exists():
        for other in BUILD.glob("*"):
            if other != folder:
                shutil.rmtree(other)
        _compile(compiler, family, folder, built)
    return ctypes.CDLL(str(built))


def _compile(compiler: str, family: str, folder: Path, built: Path) -> None:
    csrc, translated = ROOT / "csrc", folder / "translated"
    for path in csrc.rglob("*.cu*"):
        target = translated / path.relative_to(csrc)
        if not target.exists() and (
            path.suffix == ".cuh" or str(path.relative_to(csrc)) in SOURCES[family]
        ):
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(translate(path.read_text(), path))
    command = [compiler, *FLAGS, "-D__CUDACC__", f"-I{HERE}", f"-I{translated}", f"-I{csrc}"]
    # What every unit includes first is parsed once, and what all families share compiled once.
    header = folder / "all.h"
    if not header.exists():
        header.write_text(f'#include "{HERE / "cuda_runtime.h"}"\n')
        _run_all([[*command, "-x", "c++-header", header, "-o", f"{header}.gch"]])
    units = [HERE / name for name in ("emulator.cpp", "radix_sort.cpp", f"{family}.cpp")]
    units += [translated / name for name in SOURCES[family]]
    objects = [folder / (str(unit.relative_to(ROOT)).replace("/", "_") + ".o") for unit in units]
    _run_all(
        [*command, "-include", header, "-x", "c++", "-c", unit, "-o", compiled]
        for unit, compiled in zip(units, objects)
        if not compiled.exists()
    )
    _run_all([[compiler, "-shared", *objects, "-o", built]])


def _run_all(commands: Iterable[list[str | Path]]) -> None:
    """Run compilers in parallel; each output file appears only when it is complete."""
    running = []
    for *command, target in commands:
        part = f"{target}.part"
        process = subprocess.Popen([*command, part], stderr=subprocess.PIPE, text=True)
        running.append((process, part, target))
    errors = "".join(process.communicate()[1] for process, *_ in running)
    assert not any(process.returncode for process, *_ in running), errors
    for _, part, target in running:
        Path(part).rename(target)
