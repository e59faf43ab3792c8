"""The extensions that a key request may carry (ETSI GS QKD 014, clause 6.2).

``qkdd_class`` ("direct" or "relayed") and ``qkdd_max_relays`` (a whole number) bound whom a key may
trust. A mandatory one that is unknown or cannot be met refuses the request before any key is used;
optional ones are honoured only as far as they change nothing, so they are ignored.
"""

from qkdd.deliver.errors import UNSUPPORTED, HttpError, unmet
from qkdd.deliver.messages import KeyRequest

CLASS, MAX_RELAYS = "qkdd_class", "qkdd_max_relays"
KNOWN = (CLASS, MAX_RELAYS)


def most_relays(asked: KeyRequest) -> int | None:
    """Return how many relays the keys may trust by the mandatory extensions; None: any number.

    Raises
    ------
    HttpError
        400 with the standard's message: one is unknown, or its value is none that it can have.
    """
    pairs = [pair for extension in asked.extension_mandatory for pair in extension.items()]
    unknown = [name for name, _ in pairs if name not in KNOWN]
    if unknown:
        raise HttpError(
            400,
            UNSUPPORTED,
            details=[
                {"extension_mandatory_unsupported": f"{name[:80]} is not supported"}
                for name in unknown
            ],
        )
    limits = [
        limit for limit in (_limit(name, value) for name, value in pairs) if limit is not None
    ]
    return min(limits, default=None)


def _limit(name: str, value: object) -> int | None:
    if name == CLASS:
        if value not in ("direct", "relayed"):
            raise unmet(name, 'it is "direct" or "relayed"')
        return 0 if value == "direct" else None
    if type(value) is not int or value < 0:
        raise unmet(name, "it is a whole number from 0 on")
    return value
