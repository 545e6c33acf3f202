"""Keeps the weights of the best epoch, for `restore_best`."""

from pathlib import Path

from torch import Tensor, nn

from sightline.nn.wrappers import load_plain_state, plain_state
from sightline.train.checkpoint import load_weights

__all__ = ["BestWeights"]


class BestWeights:
    """A copy, on the CPU, of the weights of `model` from its best epoch so far."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._weights: dict[str, Tensor] | None = None

    def keep(self) -> None:
        """Store the current weights: the epoch that has just ended is the best."""
        # cpu() alone would share the memory of a model that is already on the CPU.
        state = plain_state(self.model)
        self._weights = {name: value.detach().cpu().clone() for name, value in state.items()}

    def read(self, path: Path) -> None:
        """Read the weights from the file of a resumed run, if there is one."""
        if path.is_file():
            self._weights = load_weights(path)[0]

    def load_into(self, model: nn.Module) -> None:
        """Load the stored weights into `model`; without any, leave it unchanged."""
        if self._weights is not None:
            load_plain_state(model, self._weights)
