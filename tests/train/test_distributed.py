import json
import multiprocessing

import pytest
import torch
from torch import distributed, nn

from sightline.settings.groups import SettingsError
from sightline.settings.read import override_layer
from sightline.train import fit, resume_run, train_from_settings

from ..tiny import write_colours
from .toy import toy_run


def train_in_a_group(rank, folder, results):
    """One of two processes that train a wrapped model into one folder."""
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder}/sync", rank=rank, world_size=2
    )
    torch.manual_seed(0)
    model = nn.parallel.DistributedDataParallel(nn.Linear(4, 2))
    batches = [(torch.randn(3, 4), torch.tensor([0, 1, rank])) for _ in range(2)]
    options = {
        "optimizer": torch.optim.SGD(model.parameters(), 0.1),
        "loss": nn.CrossEntropyLoss(),
        "epochs": 2,
        "out": folder / "run",
        "metadata": {"rank": rank},
    }
    fit(model, batches, **options)
    distributed.barrier()
    try:
        fit(model, batches, **options, resume=True)
    except ValueError as error:
        results.put(str(error))
    distributed.destroy_process_group()


def test_of_two_processes_the_first_writes_alone(tmp_path):
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    processes = [
        context.Process(target=train_in_a_group, args=(rank, tmp_path, results)) for rank in (0, 1)
    ]
    for process in processes:
        process.start()
    said = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0
    assert all("resuming in 2 processes is not supported" in text for text in said)
    lines = (tmp_path / "run" / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["epoch", "epoch", "end"]


def test_a_run_from_settings_refuses_several_processes(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    data = write_colours(tmp_path / "data", count=2)
    layer = override_layer({"data": str(data), "out": str(tmp_path / "runs")})
    for call in (lambda: train_from_settings([layer]), lambda: resume_run(tmp_path / "run")):
        with pytest.raises(SettingsError, match=r"one of 2 processes .* start it without torchrun"):
            call()
    assert not (tmp_path / "runs").exists()


def test_processes_that_share_no_group_write_runs_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("RANK", "1")
    fit(**toy_run(1), out=tmp_path)
    assert (tmp_path / "weights" / "last.safetensors").exists()
