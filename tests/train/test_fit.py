import io

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import DataLoader

from sightline.train import EarlyStopping, Log, evaluate, fit, load_state, load_weights
from sightline.train.history import read_results

from .run_bits import bits, results_without_times
from .toy import ToyClassifier, collate, plain_collate, toy_run, toy_samples


class Killed(Exception):
    pass


def kill_after(epoch):
    def call(row, model):
        if row["epoch"] == epoch:
            raise Killed

    return call


def test_fit_lowers_the_loss_and_fills_the_run_folder(tmp_path):
    history = fit(**toy_run(6), out=tmp_path / "run")
    losses = history.column("val/loss")
    assert len(losses) == 6 and losses[-1] < losses[0]
    assert history.best_epoch == 1 + int(np.argmin(losses))
    assert history.best_value == min(losses)
    names = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*.*")}
    assert names == {
        "results.csv",
        "events.jsonl",
        "weights/best.safetensors",
        "weights/last.safetensors",
        "weights/last.state.pt",
        "weights/previous.state.pt",
    }
    assert {"train/class_loss", "train/size_loss", "val/loss", "lr"} <= history.rows[0].keys()
    assert read_results(tmp_path / "run" / "results.csv") == history.rows


@pytest.fixture(scope="module", params=["one-cycle", "plateau", "step"])
def whole(request, tmp_path_factory):
    """A run that was never stopped, by schedule."""
    folder = tmp_path_factory.mktemp(request.param)
    fit(**toy_run(schedule=request.param), out=folder / "run")
    return request.param, folder / "run"


@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_run_stopped_at_any_epoch_and_resumed_has_the_same_bits(tmp_path, stop, whole):
    schedule, never_stopped = whole
    with pytest.raises(Killed):
        options = {"out": tmp_path / "parts", "on_epoch_end": [kill_after(stop)]}
        fit(**toy_run(schedule=schedule), **options)
    # Another seed: everything that matters has to come from the state file.
    fit(**toy_run(schedule=schedule, seed=99), out=tmp_path / "parts", resume=True)
    assert bits(tmp_path / "parts") == bits(never_stopped)
    assert results_without_times(tmp_path / "parts") == results_without_times(never_stopped)


def test_a_run_resumed_after_every_epoch_has_the_same_bits(tmp_path):
    fit(**toy_run(), out=tmp_path / "whole")
    for epoch in range(1, 5):
        with pytest.raises(Killed):
            fit(
                **toy_run(seed=epoch if epoch > 1 else 0),
                out=tmp_path / "parts",
                resume=epoch > 1,
                on_epoch_end=[kill_after(epoch + 1) if epoch < 4 else kill_after(4)],
            )
    fit(**toy_run(seed=7), out=tmp_path / "parts", resume=True)
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")


def flip_a_bit(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def test_a_damaged_state_is_refused_and_the_epoch_before_leads_to_the_same_bits(tmp_path):
    fit(**toy_run(), out=tmp_path / "whole")
    with pytest.raises(Killed):
        fit(**toy_run(), out=tmp_path / "parts", on_epoch_end=[kill_after(4)])
    weights = tmp_path / "parts" / "weights"
    flip_a_bit(weights / "last.state.pt")
    offer = r"last\.state\.pt is damaged.*\(epoch 2\) is intact: .*resume=.*previous\.state\.pt"
    with pytest.raises(ValueError, match=offer):
        fit(**toy_run(seed=9), out=tmp_path / "parts", resume=True)
    fit(**toy_run(seed=9), out=tmp_path / "parts", resume="previous")
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")
    for name in ("last", "previous"):
        flip_a_bit(weights / f"{name}.state.pt")
    with pytest.raises(ValueError, match=r"damaged.*; there is no earlier state to resume from"):
        fit(**toy_run(), out=tmp_path / "parts", resume=True)


def test_resuming_under_other_conditions_is_warned_of(tmp_path, monkeypatch):
    fit(**toy_run(1), out=tmp_path)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 7)
    text = io.StringIO()
    fit(**(toy_run(2) | {"log": Log(text)}), out=tmp_path, resume=True)
    assert "warning: bits may differ" in text.getvalue()
    assert "threads was 1, is 7" in text.getvalue()


def test_early_stopping_counts_on_over_a_resume(tmp_path):
    never_better = {"early_stopping": EarlyStopping(patience=3, min_delta=1e9)}
    whole = fit(**(toy_run(9) | never_better), out=tmp_path / "whole")
    assert len(whole.rows) == 4 and whole.stopped == "early stopping"
    with pytest.raises(Killed):
        again = {"early_stopping": EarlyStopping(patience=3, min_delta=1e9)}
        fit(**(toy_run(9) | again), out=tmp_path / "parts", on_epoch_end=[kill_after(3)])
    again = {"early_stopping": EarlyStopping(patience=3, min_delta=1e9)}
    parts = fit(**(toy_run(9) | again), out=tmp_path / "parts", resume=True)
    assert len(parts.rows) == 4 and bits(tmp_path / "parts") == bits(tmp_path / "whole")
    # A run that has ended stays ended.
    again = {"early_stopping": EarlyStopping(patience=3, min_delta=1e9)}
    ended = fit(**(toy_run(9) | again), out=tmp_path / "parts", resume=True)
    assert ended.stopped == "early stopping" and len(ended.rows) == 4


