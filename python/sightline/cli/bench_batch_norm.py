"""sightline bench batch_norm [layers] [resnet50] [--device cpu|cuda] [--threads N] [--quick]
                           [--only NAME] [--batch N,...] [--shapes NAME,...]
                           [--layout NAME,...] [--activation NAME,...] [--residual]
                           [--dtype NAME,...] [--program NAME,...] [--save input|output]
                           [--list] [--json FILE] [--compare FILE] [--tolerance SHARE]

Times batch norm with its activation beside eager torch (cuDNN on CUDA) and torch.compile, and on
CUDA also beside apex and inplace_abn where these are installed. The implementations take turns,
after a check that all compute what eager torch does. Prints one block per benchmark: the bytes that
must be moved at least, and for each implementation the median time, the rate at which those bytes
were moved, its share of the rate of a copy that exceeds the caches, how many times as long as ours
it takes, the memory that it keeps for the backward pass, and its peak memory. "met" and "missed"
refer to the goals of this project, "noisy" to samples that vary too much to be relied on.

The part layers times single batch norms, resnet50 a training step of the network before and after
convert_batch_norm (for --batch and --layout); without a name, both run.

  --device     cpu (default) or cuda
  --threads    1 by default; with more, the gain over one thread is printed
  --quick      run few benchmarks with fewer samples
  --only       run only the benchmarks whose name contains this text
  --list       print the names of the benchmarks that would be timed, and time none
  --json       write all figures to a file, with the machine and the versions
  --compare    print the ratio to the figures of an earlier --json, and what differs otherwise. The
               exit status is 1 where a benchmark takes longer by more than the tolerance
  --tolerance  share of the earlier time, 0.1 by default

Without the following options a selection is timed; with any of them, all of their combinations:

  --batch      16 by default (4 for resnet50); several as 16,32
  --shapes     resnet50 (default), neck, or channels and sides such as 64x112x112
  --layout     contiguous, channels_last; both by default
  --activation relu (default), silu, leaky_relu, none
  --residual   add another tensor before the activation
  --dtype      float32 (default), bfloat16, float16
  --program    step (training, forward and backward; default), forward, evaluation, frozen
  --save       input (default), or output to keep nothing but the result for the backward pass
               (leaky_relu or none, without a residual)
"""

import re
from collections.abc import Collection, Mapping, Sequence
from itertools import product
from typing import Any

from sightline._console import say
from sightline.cli.arguments import Arguments, UsageError, parse
from sightline.cli.bench_files import OPTIONS, take_files

_FLAGS = ("quick", "residual", "list")
_CHOICES = ("batch", "shapes", "layout", "activation", "dtype", "program", "save")
_OPTIONS = (*(f"--{name}" for name in ("device", "threads", "only", *_CHOICES, *_FLAGS)), *OPTIONS)
_PARTS = ("layers", "resnet50")
_STEP_SAMPLES = 5  # a training step is sampled for so many times as long as a single batch norm


def run(words: Sequence[str]) -> int:
    arguments = parse(words, flags=_FLAGS, known=_OPTIONS)
    device = arguments.take_text("device", "cpu")
    threads = arguments.take_count("threads", 1)
    only = arguments.take_text("only", "")
    files = take_files(arguments)
    chosen = {name: text for name in _CHOICES if (text := arguments.take(name)) is not None}
    arguments.finish(_OPTIONS)
    files.check()
    if device not in ("cpu", "cuda"):
        raise UsageError(f"device must be cpu or cuda, got {device}")
    if unknown := set(arguments.positional) - set(_PARTS):
        raise UsageError(
            f"batch_norm has no part {sorted(unknown)[0]!r}; there are {', '.join(_PARTS)}"
        )
    quick, residual = ("quick" in arguments.flags), ("residual" in arguments.flags)
    parts = arguments.positional or (_PARTS[:1] if quick or chosen or residual else _PARTS)

    from sightline.bench.device import torch
    from sightline.bench.machine import require_cuda

    if device == "cuda":
        require_cuda()
    if torch is None:
        raise ImportError("bench batch_norm needs torch: pip install 'sightline[torch]'")

    from sightline.bench.batch_norm.benchmark import selection
    from sightline.bench.batch_norm.resnet50 import StepBenchmark
    from sightline.bench.report import list_names

    if chosen or residual:
        layers = _combinations(chosen, residual)
    else:
        layers = selection(device, quick=quick)
    layers = [layer for layer in layers if "layers" in parts and only in layer.name]
    steps = [StepBenchmark(*s) for s in product(_batches(chosen, "4"), _layouts(chosen))]
    steps = [step for step in steps if "resnet50" in parts and only in step.name]
    if not layers and not steps:
        raise UsageError(f"no benchmark's name contains {only!r}")
    if "list" in arguments.flags:
        list_names([*layers, *steps])
        return 0
    return files.finish(_measure(layers, steps, device, threads, 0.2 if quick else 1.0))


