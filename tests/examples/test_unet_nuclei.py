import json

import numpy as np
import pytest
import torch
from PIL import Image

from sightline.metrics import encode_masks

from .conftest import load_example

example = load_example("unet_nuclei")


def test_it_segments_digits_and_resumes_to_the_same_bits(stopped_and_resumed):
    run = stopped_and_resumed(example.main, "--epochs", "2")
    assert json.loads((run / "numbers.json").read_text())["test dice"] > 0.75
    assert np.asarray(Image.open(run / "pictures.png")).std() > 20


def test_it_learns_nuclei(shared_data, tmp_path, monkeypatch):
    samples = example.read_nuclei(shared_data / "nuclei", "val")
    assert len(samples) == 30 and {image.shape for image, _ in samples} > {(1, 256, 256)}
    assert all(image.shape == mask.shape and 0 < mask.mean() < 0.7 for image, mask in samples)
    # White nuclei on black and violet ones on white, both with the same pixels as their masks.
    contrast = [float(image[mask > 0].mean() - image[mask == 0].mean()) for image, mask in samples]
    assert min(map(abs, contrast)) > 0.3 and min(contrast) < 0 < max(contrast)
    splits = {"train": samples[:16], "val": samples[16:18], "test": samples[18:24]}
    monkeypatch.setattr(example, "read_nuclei", lambda folder, split: splits[split])
    assert example.main(["nuclei", "--epochs", "6", "--out", str(tmp_path / "run")]) == 0
    assert json.loads((tmp_path / "run" / "numbers.json").read_text())["test dice"] > 0.5


def test_nuclei_are_read_with_the_union_of_their_masks(tmp_path):
    pixels = np.zeros((4, 6), np.uint8)
    pixels[:2] = 200
    (tmp_path / "annotations").mkdir()
    (tmp_path / "test").mkdir()
    nuclei = np.zeros((2, 4, 6), bool)
    nuclei[0, :2, :2], nuclei[1, :2, 1:4] = True, True
    masks = [
        {"size": mask["size"], "counts": mask["counts"].decode()} for mask in encode_masks(nuclei)
    ]
    for name in ("a.png", "b.png"):
        Image.fromarray(pixels).save(tmp_path / "test" / name)
    content = {
        "images": [{"id": 5, "file_name": "a.png"}, {"id": 6, "file_name": "b.png"}],
        "annotations": [{"image_id": 5, "segmentation": mask} for mask in masks],
    }
    (tmp_path / "annotations" / "test.json").write_text(json.dumps(content))
    (image, mask), (_, empty) = example.read_nuclei(tmp_path, "test")
    assert (mask[0].numpy() == nuclei.any(0)).all() and not empty.any()
    assert float(image.mean()) == pytest.approx(0, abs=1e-6)
    assert (image[0, 0] > 0).all() and (image[0, 3] < 0).all()


def test_dice_is_the_mean_over_pictures():
    metric = example.Dice()
    metric.reset()
    true = torch.tensor([[[[1.0, 1, 0, 0]]], [[[0.0, 0, 0, 0]]], [[[1.0, 1, 1, 0]]]])
    logits = torch.tensor([[[[3.0, -3, 3, -3]]], [[[-1.0, -1, -1, -1]]], [[[2.0, 2, 2, -2]]]])
    metric.update(logits, true)
    assert metric.compute()["dice"] == pytest.approx((2 * 1 / 4 + 1 + 1) / 3)


def test_the_loss_as_worked_by_hand():
    # Probability .5 everywhere: cross-entropy log 2; Dice 1 - (2 * 1 + 1) / (2 + 2 + 1).
    masks = torch.tensor([[[[1.0, 1, 0, 0]]]])
    losses = example.segmentation_loss(torch.zeros(1, 1, 1, 4), masks)
    assert losses["cross_entropy"].item() == pytest.approx(np.log(2))
    assert losses["dice"].item() == pytest.approx(0.4)


def test_the_network_takes_pictures_of_any_size():
    model = example.UNet(widths=(2, 3, 4)).eval()
    for size in ((7, 13), (4, 4), (16, 9)):
        assert model(torch.zeros(2, 1, *size)).shape == (2, 1, *size)


def test_crops_depend_on_the_epoch_and_the_picture_alone():
    crops = example.Crops(example.draw_digits("test"), 32)
    crops.set_epoch(3)
    image, mask = crops[1]
    torch.rand(5), crops[0]
    assert image.shape == mask.shape == (1, 32, 32)
    assert torch.equal(image, crops[1][0]) and torch.equal(mask, crops[1][1])
    crops.set_epoch(4)
    assert not torch.equal(image, crops[1][0])


def test_a_missing_folder_is_named(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        example.main([str(tmp_path / "none"), "--out", str(tmp_path / "run")])
    assert stop.value.code == 2
    assert "none/annotations/train.json: it must contain the masks" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["unet_nuclei", "dcgan_digits", "logistic_regression"])
def test_help_says_what_an_example_does(name, capsys):
    with pytest.raises(SystemExit) as stop:
        load_example(name).main(["--help"])
    said = capsys.readouterr().out
    assert stop.value.code == 0 and "--resume" in said and "run folder" in said
