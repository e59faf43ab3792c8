"""Messages to bytes and back: batches in msgpack, one tagged union over all rooms.

Only bytes whose tag has verified may come here.
"""

import struct
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Any

import msgspec

from qkdd.amplify.messages import AmplifySeed
from qkdd.base.agreement import Agreed
from qkdd.base.errors import PeerError
from qkdd.keys import messages as keys
from qkdd.net.framing import MAX_BATCH_BYTES, MAX_MESSAGE_BYTES
from qkdd.reconcile import messages as reconcile
from qkdd.relay import hop_messages as hops
from qkdd.relay import messages as relay
from qkdd.sift import messages as sift
from qkdd.station import messages as station

MESSAGES: tuple[type[msgspec.Struct], ...] = (
    Agreed,
    station.RunAnnounced,
    station.RunReady,
    station.RunWaits,
    station.LightLocked,
    station.LightMeasured,
    station.RunLost,
    station.RunStopped,
    station.BlockVoid,
    sift.Clicks,
    sift.Kept,
    sift.TestErrors,
    reconcile.Syndromes,
    reconcile.Verdicts,
    reconcile.Revealed,
    reconcile.Parities,
    reconcile.Differences,
    reconcile.Checks,
    reconcile.BlockHash,
    reconcile.BlockVerdict,
    AmplifySeed,
    keys.BlockPrepared,
    keys.LanesRelayed,
    keys.BlockLive,
    keys.BlockBurned,
    keys.KeysAnnounced,
    keys.KeysHeld,
    keys.KeysConfirmed,
    keys.KeysSettled,
    keys.LanesRelayed,
    keys.StoreState,
    keys.StoreAgreed,
    relay.LaneOpen,
    relay.LaneAnnounce,
    relay.LaneBind,
    relay.LaneWave,
    relay.LaneVoid,
    relay.LaneConfirm,
    relay.LaneVerdict,
    hops.HopKeys,
    hops.HopHeld,
    hops.HopFailed,
    hops.HopBurned,
)
"""Everything that may be in a batch; the tag on the wire is the class's name."""

MAX_BATCH_MESSAGES = 0xFFFF
_ARRAY_16 = 0xDC  # msgpack: array of up to 65535 elements, count big-endian
_BATCH_HEADER = struct.Struct(">BH")
_ONE_HEADER_BYTES = 1  # msgpack: an array of one element begins with 0x91

_union: Any = reduce(or_, MESSAGES)
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[list[msgspec.Struct]] = msgspec.msgpack.Decoder(list[_union])


def encode_message(message: msgspec.Struct) -> bytes:
    """Write one message as a batch of its own.

    Raises
    ------
    ValueError
        If it is none of ``MESSAGES``, or too long: the sender's room must cut it.
    """
    if type(message) not in MESSAGES:
        raise ValueError(f"{type(message).__name__} is not registered in qkdd.net.codec.MESSAGES")
    data = _encoder.encode((message,))
    n_bytes = len(data) - _ONE_HEADER_BYTES
    if n_bytes > MAX_MESSAGE_BYTES:
        raise ValueError(f"{type(message).__name__} of {n_bytes} bytes, limit {MAX_MESSAGE_BYTES}")
    return data


def join_batch(encoded: Sequence[bytes]) -> bytes:
    """Make one batch of messages that :func:`encode_message` wrote; one alone is not copied."""
    if not 0 < len(encoded) <= MAX_BATCH_MESSAGES:
        raise ValueError(f"a batch has 1 to {MAX_BATCH_MESSAGES} messages, not {len(encoded)}")
    if len(encoded) == 1:
        return encoded[0]
    bodies = (memoryview(one)[_ONE_HEADER_BYTES:] for one in encoded)
    batch = b"".join((_BATCH_HEADER.pack(_ARRAY_16, len(encoded)), *bodies))
    if len(batch) > MAX_BATCH_BYTES:
        raise ValueError(f"a batch of {len(batch)} bytes, limit {MAX_BATCH_BYTES}")
    return batch


def decode_batch(payload: bytes | memoryview) -> list[msgspec.Struct]:
    """Read a batch; every message has the types and ranges of its class.

    Raises
    ------
    PeerError
        If it is anything else.
    """
    try:
        messages = _decoder.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise PeerError(f"batch of {len(payload)} bytes: {error}") from error
    if not messages:
        raise PeerError("an empty batch")
    return messages