@pytest.mark.parametrize(("batch", "finished"), [(2, 0), (13, 2)])
def test_ctrl_c_returns_and_resuming_repeats_the_unfinished_epoch(tmp_path, batch, finished):
    fit(**toy_run(), out=tmp_path / "whole")
    calls = []

    def interrupting(samples):
        calls.append(1)
        if len(calls) == batch:  # of 5 an epoch
            raise KeyboardInterrupt
        return collate(samples)

    loader = DataLoader(toy_samples(24), batch_size=5, shuffle=True, collate_fn=interrupting)
    history = fit(**(toy_run() | {"train_loader": loader}), out=tmp_path / "parts")
    assert history.stopped == "interrupted" and len(history.rows) == finished
    fit(**toy_run(seed=5), out=tmp_path / "parts", resume=True)
    assert bits(tmp_path / "parts") == bits(tmp_path / "whole")


def test_saved_weights_are_the_averaged_ones_and_the_raw_ones_are_in_the_state(tmp_path):
    run = toy_run(2)
    fit(**run, out=tmp_path, metadata={"class_names": ["a", "b", "c"]})
    weights, metadata = load_weights(tmp_path / "weights" / "last.safetensors")
    averaged, raw = run["ema"].model.state_dict(), run["model"].state_dict()
    assert all(torch.equal(weights[name], averaged[name]) for name in averaged)
    assert not torch.equal(weights["head.weight"], raw["head.weight"])
    state = load_state(tmp_path / "weights" / "last.state.pt")["parts"]["model"]
    assert all(torch.equal(state[name], raw[name]) for name in raw)
    assert metadata["class_names"] == ["a", "b", "c"] and metadata["epoch"] == 2


def test_validation_runs_in_evaluation_mode_and_restores_the_mode():
    model = ToyClassifier().train()
    loader = DataLoader(toy_samples(9), batch_size=4, collate_fn=plain_collate)
    first, second = evaluate(model, loader), evaluate(model, loader)
    assert first == second and model.training  # dropout would differ
    images, targets = plain_collate(toy_samples(9))
    with torch.no_grad():
        whole = model.eval()(images, targets)
    assert first["val/loss"] == pytest.approx(float(sum(whole.values())), rel=1e-6)


def test_metric_sees_every_validation_image_and_its_numbers_become_columns():
    class Accuracy:
        def reset(self):
            self.right = self.seen = 0

        def update(self, predictions, targets):
            labels = torch.stack([t["label"] for t in targets])
            self.right += int((predictions.argmax(1) == labels).sum())
            self.seen += len(labels)

        def compute(self):
            return {"accuracy": self.right / self.seen, "seen": self.seen}

    history = fit(**toy_run(3), metric=Accuracy(), monitor="val/accuracy", mode="max")
    assert history.column("val/seen") == [9, 9, 9]
    assert history.best_value == max(history.column("val/accuracy"))


def test_without_validation_the_last_epoch_is_the_best(tmp_path):
    run = toy_run(3) | {"val_loader": None, "early_stopping": None}
    history = fit(**run, out=tmp_path)
    assert history.monitor == "train/loss" and history.best_epoch == 3
    best, last = (load_file(tmp_path / "weights" / f"{n}.safetensors") for n in ("best", "last"))
    assert all(torch.equal(best[name], last[name]) for name in last)


def test_where_the_watched_metric_is_never_a_number_the_last_epoch_is_the_best(tmp_path):
    class Undefined:
        def reset(self):
            self.epochs = getattr(self, "epochs", 0) + 1

        def update(self, predictions, targets):
            pass

        def compute(self):
            return {"AP": 0.5 if self.epochs == self.defined else float("nan")}

    for defined, best in ((9, 3), (2, 2)):
        evaluator, said = Undefined(), io.StringIO()
        evaluator.defined, out = defined, tmp_path / str(best)
        run = toy_run(3) | {"metric": evaluator, "monitor": "val/AP", "mode": "max"}
        history = fit(**run | {"log": Log(said)}, out=out)
        assert history.best_epoch == best
        assert load_weights(out / "weights" / "best.safetensors")[1]["epoch"] == best
        warned = "val/AP was NaN in every epoch: the best weights are the last ones"
        assert (warned in said.getvalue()) == (defined == 9)


