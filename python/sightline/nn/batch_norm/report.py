"""The report of what a conversion did to each batch norm of a model, and why."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fusion:
    """A batch norm that became one op with its neighbours."""

    name: str
    pattern: str  # "batch norm + add + relu", "Conv2d + batch norm"
    rewritten: str | None = None  # the module whose forward had to be rewritten for it


@dataclass(frozen=True)
class Unfused:
    """A batch norm to which nothing was fused."""

    name: str
    reason: str


@dataclass(repr=False)
class ConversionReport:
    """Every batch norm of a model, once, under its first name.

    Attributes:
        fused: those that were fused, and with what.
        alone: those that were converted without fusing anything; empty for folding.
        left: those that were left unchanged.
        done: what happened to those in `fused`: "fused" or "folded".

    `print(report)` shows one line for each.
    """

    fused: list[Fusion] = field(default_factory=list)
    alone: list[Unfused] = field(default_factory=list)
    left: list[Unfused] = field(default_factory=list)
    done: str = "fused"

    def __repr__(self) -> str:
        """One line; `print(report)` shows one line per batch norm."""
        return f"ConversionReport({self._counts()})"

    def _counts(self) -> str:
        alone = f"{len(self.alone)} alone, " if self.done == "fused" else ""
        return f"{len(self.fused)} {self.done}, {alone}{len(self.left)} left"

    def __str__(self) -> str:
        lines = [f"batch norms: {self._counts()}"]
        for fusion in self.fused:
            note = "" if fusion.rewritten is None else f", forward of {fusion.rewritten} rewritten"
            lines.append(f"  {self.done}  {fusion.name}: {fusion.pattern}{note}")
        for word, entries in (("alone", self.alone), ("left", self.left)):
            word = word.ljust(len(self.done))
            lines += [f"  {word}  {entry.name}: {entry.reason}" for entry in entries]
        return "\n".join(lines)
