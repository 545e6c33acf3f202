"""The checkpoints of a run: weights as safetensors, and the state for resuming."""

import hashlib
import io
import json
import os
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sightline._files import atomic_write
from sightline.nn.wrappers import load_plain_state, plain_state
from sightline.train.wrong_weights import check_finite, what_does_not_fit

__all__ = [
    "load_into",
    "load_state",
    "load_weights",
    "random_state",
    "save_state",
    "save_weights",
    "set_random_state",
]

_METADATA_KEY = "sightline"
_CHECKSUM_KEY = "sha256"
_DIGITS = 64  # of a SHA-256 in hexadecimal
# Placeholder in the header of a weights file while the checksum of the whole file is computed.
_OPEN_CHECKSUM = "0" * _DIGITS
_MARK = b"sha256:"  # precedes the checksum at the end of a state file


def _safetensors():
    try:
        import safetensors
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            "weights are stored as safetensors, which is not installed: "
            "pip install 'sightline[train]'"
        ) from error
    return safetensors


def save_weights(
    path: str | os.PathLike,
    weights: dict[str, torch.Tensor] | torch.nn.Module,
    metadata: dict[str, Any] | None = None,
) -> None:
    """Write a model's weights as one safetensors file.

    Args:
        path: the file; written under a temporary name and renamed.
        weights: name -> tensor, on any device; or the model, whose weights get their names without
            `torch.compile`, `DistributedDataParallel` and `DataParallel`.
        metadata: what a reader of the file needs besides the weights (class names, preprocessing,
            model name and arguments); must be JSON. Stored in the file's header.

    Raises:
        OSError: the disk is full or the folder cannot be written; the earlier file is unchanged.
    """
    if isinstance(weights, torch.nn.Module):
        weights = plain_state(weights)
    # Clone each tensor: safetensors refuses tensors that share memory (tied weights).
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in weights.items()}
    header = {
        _METADATA_KEY: json.dumps(metadata or {}, allow_nan=False),
        _CHECKSUM_KEY: _OPEN_CHECKSUM,
    }
    content = bytearray(_safetensors().torch.save(tensors, metadata=header))
    place = _checksum_place(content)
    content[place] = hashlib.sha256(content).hexdigest().encode()
    atomic_write(path, bytes(content))


def _checksum_place(content: bytes | bytearray) -> slice:
    """The position of the checksum in a safetensors file; an empty slice without one."""
    end_of_header = 8 + int.from_bytes(content[:8], "little")
    key = f'"{_CHECKSUM_KEY}":"'.encode()
    start = content.find(key, 8, end_of_header)
    return slice(0, 0) if start < 0 else slice(start + len(key), start + len(key) + _DIGITS)


def load_weights(
    path: str | os.PathLike, model: torch.nn.Module | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """The weights (on the CPU) and the metadata of a file that `save_weights` wrote.

    Args:
        path: the file.
        model: a model to load the weights into. It, the saved model, or both may be wrapped in
            `torch.compile`, `DistributedDataParallel` or `DataParallel`.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is not safetensors, or is damaged; or the weights do not fit `model`,
            or are not finite.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {path}")
    safetensors = _safetensors()
    _verify_weights(path)
    try:
        with safetensors.safe_open(str(path), framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path} is not a safetensors file: {error}") from error
    if model is not None:
        load_into(model, weights, path)
    return weights, json.loads(header.get(_METADATA_KEY, "{}"))


def load_into(model: torch.nn.Module, weights: dict[str, torch.Tensor], source: Path) -> None:
    """Load weights into `model`.

    Raises:
        ValueError: they belong to another model, or are NaN or infinite; the message is one line
            that names the file `source` and the tensors.
    """
    check_finite(model, weights, source)
    try:
        load_plain_state(model, weights)
    except RuntimeError as error:
        raise ValueError(what_does_not_fit(model, weights, source)) from error


def _verify_weights(path: Path) -> None:
    """Raise ValueError where a file has a checksum that does not match."""
    content = bytearray(path.read_bytes())
    place = _checksum_place(content)
    said = bytes(content[place])
    if said:
        content[place] = _OPEN_CHECKSUM.encode()
        if said != hashlib.sha256(content).hexdigest().encode():
            raise ValueError(
                f"{path} is damaged: its checksum does not match. Take another copy; a file that "
                "was changed on purpose is written with sightline.train.save_weights"
            )


def save_state(path: str | os.PathLike, state: dict[str, Any]) -> None:
    """Write a training state: nested dicts, lists, tuples, numbers, strings and tensors.

    The file can be loaded with `torch.load(path, weights_only=True)`, and ends with a checksum of
    everything before it.

    Raises:
        OSError: the disk is full or the folder cannot be written; the earlier file is unchanged.
    """
    # Into memory first: torch's own writer turns a full disk into a vague RuntimeError.
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = bytearray(buffer.getvalue())
    # The file is a zip archive, so the checksum is its comment: the last field of its last record,
    # which contains the length of the comment.
    content[-2:] = (len(_MARK) + _DIGITS).to_bytes(2, "little")
    content += _MARK + hashlib.sha256(content).hexdigest().encode()
    atomic_write(path, bytes(content), keeps="training can continue from it with resume; ")


def load_state(path: str | os.PathLike) -> dict[str, Any]:
    """The state that `save_state` wrote, tensors on the CPU.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: the file is damaged, or contains anything but plain values and tensors.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"nothing to resume from: no {path}")
    content = path.read_bytes()
    before, mark, said = content[-len(_MARK) - _DIGITS :].partition(_MARK)
    # A file without the mark is of an earlier version, or damaged only in the mark.
    if mark and not before:
        digest = hashlib.sha256(memoryview(content)[: -len(_MARK) - _DIGITS]).hexdigest()
        if said != digest.encode():
            raise ValueError(f"{path} is damaged: its checksum does not match")
    try:
        return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(f"{path} is damaged or not a training state: {reason}") from error


def random_state() -> dict[str, Any]:
    """The state of Python's, NumPy's and torch's global generators, as plain values."""
    _, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    return {
        "python": random.getstate(),
        "numpy": {
            "keys": torch.from_numpy(np.asarray(keys).astype(np.int64)),
            "position": int(position),
            "has_gauss": int(has_gauss),
            "cached": float(cached),
        },
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
    }


def set_random_state(state: dict[str, Any]) -> None:
    """Set the three global generators (and CUDA's, where there is a device) from `random_state`."""
    version, keys, gauss = state["python"]
    random.setstate((version, tuple(keys), gauss))
    saved = state["numpy"]
    keys = saved["keys"].numpy().astype(np.uint32)
    np.random.set_state(  # noqa: NPY002
        ("MT19937", keys, saved["position"], saved["has_gauss"], saved["cached"])
    )
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
