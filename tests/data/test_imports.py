"""What importing the data layer costs."""

import subprocess
import sys


def test_import_needs_no_torch_pillow_or_scikit_learn():
    heavy = ("torch", "PIL", "sklearn", "yaml")
    code = f"import sys, sightline.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
