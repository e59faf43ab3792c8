"""What both ends of a link bind into every block, compared before the first pulse.

A silent difference (a gate, an epsilon, a mean photon number) would void the proof of security, so
each end sends its whole agreement under the authentication of the link and refuses to make key
with a peer whose agreement differs, naming every field that does.
"""

from collections.abc import Iterator, Mapping

import msgspec

from qkdd.base.errors import PeerError
from qkdd.base.protocol_version import PROTOCOL_VERSION

_SHOWN = 80
"""Characters of a name or value of the peer's that go into a message."""


class Agreed(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    """One end's agreement, as it crosses the wire: JSON text of plain values."""

    protocol_version: int
    text: bytes


def agreement(**rooms: msgspec.Struct | str) -> Agreed:
    """Compose the agreement of a link from each room's settings (or its version text)."""
    plain = {name: msgspec.to_builtins(settings) for name, settings in rooms.items()}
    return Agreed(
        protocol_version=PROTOCOL_VERSION, text=msgspec.json.encode(plain, order="deterministic")
    )


def check_agreement(ours: Agreed, theirs: Agreed) -> None:
    """Raise a PeerError that names every field in which the two ends differ."""
    if ours.protocol_version != theirs.protocol_version:
        raise PeerError(
            f"peer speaks protocol version {theirs.protocol_version}, we speak "
            f"{ours.protocol_version}: install the same release on both relays"
        )
    if ours.text == theirs.text:
        return
    own = msgspec.json.decode(ours.text, type=dict[str, object])
    try:
        peer = msgspec.json.decode(theirs.text, type=dict[str, object])
        lines = list(_differences("", own, peer)) or ["its text differs in form only"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise PeerError(f"peer's agreement is not readable: {error}") from error
    raise PeerError("peer's configuration disagrees: " + "; ".join(lines[:8]))


def _differences(path: str, ours: object, theirs: object) -> Iterator[str]:
    if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
        for name in sorted({*ours, *theirs}, key=str):
            shown = str(name)[:_SHOWN]
            below = f"{path}.{shown}" if path else shown
            yield from _differences(below, ours.get(name), theirs.get(name))
    elif ours != theirs:
        yield f"{path} is {ours!r} here and {str(theirs)[:_SHOWN]!r} there"
