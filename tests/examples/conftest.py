"""What the tests of the examples share: loading them, and runs that are stopped and resumed."""

import importlib.util
from pathlib import Path

import pytest
import torch

from sightline.train import Log

from ..train.run_bits import bits, results_without_times

FOLDER = Path(__file__).parents[2] / "examples"


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def stopped_and_resumed(tmp_path, monkeypatch):
    """A function that trains an example whole, and again with a stop after the first epoch.

    Returns the folder of the whole run after it has checked that both runs have the same bits.
    """

    def train(main, *words):
        torch.manual_seed(0)
        assert main([*words, "--out", str(tmp_path / "whole")]) == 0

        def interrupt(self, row, **options):
            raise KeyboardInterrupt

        parts = [*words, "--out", str(tmp_path / "parts")]
        with monkeypatch.context() as patch:
            patch.setattr(Log, "epoch", interrupt)
            torch.manual_seed(0)
            assert main(parts) == 130
        assert len(results_without_times(tmp_path / "parts")) == 1
        torch.manual_seed(1)
        assert main([*parts, "--resume"]) == 0
        assert bits(tmp_path / "whole") == bits(tmp_path / "parts")
        rows = results_without_times(tmp_path / "whole")
        assert len(rows) > 1 and rows == results_without_times(tmp_path / "parts")
        return tmp_path / "whole"

    return train
