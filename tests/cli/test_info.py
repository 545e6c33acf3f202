import importlib
import json
import os
import subprocess
import sys

import pytest

from sightline.cli import info, main

from ..fresh import run


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


def test_an_unknown_instruction_set_is_a_no_for_arrays_and_tensors():
    code = "import sys; from sightline.cli import main; sys.exit(main(['info', '--json']))"
    ran = run(code, env={"SIGHTLINE_ISA": "foo"})
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    for name in ("instructions", "ops on arrays", "ops on tensors"):
        assert rows[name].startswith("no: SIGHTLINE_ISA"), rows[name]
    assert "foo" in rows["ops on arrays"]


@pytest.mark.parametrize("error", ["ImportError", "OSError"])
def test_a_torch_that_does_not_load_leaves_ops_on_arrays(tmp_path, error):
    (tmp_path / "torch.py").write_text(f"raise {error}('libtorch.so is broken')")
    script = (
        "import json, numpy as np; from sightline import metrics, ops; from sightline.cli import "
        "info; boxes = np.array([[0.0, 0, 2, 2]]); assert ops.box_iou(boxes, boxes) == 1; "
        "assert len(ops.nms(boxes, np.ones(1), 0.5)) == 1; print(json.dumps(dict(info.gather())))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)
    assert rows["ops on arrays"] == "yes"
    assert rows["ops on tensors"] == "no: torch cannot be imported (libtorch.so is broken)"