def test_non_finite_loss_names_the_term_the_epoch_and_the_step():
    class Exploding(ToyClassifier):
        calls = 0

        def forward(self, images, targets=None):
            losses = super().forward(images, targets)
            if self.training:
                self.calls += 1
                if self.calls == 7:
                    losses["size"] = losses["size"] * float("nan")
            return losses

    run = toy_run() | {"val_loader": None, "early_stopping": None, "ema": None}
    model = Exploding()
    run |= {"model": model, "optimizer": torch.optim.SGD(model.parameters(), 0.1), "schedule": None}
    with pytest.raises(FloatingPointError, match=r"'size' is nan in epoch 2, step 2"):
        fit(**run)


def test_clip_norm_bounds_the_step():
    run = toy_run(1) | {"schedule": None, "clip_norm": 1e-3, "ema": None}
    run["train_loader"] = DataLoader(toy_samples(5), batch_size=5, collate_fn=plain_collate)
    run["optimizer"] = torch.optim.SGD(run["model"].parameters(), lr=1.0)
    before = [p.detach().clone() for p in run["model"].parameters()]
    fit(**run)
    moved = torch.cat([(p - b).flatten() for p, b in zip(run["model"].parameters(), before)])
    assert float(moved.detach().norm()) == pytest.approx(1e-3, rel=1e-2)


def test_a_torch_scheduler_moves_once_an_epoch():
    run = toy_run(3) | {"schedule": None}
    run["optimizer"] = torch.optim.SGD(run["model"].parameters(), lr=0.4)
    run["schedule"] = torch.optim.lr_scheduler.StepLR(run["optimizer"], 1, gamma=0.5)
    assert fit(**run).column("lr") == [0.4, 0.2, 0.1]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"epochs": 0}, "`epochs` must be >= 1, got 0"),
        ({"clip_norm": 0.0}, "`clip_norm` must be > 0, got 0.0"),
        ({"resume": True}, "`resume` needs `out`"),
        ({"amp": "fp8"}, "`amp` must be .*'fp8'"),
        ({"amp": "fp16"}, "needs a GPU"),
        ({"monitor": "val/mystery"}, "cannot tell whether a larger 'val/mystery' is better"),
        ({"monitor": "val/los", "mode": "min"}, "'val/los' is not among .*did you mean 'val/loss'"),
        ({"train_loader": []}, "`train_loader` has no batch"),
        ({"val_loader": []}, "`val_loader` has no batch"),
        ({"train_loader": iter(())}, "`train_loader` gave no batch in epoch 1"),
    ],
)
def test_fit_rejects(change, message):
    with pytest.raises(ValueError, match=message):
        fit(**(toy_run(1) | change))


def test_fit_rejects_a_model_that_returns_no_dict():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    model.forward = lambda images, targets=None: images.mean()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    run = toy_run(1) | {"model": model, "optimizer": optimizer, "schedule": None, "ema": None}
    with pytest.raises(TypeError, match="must return a dict of loss terms, got Tensor in epoch 1"):
        fit(**run)


def test_a_run_folder_is_never_overwritten(tmp_path):
    fit(**toy_run(1), out=tmp_path)
    before = bits(tmp_path)
    with pytest.raises(FileExistsError, match="already holds a run"):
        fit(**toy_run(1, seed=3), out=tmp_path)
    assert bits(tmp_path) == before


def test_states_keep_the_names_of_their_parts_and_older_ones_load(tmp_path):
    fit(**toy_run(1), out=tmp_path)
    names = ["model", "optimizer", "precision", "schedule", "ema"]
    state = load_state(tmp_path / "weights" / "last.state.pt")
    assert list(state["parts"]) == [*names, "early_stopping", "best", "history"]
    assert state["parts"]["early_stopping"].keys() == {"waited", "best"}
    assert state["parts"]["schedule"].keys() == {"steps", "scheduler", "warmup"}


def test_resume_says_what_does_not_fit(tmp_path):
    fit(**toy_run(1), out=tmp_path)
    with pytest.raises(ValueError, match=r"was written by a run with .*ema"):
        fit(**(toy_run(2) | {"ema": None}), out=tmp_path, resume=True)
    with pytest.raises(FileNotFoundError, match="nothing to resume"):
        fit(**toy_run(2), out=tmp_path / "elsewhere", resume=True)


def test_log_prints_one_line_an_epoch():
    text = io.StringIO()
    fit(**(toy_run(3) | {"log": Log(text)}))
    lines = text.getvalue().splitlines()
    assert len(lines) == 3
    for part in ("epoch 2/3", "train loss", "class", "val loss", "lr", "img/s", "data", "ETA"):
        assert part in lines[1], part


def test_live_bar_leaves_only_the_epoch_lines():
    text = io.StringIO()
    fit(**(toy_run(2) | {"log": Log(text, live=True)}))
    assert sum("train loss" in line for line in text.getvalue().splitlines()) == 2
