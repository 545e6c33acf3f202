"""sightline info [--json]

Shows versions, the instruction set in use, threads, what was built, the devices that torch sees,
the installed extras, and the reason for each "no".

  --json   print one JSON object instead
"""

import importlib
import importlib.metadata
import importlib.util
import json
import os
import platform
import sys
from collections.abc import Sequence

from sightline._console import say
from sightline.cli.arguments import UsageError, parse

# Extra -> import name of each package it brings, and the distribution's name.
_EXTRAS = {
    "torch": {"torch": "torch"},
    "plots": {"matplotlib": "matplotlib"},
    "train": {
        "torch": "torch",
        "PIL": "pillow",
        "simplejpeg": "simplejpeg",
        "safetensors": "safetensors",
        "yaml": "pyyaml",
        "rich": "rich",
        "matplotlib": "matplotlib",
    },
    "demo": {"sklearn": "scikit-learn"},
}


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=("json",), known=("--json",))
    arguments.finish(("--json",))
    if arguments.positional:
        raise UsageError(f"info takes no arguments but --json, got {arguments.positional[0]!r}")
    rows = gather()
    if "json" in arguments.flags:
        say(json.dumps(dict(rows), indent=1))
        return 0
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        say(f"{name:<{width}}  {value}")
    return 0


def gather() -> list[tuple[str, str]]:
    """Names and values, in the order in which they are printed."""
    import sightline

    rows = _array_rows()
    instructions = dict(rows).get("instructions", "")
    return [
        ("sightline", f"{sightline.__version__} in {os.path.dirname(sightline.__file__)}"),
        ("python", sys.version.split()[0]),
        ("platform", f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"),
        ("numpy", _version("numpy") or "no: pip install numpy"),
        ("torch", _version("torch") or "no: not installed; pip install 'sightline[torch]'"),
        *rows,
        *_tensor_rows(instructions),
        *[(f"extra [{name}]", _extra(name)) for name in _EXTRAS],
    ]


def _array_rows() -> list[tuple[str, str]]:
    """The module for NumPy arrays, which also knows the instruction set."""
    try:
        native = importlib.import_module("sightline._numpy")
    except ImportError as error:
        return [("ops on arrays", f"no: {_reason(error)}; reinstall sightline")]
    forced = os.environ.get("SIGHTLINE_ISA")
    how = f"SIGHTLINE_ISA={forced}" if forced else "chosen for this CPU"
    try:
        instructions, works = f"{native.isa()} ({how})", "yes"
    except ValueError as error:  # every op raises this error too
        instructions = works = f"no: {_reason(error)}"
    return [
        ("instructions", instructions),
        ("threads (arrays)", str(native.get_num_threads())),
        ("ops on arrays", works),
    ]


def _tensor_rows(instructions: str) -> list[tuple[str, str]]:
    """The torch ops, their CUDA kernels, and the device that would run them.

    Args:
        instructions: the row of that name; where it is a "no", the ops on the CPU are one too.
    """
    try:
        torch = importlib.import_module("torch")
    except (ImportError, OSError) as error:
        no = f"no: torch cannot be imported ({_reason(error)})"
        return [("ops on tensors", no), ("CUDA kernels", no), ("CUDA device", no)]
    rows = [("threads (tensors)", str(torch.get_num_threads()))]
    try:
        built_for = importlib.import_module("sightline._load").cuda_architectures
        kernels = (
            f"yes, for {built_for}"
            if built_for
            else ("no: built without CUDA; rebuild with SIGHTLINE_CUDA=ON where nvcc is installed")
        )
        works = instructions if instructions.startswith("no: ") else "yes"
        rows += [("ops on tensors", works), ("CUDA kernels", kernels)]
    except (ImportError, OSError) as error:
        no = f"no: {_reason(error)}"
        rows += [("ops on tensors", no), ("CUDA kernels", no)]
    return [*rows, ("CUDA device", _device(torch))]


def _device(torch) -> str:
    if torch.version.cuda is None:
        return f"no: torch {torch.__version__} was built without CUDA"
    if not torch.cuda.is_available():
        return f"no: torch was built for CUDA {torch.version.cuda}, but sees no usable GPU"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return f"yes: {', '.join(names)}"


def _extra(name: str) -> str:
    missing = [
        package
        for module, package in _EXTRAS[name].items()
        if importlib.util.find_spec(module) is None
    ]
    if missing:
        return f"no: {', '.join(missing)} missing; pip install 'sightline[{name}]'"
    versions = [f"{package} {_version(package)}" for package in _EXTRAS[name].values()]
    return f"yes ({', '.join(versions)})"


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())
