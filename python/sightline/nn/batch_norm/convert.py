"""Fuses the batch norms of a model with the add and the activation that follow them."""

from collections import Counter
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

from sightline.nn.batch_norm.forward import (
    SEQUENTIAL_SOURCE,
    add_into,
    rewrite_forward,
    source_of,
)
from sightline.nn.batch_norm.graph import (
    Traced,
    calls_of,
    check_module,
    count_names,
    has_hooks,
    loads,
    trace_all,
)
from sightline.nn.batch_norm.match import Match, Settings, find_matches
from sightline.nn.batch_norm.methods import method_in_conflict
from sightline.nn.batch_norm.modules import BatchNormAct1d, BatchNormAct2d, BatchNormAct3d, become
from sightline.nn.batch_norm.own_activation import own_activation, subclass_reason
from sightline.nn.batch_norm.report import ConversionReport, Fusion, Unfused
from sightline.nn.batch_norm.sync import SyncBatchNormAct

FUSED_CLASSES: dict[type[nn.Module], Any] = {
    nn.BatchNorm1d: BatchNormAct1d,
    nn.BatchNorm2d: BatchNormAct2d,
    nn.BatchNorm3d: BatchNormAct3d,
    nn.SyncBatchNorm: SyncBatchNormAct,
}


def convert_batch_norm(model: nn.Module) -> tuple[nn.Module, ConversionReport]:
    """Fuse each batch norm of `model` with the add and the activation that follow it, in place.

    `nn.BatchNorm2d` becomes `BatchNormAct2d`, and likewise for others: the object stays the same
    and changes its class, so that parameters, buffers, names in the state dict, optimizers and
    references to it stay valid. What follows it is read from the graph of each module's forward:

    - A ReLU, LeakyReLU or SiLU module that follows only batch norms moves into them and is replaced
      by `nn.Identity`; no forward changes.
    - For a residual add, a function such as `F.relu`, or an activation module that is used
      elsewhere as well, the forward of the calling module is rewritten from its graph. That module
      becomes an instance of a subclass of its class, which can be copied, pickled and compiled.
      Settings that the old forward read (a flag, a rate) keep their values of the time of the
      conversion, and setting one to another value raises an error.

    Nothing is fused where that could change a result: where the output of the batch norm has
    another use; where a forward cannot be traced or depends on `training`; where a forward that
    would have to be rewritten inspects types, draws random numbers, has a `with` block or creates
    tensors; where a module has hooks or is used in several places. Such a batch norm is converted
    alone. Subclasses, parametrised or quantised batch norms and those with hooks are left
    unchanged. Convert before `torch.compile` and before wrapping for distributed training.

    Args:
        model: any module; a batch norm itself is converted alone.

    Returns:
        `model`, and a `ConversionReport` that names each batch norm with its pattern or a reason.

    Raises:
        TypeError: `model` is not a module.

    Outputs and gradients equal those of torch up to rounding: in float32 within 1e-5 of the largest
    output and 1e-4 of the largest gradient of a small network. A second conversion changes nothing.

    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU())
    >>> net, report = convert_batch_norm(net)
    >>> print(report)
    batch norms: 1 fused, 0 alone, 0 left
      fused  1: batch norm + relu
    """
    check_module(model)
    report = ConversionReport()
    names = dict(_candidates(model, report))
    traces = trace_all(model)
    found = _Conversion(model, traces, names, report)
    for traced in traces:
        found.fuse(traced)
    for norm, name in names.items():
        if norm not in found.done:
            if type(norm) not in FUSED_CLASSES.values():
                report.alone.append(Unfused(name, found.reason(norm)))
            _become_fused(norm, {"activation": None})
    order = {name: i for i, (name, _) in enumerate(model.named_modules())}
    for entries in (report.fused, report.alone, report.left):
        entries.sort(key=lambda entry: order[entry.name])  # type: ignore[attr-defined]
    return model, report


