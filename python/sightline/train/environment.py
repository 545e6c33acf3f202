"""The versions and the machine of a run."""

import importlib
import importlib.metadata
import os
import platform
import sys
from typing import Any

import torch

import sightline

__all__ = ["bit_conditions", "environment", "other_conditions"]

_PACKAGES = (
    "numpy",
    "torch",
    "pillow",
    "simplejpeg",
    "safetensors",
    "pyyaml",
    "rich",
    "matplotlib",
    "scikit-learn",
)


def version_of(package: str) -> str | None:
    """The installed version of a distribution, or None."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def environment() -> dict[str, Any]:
    """Versions and machine, as plain values for env.json."""
    cuda = torch.cuda.is_available()
    return {
        "sightline": sightline.__version__,
        "python": sys.version.split()[0],
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if cuda else None,
        "cuda": torch.version.cuda,
        "isa": instruction_set(),
        "packages": {name: version_of(name) for name in _PACKAGES},
    }


def bit_conditions(device: torch.device) -> dict[str, Any]:
    """What the bits of a run on `device` depend on, besides its settings and data."""
    here = {f"{name} version": version_of(name) for name in ("torch", "numpy", "pillow")}
    return here | {
        "sightline version": sightline.__version__,
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        "instruction set": instruction_set(),
        "instruction set of torch": torch.backends.cpu.get_cpu_capability(),
    }


def other_conditions(saved: dict[str, Any], device: torch.device) -> list[str]:
    """The conditions that differ from saved `bit_conditions`, each as "name was a, is b"."""
    here = bit_conditions(device)
    return [
        f"{name} was {saved[name]}, is {here[name]}"
        for name in here
        if name in saved and saved[name] != here[name]
    ]


def instruction_set() -> str | None:
    """The instruction set of the native code; None where it was not built."""
    try:
        return importlib.import_module("sightline._numpy").isa()
    except ImportError:
        return None
