"""What a run was made with: versions, machine, and a fingerprint of its data."""

import hashlib
import importlib
import importlib.metadata
import os
import platform
import sys
from typing import Any

import torch

import sightline
from sightline.data import Annotations

__all__ = ["environment", "fingerprint"]

_PACKAGES = (
    "numpy",
    "torch",
    "pillow",
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
        "isa": importlib.import_module("sightline._numpy").isa(),
        "packages": {name: version_of(name) for name in _PACKAGES},
    }


def fingerprint(annotations: Annotations) -> str:
    """A hash of ids, sizes, boxes and labels: whether two readings of a data set are the same.

    Pixels are not read.
    """
    digest = hashlib.sha256(repr((annotations.task, annotations.class_names)).encode())
    for record in annotations.records:
        digest.update(repr((record.image_id, record.width, record.height)).encode())
        digest.update(record.boxes.tobytes())
        digest.update(record.labels.tobytes())
    return digest.hexdigest()
