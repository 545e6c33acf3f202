"""The time that training waits for data: measured per epoch, and a hint where it is long."""

import io
import os
import time

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

from sightline.train import batches, fit
from sightline.train.batches import waiting_hint
from sightline.train.log import Log


class Slow(TensorDataset):
    """Six samples that take most of the time of an epoch."""

    def __getitem__(self, index):
        time.sleep(0.005)
        return super().__getitem__(index)


def lines_of(data_set, epochs):
    loader = DataLoader(data_set, batch_size=2)
    model, file = torch.nn.Linear(3, 2), io.StringIO()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    loss = torch.nn.CrossEntropyLoss()
    history = fit(model, loader, optimizer=optimizer, loss=loss, epochs=epochs, log=Log(file))
    return file.getvalue().splitlines(), history


SAMPLES = torch.randn(6, 3), torch.zeros(6, dtype=torch.long)


def test_a_long_wait_is_told_once_with_what_shortens_it(monkeypatch):
    monkeypatch.setattr(batches, "_LONG_WAIT", 0.01)
    monkeypatch.setattr(batches, "_LONG_SHARE", 0.001)  # another program may slow the steps down
    lines, history = lines_of(Slow(*SAMPLES), epochs=3)
    shares = history.column("data_fraction")
    assert all(0.001 < share <= 1 for share in shares)
    hints = [number for number, line in enumerate(lines) if line.startswith("hint: ")]
    assert len(hints) == 1 and lines[hints[0] - 1].startswith("epoch 2/3")
    assert f"waited for data during {100 * shares[1]:.0f} % of this epoch" in lines[hints[0]]


def test_a_wait_of_less_than_a_second_is_not_told():
    lines, _ = lines_of(Slow(*SAMPLES), epochs=2)
    assert not any("hint" in line for line in lines)


@pytest.mark.parametrize(
    ("cpus", "workers", "said"),
    [
        (4, 0, "data.workers=4 loads images in as many processes, now 0"),
        (64, 2, "data.workers=8 loads images in as many processes, now 2"),
        (2, 2, "data.cache_mb= keeps more decoded images"),
        (1, 0, "data.cache_mb= keeps more decoded images"),
    ],
)
def test_the_hint_fits_the_machine(monkeypatch, cpus, workers, said):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(cpus)), raising=False)
    loader = DataLoader(TensorDataset(*SAMPLES))
    loader.num_workers = workers
    assert said in waiting_hint(4.0, 10.0, loader)
    assert waiting_hint(2.9, 10.0, loader) is None
    assert waiting_hint(4.0, 10.0, [1, 2, 3]) is None
