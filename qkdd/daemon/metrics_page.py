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
        if value is None:
            return
        if family not in self.heads:
            self.heads[family] = f"# HELP {family} {meaning}\n# TYPE {family} {kind}"
            self.samples[family] = []
        shown = ",".join(f'{name}="{text.translate(_ESCAPES)}"' for name, text in labels.items())
        number = repr(float(value)) if isinstance(value, float) else str(int(value))
        self.samples[family].append(
            f"{family}{{{shown}}} {number}" if shown else f"{family} {number}"
        )

    def gauge(self, name: str, meaning: str, value: float | None, /, **labels: str) -> None:
        self.add(name, "gauge", meaning, value, **labels)

    def counter(self, name: str, meaning: str, value: float | None, /, **labels: str) -> None:
        self.add(name, "counter", meaning, value, **labels)

    def lines(self) -> Iterator[str]:
        for family, head in self.heads.items():
            yield head
            yield from self.samples[family]
