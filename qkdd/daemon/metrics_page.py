"""The text format of metrics: families with their heads, and samples with labels.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format".
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

_ESCAPES = str.maketrans({"\\": r"\\", '"': r"\"", "\n": r"\n"})


@dataclass(slots=True)
class Page:
    """Samples by family: the format wants all samples of a family together, after its head."""

    heads: dict[str, str] = field(default_factory=dict)
    samples: dict[str, list[str]] = field(default_factory=dict)

    def add(
        self, family: str, kind: str, meaning: str, value: float | None, /, **labels: str
    ) -> None:
        if value is not None:
            self._head(family, kind, meaning)
            self._sample(family, "", value, labels)

    def _head(self, family: str, kind: str, meaning: str) -> None:
        if family not in self.heads:
            self.heads[family] = f"# HELP {family} {meaning}\n# TYPE {family} {kind}"
            self.samples[family] = []

    def _sample(self, family: str, suffix: str, value: float, labels: dict[str, str]) -> None:
        shown = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items())
        number = repr(float(value)) if isinstance(value, float) else str(int(value))
        self.samples[family].append(
            f"{family}{suffix}{{{shown}}} {number}" if shown else f"{family}{suffix} {number}"
        )

    def gauge(self, name: str, meaning: str, value: float | None, /, **labels: str) -> None:
        self.add(name, "gauge", meaning, value, **labels)

    def counter(self, name: str, meaning: str, value: float | None, /, **labels: str) -> None:
        self.add(name, "counter", meaning, value, **labels)

    def histogram(
        self,
        name: str,
        meaning: str,
        within: dict[float, int],
        count: int,
        total: float,
        /,
        **labels: str,
    ) -> None:
        """Say how many of ``count`` values, of the sum ``total``, were within each bound."""
        self._head(name, "histogram", meaning)
        for bound, one in within.items():
            self._sample(name, "_bucket", one, {**labels, "le": repr(bound)})
        self._sample(name, "_bucket", count, {**labels, "le": "+Inf"})
        self._sample(name, "_sum", total, labels)
        self._sample(name, "_count", count, labels)

    def lines(self) -> Iterator[str]:
        for family, head in self.heads.items():
            yield head
            yield from self.samples[family]
