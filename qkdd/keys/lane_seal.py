"""One row of a lane's secrets: numbers in the clear, and under seal 32 bytes for each.

A row has a key of its own, wrapped under the master key, under which each secret is sealed with its
number as nonce, so that one can be cut out without opening the others.
"""

import sqlite3
import struct
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkdd.base.secret import Secret
from qkdd.keys.vault import NONCE_BYTES, TAG_BYTES, SealBroken, Vault

LANE_KEY_BYTES = 32
RECORD_BYTES = LANE_KEY_BYTES + TAG_BYTES


class Kind(IntEnum):
    PAD = 0
    """A pair of the association's pads, numbered by pair."""
    HELD = 1
    """Keys whose verdict is not in."""
    READY = 2
    GIVEN = 3
    """Keys that one SAE has and another may still ask for."""


@dataclass(frozen=True, slots=True)
class Shelf:
    """Which secrets: pads belong to all generations of a lane (0), keys to one."""

    lane: str
    kind: Kind
    generation: int = 0

    def context(self, node: str) -> bytes:
        """Return what the seals of a shelf are bound to; no link has a blank in its name."""
        what = f"lane {self.lane}|{self.kind.name} {self.generation}"
        return f"qkdd keys 1|{node}|{what}".encode()


def pack(numbers: Sequence[int]) -> bytes:
    return struct.pack(f">{len(numbers)}Q", *numbers)


def unpack(row: sqlite3.Row) -> list[int]:
    """Return the numbers of a row; SealBroken if it makes no sense."""
    numbers, records = row["numbers"], row["records"]
    if not isinstance(numbers, bytes) or not isinstance(records, bytes) or len(numbers) % 8:
        raise SealBroken
    found = list(struct.unpack(f">{len(numbers) // 8}Q", numbers))
    if len(records) != RECORD_BYTES * len(found) or row["n"] != len(found):
        raise SealBroken
    return found


def seal_records(
    vault: Vault, context: bytes, numbers: Sequence[int], plain: memoryview
) -> tuple[bytes, bytes]:
    """Seal 32 bytes for each number; return the records and the wrapped key of the row."""
    with vault.new_key() as key:
        wrapped = vault.wrap(key, context)
        seal = AESGCM(key.reveal())
    records = [
        seal.encrypt(_nonce(number), plain[LANE_KEY_BYTES * at :][:LANE_KEY_BYTES], context)
        for at, number in enumerate(numbers)
    ]
    return b"".join(records), wrapped


def open_records(
    vault: Vault, context: bytes, row: sqlite3.Row, wanted: Sequence[int], into: memoryview
) -> None:
    """Open the secrets of some numbers of a row; SealBroken if one does not open."""
    places = {number: at for at, number in enumerate(unpack(row))}
    if not isinstance(row["wrapped_key"], bytes):
        raise SealBroken
    with vault.unwrap(row["wrapped_key"], context) as key:
        if len(key) != LANE_KEY_BYTES:
            raise SealBroken
        seal = AESGCM(key.reveal())
    try:
        for at, number in enumerate(wanted):
            record = row["records"][RECORD_BYTES * places[number] :][:RECORD_BYTES]
            target = into[LANE_KEY_BYTES * at :][:LANE_KEY_BYTES]
            seal.decrypt_into(_nonce(number), record, context, target)
    except InvalidTag as error:
        raise SealBroken from error


def cut_records(row: sqlite3.Row, gone: Collection[int]) -> tuple[list[int], bytes]:
    """Return the numbers and records of a row without some."""
    left = [(at, number) for at, number in enumerate(unpack(row)) if number not in gone]
    records = [row["records"][RECORD_BYTES * at :][:RECORD_BYTES] for at, _ in left]
    return [number for _, number in left], b"".join(records)


def read_secret(vault: Vault, context: bytes, row: sqlite3.Row, number: int) -> Secret:
    """Open one secret of a row; SealBroken if it does not open."""
    key = Secret(LANE_KEY_BYTES)
    try:
        open_records(vault, context, row, [number], key.reveal())
    except BaseException:
        key.wipe()
        raise
    return key


def _nonce(number: int) -> bytes:
    return number.to_bytes(NONCE_BYTES, "big")