def _measure(
    layers: list[Any], steps: list[Any], device: str, threads: int, seconds: float
) -> dict[str, Any]:
    """Print one block per benchmark, and return the figures for JSON."""
    from sightline.bench.batch_norm import contest, resnet50
    from sightline.bench.compare import STEPS
    from sightline.bench.report import announce, as_json, show
    from sightline.bench.text import summary

    given: dict[str, Any] = {"device": device, "threads": threads}
    found = announce(device, threads)
    outcomes = show(contest.prepare, layers, seconds=seconds, **given)
    if outcomes:
        say(summary(outcomes))
    found = as_json(found, outcomes)
    seconds *= _STEP_SAMPLES
    of_steps = show(resnet50.prepare, steps, seconds=seconds, **given)
    return as_json(found, of_steps, STEPS)


def _combinations(chosen: Mapping[str, str], residual: bool) -> list[Any]:
    from sightline.bench.batch_norm import benchmark

    shapes = [
        shape
        for name in chosen.get("shapes", "resnet50").split(",")
        for shape in benchmark.SHAPES.get(name) or [_shape(name, benchmark.SHAPES)]
    ]
    activations = _listed(chosen, "activation", benchmark.ACTIVATIONS, "relu")
    programs = _listed(chosen, "program", benchmark.PROGRAMS, "step")
    saves = _listed(chosen, "save", benchmark.SAVES, "input")
    if "output" in saves and (
        residual
        or not set(activations) <= {"leaky_relu", "none"}
        or not set(programs) <= {"step", "forward"}
    ):
        raise UsageError(
            "save output needs activation leaky_relu or none, no residual, and program step or "
            "forward"
        )
    return [
        own
        for save in saves
        for own in benchmark.combinations(
            _batches(chosen, "16"),
            shapes,
            _layouts(chosen),
            activations,
            residual,
            _listed(chosen, "dtype", benchmark.DTYPES, "float32"),
            programs,
            save,
        )
    ]


def _listed(
    chosen: Mapping[str, str], name: str, known: Collection[str], default: str
) -> list[str]:
    values = chosen.get(name, default).split(",")
    for value in values:
        if value not in known:
            raise UsageError(f"{name} must be of {', '.join(known)}, got {value!r}")
    return values


def _layouts(chosen: Mapping[str, str]) -> list[str]:
    from sightline.bench.batch_norm.benchmark import LAYOUTS

    return _listed(chosen, "layout", LAYOUTS, ",".join(LAYOUTS))


def _batches(chosen: Mapping[str, str], default: str) -> list[int]:
    texts = chosen.get("batch", default).split(",")
    return [Arguments(options={"batch": text}).take_count("batch", 1) for text in texts]


def _shape(text: str, known: Collection[str]) -> tuple[int, int, int]:
    sizes = re.fullmatch(r"([1-9]\d*)x([1-9]\d*)x([1-9]\d*)", text)
    if not sizes:
        raise UsageError(
            f"shapes must be of {', '.join(known)}, or channels and sides as 64x112x112, "
            f"got {text!r}"
        )
    channels, height, width = map(int, sizes.groups())
    return channels, height, width