class _Conversion:
    """The state of a conversion: what is known of the calls of a model's modules."""

    def __init__(
        self,
        model: nn.Module,
        traces: list[Traced],
        names: dict[nn.Module, str],
        report: ConversionReport,
    ) -> None:
        self.names, self.report = names, report
        self.done: set[nn.Module] = set()
        self.reasons: dict[nn.Module, str] = {}
        self.uses = count_names(model)
        self.calls: Counter[nn.Module] = Counter()
        for traced in traces:
            for child in traced.module.children() if traced.graph is None else ():
                self.reasons[child] = traced.reason
            for node, module in calls_of(traced):
                self.calls[module] += 1
                if node.kwargs and module in names:
                    report.left.append(Unfused(names.pop(module), "it is called with keywords"))

    def reason(self, norm: nn.Module) -> str:
        if self._is_shared(norm):
            return "it is used in several places"
        return self.reasons.get(norm, "no forward that could be traced calls it")

    def fuse(self, traced: Traced) -> None:
        """Fuses what the forward of `traced` calls."""
        matches = []
        for match in find_matches(traced, self.names):
            if any(map(self._is_shared, (match.norm, *match.sequentials))):
                continue
            self.reasons.setdefault(match.norm, match.reason)
            if match.last() is not None:
                matches.append(match)
        # Where both operands of an add are batch norms, one of them takes the other as residual:
        # preferably one that is called by itself, and the later one, which moves least.
        matches = sorted(
            reversed(matches), key=lambda m: (m.activation is None, bool(m.sequentials))
        )
        taken: set[Any] = set()
        kept = []
        for match in matches:
            if match.add not in taken or match.add is None:
                taken.add(match.add)
                kept.append(match)
            else:
                self.reasons[match.norm] = "another batch norm takes it as its residual"
        while True:
            by_module = [m for m in kept if self._module_can_go(m, kept)]
            fits = [m for m in kept if m in by_module or self._may_rewrite(m)]
            if len(fits) == len(kept):
                break
            kept = fits  # a match that was dropped may have shared its activation module
        for match in by_module:
            self._move_activation(match)
        self._rewrite([m for m in kept if m not in by_module])

    def _is_shared(self, module: nn.Module) -> bool:
        return self.uses[module] > 1 or self.calls[module] > 1

    def _module_can_go(self, match: Match, matches: list[Match]) -> bool:
        """Whether the activation is a module that follows fused batch norms and nothing else."""
        traced, node = match.traced, match.activation
        if match.add is not None or node is None or node.op != "call_module":
            return False
        if traced.is_chain:
            return True
        target = str(node.target)
        sites = [n for n in traced.graph.nodes if n.op == "call_module" and n.target == target]  # type: ignore
        fused = {m.activation for m in matches if m.add is None}
        if not fused.issuperset(sites):
            return False
        if "." in target:
            return self.uses[traced.target(node)] == self.calls[traced.target(node)] == 1
        # A branch that was not taken, or another method, may still use it.
        norms = {_attribute(m.node) for m in matches if m.activation in sites}
        return loads(traced.codes, target) <= len(sites) and not method_in_conflict(
            traced, norms, target
        )

    def _may_rewrite(self, match: Match) -> bool:
        traced = match.traced
        method = method_in_conflict(traced, {_attribute(match.node)})
        reason = traced.rewritable or (f"its method `{method}` uses it too" if method else "")
        if reason:
            owner = traced.name or "the model"
            self.reasons[match.norm] = f"{match.pattern} needs another forward of {owner}: {reason}"
        return not reason

    def _move_activation(self, match: Match) -> None:
        traced, node = match.traced, match.activation
        assert node is not None
        old, target = traced.target(node), str(node.target)
        holder = traced.module.get_submodule(target.rpartition(".")[0])
        positions = [target.rpartition(".")[2]]
        if not traced.is_chain:
            positions = [name for name, child in holder._modules.items() if child is old]
        for name in positions:
            holder._modules[name] = nn.Identity().train(old.training)
        self._finish(match, None)

    def _rewrite(self, matches: list[Match]) -> None:
        """Give the owner of these matches a forward in which each of them is one call."""
        if not matches:
            return
        traced = matches[0].traced
        graph = traced.graph
        assert graph is not None
        for match in matches:
            fused = match.node
            if match.add is not None:
                for sequential in match.sequentials:
                    rewrite_forward(sequential, SEQUENTIAL_SOURCE, {"add_into": add_into}, {})
                with graph.inserting_before(match.add):
                    norm = graph.get_attr(str(match.node.target))
                    fused = graph.call_function(
                        add_into, (norm, match.node.args[0], match.residual)
                    )
            last = match.last()
            assert last is not None
            last.replace_all_uses_with(fused)
            for node in (match.activation, match.add, *reversed(match.identities), match.node):
                if node is not None and node is not fused and not node.users:
                    graph.erase_node(node)
            self._finish(match, traced.name or "the model")
        rewrite_forward(traced.module, *source_of(graph), traced.settings)

    def _finish(self, match: Match, rewritten: str | None) -> None:
        adds = {"adds": True} if match.add is not None else {}
        _become_fused(match.norm, {**match.settings, **adds})
        self.done.add(match.norm)
        self.report.fused.append(Fusion(self.names[match.norm], match.pattern, rewritten))


def _attribute(node: Any) -> str:
    """The attribute of its owner under which a called module, or its container, is held."""
    return str(node.target).split(".")[0]


def _candidates(model: nn.Module, report: ConversionReport) -> Any:
    """The batch norms that can be converted, with their names; the others go to the report."""
    for name, module in model.named_modules():
        if not isinstance(module, _NormBase) or isinstance(module, _InstanceNorm):
            continue
        if type(module) in FUSED_CLASSES.values():
            if module.activation is None and not has_hooks(module):
                yield module, name
            continue
        own = own_activation(module)
        reason = "" if own else _why_left(module)
        if own is not None and own["activation"] is not None:
            _become_fused(module, own)
            report.fused.append(Fusion(name, f"batch norm + {own['activation']}"))
        elif reason:
            report.left.append(Unfused(name, reason))
        else:
            yield module, name


def _why_left(module: nn.Module) -> str:
    kind = type(module)
    reasons = {
        "it is lazy: call the model once before converting": isinstance(
            module, nn.modules.lazy.LazyModuleMixin
        ),
        "it has hooks": has_hooks(module),
        "its forward was replaced on the instance": "forward" in vars(module),
        "it is quantised": kind.__module__.startswith("torch.ao.")
        or getattr(module, "qconfig", None) is not None,
        "it is parametrised": nn.utils.parametrize.is_parametrized(module),
        subclass_reason(module): kind not in FUSED_CLASSES,
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def _become_fused(norm: Any, settings: Settings) -> None:
    kind = type(norm)
    if kind not in FUSED_CLASSES.values():
        kind = FUSED_CLASSES.get(kind, BatchNormAct2d)
    become(norm, kind, settings)
