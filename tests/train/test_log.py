import io

import pytest

from sightline.train.log import Log, duration, epoch_line


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (8.4, "8 s"), (59.6, "1 m 00 s"), (125, "2 m 05 s"), (3780, "1 h 03 m")],
)
def test_duration_reads_as_people_say_it(seconds, text):
    assert duration(seconds) == text


def test_epoch_line_has_losses_metrics_rate_and_speed():
    row = {
        "epoch": 7,
        "lr": 0.00123,
        "train/loss": 1.5,
        "train/class_loss": 1.0,
        "train/box_loss": 0.5,
        "val/loss": 1.25,
        "val/AP50": 0.5,
        "seconds": 2.0,
        "images_per_second": 210.4,
        "data_fraction": 0.031,
    }
    assert epoch_line(row, epochs=30, best=True) == (
        "epoch  7/30*  train loss 1.5000 (class 1.0000 box 0.5000)  val loss 1.2500  AP50 0.5000  "
        "lr 0.0012  210 img/s  data 3 %"
    )


@pytest.mark.parametrize(
    ("speed", "text"),
    [(0.074, "0.074 img/s"), (3.21, "3.2 img/s"), (9.96, "10 img/s"), (0, "0 img/s")],
)
def test_slow_training_shows_its_speed(speed, text):
    row = {"epoch": 1, "lr": 0.1, "images_per_second": speed, "data_fraction": 0.0}
    assert f"  {text}  " in epoch_line(row, epochs=1, best=False)


def test_names_out_of_data_make_no_line_of_their_own():
    stream = io.StringIO()
    log = Log(stream)
    log.warn("cat\nepoch 2/2 \x1b[2J")
    log.table([("data.path", "a\x1bb\nc")])
    assert stream.getvalue() == ("warning: cat epoch 2/2 \\x1b[2J\n  data.path  a\\x1bb\\nc\n")


def test_a_line_that_cannot_be_written_ends_nothing():
    class Full(io.StringIO):
        def write(self, _):
            raise OSError(28, "No space left on device")

    Log(Full()).line("epoch 1/2")


def test_every_learning_rate_has_its_name_and_none_is_needed():
    row = {"epoch": 1, "lr_a": 0.1, "lr_b": 0.25, "images_per_second": 10, "data_fraction": 0}
    assert "  lr_a 0.1  lr_b 0.25  10 img/s" in epoch_line(row, epochs=1)
    del row["lr_a"], row["lr_b"]
    assert "lr" not in epoch_line(row, epochs=1)


def test_what_is_not_defined_is_a_dash():
    row = {"epoch": 1, "lr": 0.1, "val/AP50": float("nan"), "images_per_second": 1}
    assert "AP50 -  lr" in epoch_line(row | {"data_fraction": 0}, epochs=1)
