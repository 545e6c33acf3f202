"""What two runs must have in common to be the same run."""

import torch
from safetensors.torch import load_file

from sightline.train import load_state
from sightline.train.history import TIMING_COLUMNS, read_results


def bits(folder):
    """Every weight, average, optimizer moment and generator of a run, as bytes."""
    state = load_state(folder / "weights" / "last.state.pt")

    def flat(value):
        if isinstance(value, torch.Tensor):
            return value.numpy().tobytes()
        if isinstance(value, dict):
            return {k: flat(v) for k, v in value.items() if k not in TIMING_COLUMNS}
        if isinstance(value, (list, tuple)):
            return [flat(item) for item in value]
        return value

    files = {
        name: {k: v.numpy().tobytes() for k, v in load_file(folder / "weights" / name).items()}
        for name in ("best.safetensors", "last.safetensors")
    }
    return flat(state), files


def results_without_times(folder):
    return [
        {k: v for k, v in row.items() if k not in TIMING_COLUMNS}
        for row in read_results(folder / "results.csv")
    ]
