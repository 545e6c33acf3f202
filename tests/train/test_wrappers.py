"""Weights of models within torch.compile, DistributedDataParallel and DataParallel."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import distributed as dist
from torch import nn

import sightline
from sightline.data import Preprocess
from sightline.models import create_model
from sightline.nn.wrappers import load_plain_state, plain_state, unwrapped
from sightline.train import EMA, fit, load_weights, save_weights
from sightline.train.metadata import run_metadata

from .run_bits import bits
from .toy import ToyClassifier, toy_run


def compiled(model):
    return torch.compile(model, backend="eager")


@pytest.fixture(scope="module")
def in_ddp(tmp_path_factory):
    """Wraps a model as in a run of one process."""
    store = tmp_path_factory.mktemp("group") / "store"
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=0, world_size=1)
    yield nn.parallel.DistributedDataParallel
    dist.destroy_process_group()


WRAPPERS = {
    "compiled": compiled,
    "DataParallel": nn.DataParallel,
    "compiled DataParallel": lambda model: compiled(nn.DataParallel(model)),
    "twice": lambda model: nn.DataParallel(nn.DataParallel(model)),
}


@pytest.mark.parametrize("wrap", WRAPPERS.values(), ids=WRAPPERS)
def test_state_has_the_names_of_the_model_and_loads_into_either(wrap):
    model, other = ToyClassifier(), ToyClassifier()
    wrapped = wrap(model)
    assert unwrapped(wrapped) is model
    names = list(model.state_dict())
    assert list(wrapped.state_dict()) != names and list(plain_state(wrapped)) == names
    for state in (wrapped.state_dict(), plain_state(wrapped)):
        for into in (other, wrap(other)):
            nn.init.zeros_(other.head.weight)
            load_plain_state(into, state)
            assert torch.equal(other.head.weight, model.head.weight)


def test_state_of_a_model_with_a_compiled_part():
    model = nn.Sequential(nn.Linear(2, 3), compiled(nn.Linear(3, 1)))
    assert list(plain_state(model)) == ["0.weight", "0.bias", "1.weight", "1.bias"]
    plain = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 1))
    for state in (plain.state_dict(), plain_state(model), model.state_dict()):
        load_plain_state(model, state)
        load_plain_state(plain, state)


class Holder(nn.Module):
    """A user's own wrapper, whose parts have the names that those of torch take."""

    def __init__(self):
        super().__init__()
        self.module = nn.Linear(2, 2)
        self._orig_mod = nn.Linear(2, 2)


@pytest.mark.parametrize("wrap", [lambda m: m, *WRAPPERS.values()], ids=["plain", *WRAPPERS])
def test_parts_that_are_really_called_module_keep_their_names(wrap):
    model, other = Holder(), Holder()
    names = ["module.weight", "module.bias", "_orig_mod.weight", "_orig_mod.bias"]
    assert list(plain_state(wrap(model))) == names
    for state in (wrap(model).state_dict(), plain_state(wrap(model))):
        for into in (other, wrap(other)):
            load_plain_state(into, state)
            assert all(map(torch.equal, other.state_dict().values(), model.state_dict().values()))
            nn.init.zeros_(other.module.weight), nn.init.zeros_(other._orig_mod.weight)


def test_weights_of_another_model_are_refused_by_the_names_of_the_model():
    with pytest.raises(RuntimeError, match=r'Unexpected key\(s\) in state_dict: "other.weight"'):
        load_plain_state(
            compiled(ToyClassifier()),
            {**ToyClassifier().state_dict(), "other.weight": torch.ones(1)},
        )


def test_files_of_a_wrapped_model_load_without_it(tmp_path):
    model, path = ToyClassifier(), tmp_path / "weights.safetensors"
    save_weights(path, compiled(model), {"note": "x"})
    weights, metadata = load_weights(path)
    ToyClassifier().load_state_dict(weights)
    assert metadata == {"note": "x"}
    older = tmp_path / "older.safetensors"  # names as torch gives them
    save_weights(older, compiled(model).state_dict())
    for file in (path, older):
        for wrap in (lambda m: m, compiled, nn.DataParallel):
            other = ToyClassifier()
            load_weights(file, wrap(other))
            assert torch.equal(other.head.weight, model.head.weight)


def test_fit_of_a_compiled_model_writes_what_that_of_the_model_writes(tmp_path):
    histories = {}
    for name, wrap in (("plain", lambda m: m), ("compiled", compiled)):
        run = toy_run(2)
        trained = run["model"]
        run["model"] = wrap(trained)
        run["ema"] = EMA(run["model"], decay=0.9)
        histories[name] = fit(**run, out=tmp_path / name, restore_best=True)
        best = load_file(tmp_path / name / "weights" / "best.safetensors")
        assert all(torch.equal(best[k], v) for k, v in trained.state_dict().items())
    assert histories["plain"].column("val/loss") == histories["compiled"].column("val/loss")
    assert bits(tmp_path / "plain") == bits(tmp_path / "compiled")


@pytest.mark.parametrize("averaged", [False, True])
def test_run_of_a_compiled_model_resumes_without_it_and_back(tmp_path, averaged):
    def train(folder, epochs, wrap, **options):
        run = toy_run(3)
        run["model"] = wrap(run["model"])
        run["ema"] = EMA(run["model"], decay=0.9) if averaged else None
        fit(**{**run, "epochs": epochs}, out=folder, **options)
        return bits(folder)

    expected = train(tmp_path / "one", 3, lambda m: m)
    train(tmp_path / "several", 1, compiled)
    train(tmp_path / "several", 2, lambda m: m, resume=True)
    assert train(tmp_path / "several", 3, compiled, resume=True) == expected


def test_fit_in_ddp_writes_and_resumes_weights_of_the_model(tmp_path, in_ddp):
    for name, wrap in (("ddp", in_ddp), ("compiled", lambda m: in_ddp(compiled(m)))):
        for epochs, resume in ((1, False), (2, True)):
            run = toy_run(2)
            run |= {"model": wrap(run["model"]), "ema": None, "epochs": epochs, "resume": resume}
            fit(**run, out=tmp_path / name)
        ToyClassifier().load_state_dict(load_file(tmp_path / name / "weights/last.safetensors"))


def test_load_takes_a_compiled_model_and_finds_how_one_was_made(tmp_path):
    def network():
        return nn.Sequential(nn.Conv2d(3, 2, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten())

    path, model = tmp_path / "weights.safetensors", network()
    settings = {"class_names": ["a", "b"], "preprocess": Preprocess(size=(16, 16))}
    save_weights(path, compiled(model))
    picture = np.random.default_rng(0).integers(0, 256, (40, 50, 3), np.uint8)
    into = [network(), compiled(network())]
    found = [
        sightline.load(path, model=m, task="classify", **settings).predict(picture) for m in into
    ]
    assert torch.equal(unwrapped(into[1])[0].weight, model[0].weight)
    assert found[0].probabilities.tolist() == found[1].probabilities.tolist()
    created = create_model("resnet18", 2)
    assert run_metadata(compiled(created), [], None)["model"] == created.created_with
