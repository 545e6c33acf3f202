"""What importing the metrics costs."""

import subprocess
import sys


def test_metrics_and_reference_do_not_import_torch():
    program = (
        "import sys; import sightline.metrics, sightline.reference; "
        "sys.exit('torch imported' if 'torch' in sys.modules else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
