"""Prints the C symbols that the installed torch offers to stable-ABI extensions, one per line.

tests/packaging/stable_symbols_2_10.txt is its output with torch 2.10.0, the oldest
torch we load in:

    python -m venv build/abi/2.10.0 && build/abi/2.10.0/bin/pip install torch==2.10.0 numpy
    build/abi/2.10.0/bin/python tools/stable_symbols.py > tests/packaging/stable_symbols_2_10.txt
"""

import importlib.util
import pathlib
import re
import subprocess

C_NAME = re.compile(r"(aoti_torch|torch)_\w+")


def stable_symbols(library: pathlib.Path) -> set[str]:
    listing = subprocess.run(
        ["nm", "-D", "--defined-only", library], capture_output=True, text=True, check=True
    ).stdout
    names = (line.split()[-1] for line in listing.splitlines())
    return {name for name in names if C_NAME.fullmatch(name)}


def main() -> None:
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        raise SystemExit("torch is not installed in this environment")
    folder = pathlib.Path(spec.origin).parent / "lib"
    libraries = [folder / "libtorch_cpu.so", folder / "libtorch_cuda.so"]
    symbols = set().union(*(stable_symbols(path) for path in libraries if path.exists()))
    print(*sorted(symbols), sep="\n")


if __name__ == "__main__":
    main()
