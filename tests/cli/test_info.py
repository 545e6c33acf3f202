import importlib
import json

from sightline.cli import info, main


def test_info_names_every_part_and_reason(capsys):
    assert main(["info"]) == 0
    lines = capsys.readouterr().out.splitlines()
    names = {line.split("  ")[0] for line in lines}
    expected = {"sightline", "python", "numpy", "torch", "CUDA kernels", "CUDA device"}
    assert expected | {"ops on arrays", "ops on tensors", "extra [train]"} <= names
    for line in lines:
        if "  no" in line:
            assert ": " in line.split("  no", 1)[1], f"no reason in {line!r}"


def test_info_as_json_has_the_same_rows(capsys):
    assert main(["info", "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)) == [name for name, _ in info.gather()]


def test_a_missing_extra_is_named_with_its_command(monkeypatch):
    monkeypatch.setitem(info._EXTRAS, "demo", {"surely_not_installed": "surely-not-installed"})
    assert info._extra("demo") == (
        "no: surely-not-installed missing; pip install 'sightline[demo]'"
    )


def test_native_modules_that_are_missing_give_their_reason(monkeypatch):
    real = importlib.import_module

    def broken(name):
        if name in ("sightline._numpy", "sightline._load"):
            raise ImportError("library\nis gone")
        return real(name)

    monkeypatch.setattr(importlib, "import_module", broken)
    rows = dict(info.gather())
    assert rows["ops on arrays"] == "no: library is gone; reinstall sightline"
    assert rows["ops on tensors"] == rows["CUDA kernels"] == "no: library is gone"
