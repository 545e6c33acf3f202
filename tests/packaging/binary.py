"""What a shared library or an object file holds, read with binutils."""

import re
import subprocess
from pathlib import Path

WIDE = {"avx512": re.compile(r"%zmm"), "avx2": re.compile(r"%ymm"), "vex": re.compile(r"\tv[a-z]")}


def output(*command: str | Path) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def needed(library: Path) -> list[str]:
    return re.findall(r"\(NEEDED\).*\[(.*)\]", output("readelf", "-d", library))


def runtime_paths(library: Path) -> list[str]:
    return re.findall(r"\((?:RPATH|RUNPATH)\).*\[(.*)\]", output("readelf", "-d", library))


def undefined_symbols(library: Path) -> set[str]:
    """Those without a version: system libraries give theirs one."""
    lines = output("nm", "-D", "--undefined-only", library).splitlines()
    return {line.split()[-1] for line in lines if "@" not in line}


def exported_symbols(library: Path) -> set[str]:
    lines = output("nm", "-D", "--defined-only", library).splitlines()
    return {line.split()[-1] for line in lines}


def instructions_of_functions(objects: list[Path]) -> dict[str, str]:
    """Demangled name of each function in the object files -> its instructions as text."""
    functions: dict[str, list[str]] = {}
    name = ""
    listing = output("objdump", "-d", "-C", "--no-show-raw-insn", *objects)
    for line in listing.splitlines():
        start = re.fullmatch(r"[0-9a-f]+ <(.*)>:", line)
        if start:
            name = start[1]
        elif line.startswith(" "):
            functions.setdefault(name, []).append(line)
    return {name: "\n".join(lines) for name, lines in functions.items()}
