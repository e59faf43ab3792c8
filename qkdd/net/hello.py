"""The opening of a session, under TLS alone: who speaks, and how far the key is used.

Whatever was said here is covered, byte for byte, by every tag that follows.
"""

import struct
from typing import Annotated

import msgspec
from msgspec import Meta

from qkdd.base.errors import PeerError
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.protocol_version import PROTOCOL_VERSION

Name = Annotated[str, Meta(min_length=1, max_length=255)]
Mark = Annotated[int, Meta(ge=0, le=2**62)]


class Hello(
    msgspec.Struct, frozen=True, kw_only=True, array_like=True, tag=True, forbid_unknown_fields=True
):
    """Each end's first frame; the dialler's goes first."""

    protocol_version: int = PROTOCOL_VERSION
    link: Name
    node: Name
    """Who speaks."""
    peer: Name
    """To whom."""
    incarnation: Mark
    tx: Mark
    """No byte of authentication key at or above this was ever used to send."""
    rx: Mark
    psk_id: Annotated[bytes, Meta(max_length=32)] = b""
    """Public name of the pre-shared key."""


def encode_hello(hello: Hello) -> bytes:
    return msgspec.msgpack.encode(hello)


def decode_hello(payload: bytes, *, peer: NodeId) -> Hello:
    """Read the hello of a peer whose certificate says ``peer``.

    Raises
    ------
    PeerError
        If it is no hello, of another version, or of another node.
    """
    try:
        hello = msgspec.msgpack.decode(payload, type=Hello)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"hello of {len(payload)} bytes: {error}") from error
    if hello.protocol_version != PROTOCOL_VERSION:
        raise PeerError(
            f"peer speaks protocol version {hello.protocol_version}, we speak {PROTOCOL_VERSION}"
        )
    if hello.node != peer:
        raise PeerError(f"node {hello.node!r} speaks under the certificate of {peer!r}")
    return hello


def check_answer(ours: Hello, theirs: Hello) -> None:
    """Raise PeerError unless the two hellos open one session of one link."""
    if (theirs.link, theirs.node, theirs.peer) != (ours.link, ours.peer, ours.node):
        raise PeerError(
            f"{theirs.node!r} opens link {theirs.link!r} to {theirs.peer!r}, we are "
            f"{ours.node!r} and open link {ours.link!r} to {ours.peer!r}"
        )


def opening_bytes(dialler: bytes, acceptor: bytes) -> bytes:
    """Join both hellos as they crossed the wire, so that no other pair gives the same bytes."""
    return struct.pack("<I", len(dialler)) + dialler + acceptor


def link_of(hello: Hello) -> LinkId:
    return LinkId(hello.link)
