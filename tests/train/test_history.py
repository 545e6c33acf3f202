from sightline.train.history import History, read_results


def test_results_are_read_as_they_were_and_hold_no_formula(tmp_path):
    rows = [{"epoch": 1, "=1+1": -0.5, "val/AP": 0.25}, {"epoch": 2, "val/AP": -1.0}]
    path = tmp_path / "results.csv"
    path.write_text(History("val/AP", rows).to_csv())
    assert path.read_text().splitlines() == ["epoch,'=1+1,val/AP", "1,-0.5,0.25", "2,,-1.0"]
    assert read_results(path) == rows


def test_a_history_is_written_as_csv_where_a_path_is_given(tmp_path):
    history = History("val/loss", rows=[{"epoch": 1, "val/loss": 0.5}])
    text = history.to_csv(tmp_path / "history.csv")
    assert (tmp_path / "history.csv").read_text() == text == history.to_csv()
