"""Who an instrument says it is."""

from dataclasses import dataclass

from drivers.errors import BadReply


@dataclass(frozen=True, slots=True)
class Identity:
    """Empty text where the instrument does not say."""

    model: str
    serial: str
    firmware: str

    def require(self, *, model: str, resource: str) -> None:
        """Raise BadReply that names both, unless the model's name contains ``model``."""
        if model.lower() not in self.model.lower():
            raise BadReply(f"{resource}: expected a {model}, but {self.model!r} answers")
