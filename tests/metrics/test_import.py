"""What importing the metrics costs."""

import subprocess
import sys

import pytest


def test_metrics_and_reference_do_not_import_torch():
    program = (
        "import sys; import sightline.metrics, sightline.reference; "
        "sys.exit('torch imported' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_metrics_load_what_is_used():
    program = (
        "import sys; from sightline.metrics import evaluate_coco; "
        "late = {'calibration', 'classification', 'confidence', 'curves', 'error_breakdown'}; "
        "loaded = {m.rpartition('.')[2] for m in sys.modules if m.startswith('sightline.')}; "
        "sys.exit(', '.join(late & loaded) or None)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, f"loads {done.stderr}"


def test_every_name_of_the_metrics_is_there():
    from sightline import metrics

    assert set(metrics.__all__) == set(metrics._MODULE_OF) <= set(dir(metrics))
    assert all(getattr(metrics, name) is not None for name in metrics.__all__)
    with pytest.raises(AttributeError, match=r"'sightline\.metrics' has no attribute 'evaluate'"):
        metrics.evaluate  # noqa: B018
