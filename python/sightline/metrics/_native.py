"""The native binding that the metrics use.

`sightline.ops` would import torch where it is installed, so metrics call the binding itself.
"""

from typing import Any

from sightline import _numpy

native: Any = _numpy  # compiled, without type stubs
