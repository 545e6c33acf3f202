from sightline.train.history import History, read_results


def test_results_are_read_as_they_were_and_hold_no_formula(tmp_path):
    rows = [{"epoch": 1, "=1+1": -0.5, "val/AP": 0.25}, {"epoch": 2, "val/AP": -1.0}]
    path = tmp_path / "results.csv"
    path.write_text(History("val/AP", rows).to_csv())
    assert path.read_text().splitlines() == ["epoch,'=1+1,val/AP", "1,-0.5,0.25", "2,,-1.0"]
    assert read_results(path) == rows
