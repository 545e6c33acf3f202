"""What importing the formats costs."""

import subprocess
import sys


def test_formats_import_numpy_and_nothing_heavier():
    heavy = ("torch", "PIL", "sklearn", "yaml", "sightline.data", "sightline.metrics")
    imports = ", ".join(f"sightline.formats.{name}" for name in ("coco", "folders", "voc", "yolo"))
    code = f"import sys, {imports}; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
