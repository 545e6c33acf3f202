"""A run of `fit`, which has no settings, has a report too."""

import pytest

from sightline.report import write_report
from sightline.train import fit

from ..train.toy import toy_run


@pytest.mark.parametrize("validated", [True, False])
def test_the_report_shows_what_fit_wrote(tmp_path, validated):
    changes = {} if validated else {"val_loader": None, "early_stopping": None}
    fit(**(toy_run(2) | changes), out=tmp_path / "own")
    page = write_report(tmp_path / "own")
    text = page.read_text()
    assert "Trained for 2 epochs" in text and "results.csv" in text
    assert ("The best epoch was number" in text) == validated
    assert "config.yaml" not in text
    assert (tmp_path / "own" / "plots" / "loss.png").is_file()
