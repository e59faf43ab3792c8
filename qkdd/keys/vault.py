"""Sealing: key bytes on disk only under a block's own key, and that only under the master key.

AES-256-GCM. A segment key seals each of its chunks once, with the chunk's place as nonce, and is
itself wrapped under the master key with a random nonce (one per block, three per batch of a lane:
7e7 in a year of ten lanes, far below 2^32). The
associated data name node, link, block and place, so that a moved ciphertext does not open.
"""

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from qkdd.base.entropy import Entropy
from qkdd.base.errors import StoreError
from qkdd.base.secret import Secret
from qkdd.keys.layout import Region

KEY_BYTES = 32
NONCE_BYTES = 12
TAG_BYTES = 16


class SealBroken(Exception):
    """A sealed value does not open; the caller knows what that costs."""


class SegmentKey:
    """Seals and opens the chunks of one block."""

    def __init__(self, key: Secret, context: bytes) -> None:
        self._aead = AESGCM(key.reveal())
        self._context = context

    def _place(self, region: Region, number: int) -> tuple[bytes, bytes]:
        place = bytes([region]) + number.to_bytes(NONCE_BYTES - 1, "big")
        return place, self._context + b"|chunk|" + place

    def seal(self, region: Region, number: int, plain: memoryview) -> bytes:
        """Seal a chunk: once for each place, or the nonce would repeat."""
        nonce, bound = self._place(region, number)
        return self._aead.encrypt(nonce, plain, bound)

    def open(self, region: Region, number: int, sealed: bytes) -> Secret:
        plain = Secret(max(0, len(sealed) - TAG_BYTES))
        try:
            self.open_into(region, number, sealed, plain.reveal())
        except SealBroken:
            plain.wipe()
            raise
        return plain

    def open_into(self, region: Region, number: int, sealed: bytes, into: memoryview) -> int:
        """Open a chunk to the beginning of ``into``, which the caller wipes; return its length."""
        nonce, bound = self._place(region, number)
        n_bytes = len(sealed) - TAG_BYTES
        if not 0 <= n_bytes <= len(into):
            raise SealBroken
        try:
            self._aead.decrypt_into(nonce, sealed, bound, into[:n_bytes])
        except InvalidTag as error:
            raise SealBroken from error
        return n_bytes


class Vault:
    """Holds the master key while the store is open."""

    def __init__(self, master_key: Secret, entropy: Entropy) -> None:
        if len(master_key) != KEY_BYTES:
            raise StoreError(f"the master key has {len(master_key)} bytes, not {KEY_BYTES}")
        self._aead = AESGCM(master_key.reveal())
        self._entropy = entropy

    def wrap(self, key: Secret, context: bytes) -> bytes:
        nonce = self._entropy(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, key.reveal(), context)

    def unwrap(self, wrapped: bytes, context: bytes) -> Secret:
        """Undo :meth:`wrap`; SealBroken if the master key or the context is another."""
        if len(wrapped) < NONCE_BYTES + TAG_BYTES:
            raise SealBroken
        key = Secret(len(wrapped) - NONCE_BYTES - TAG_BYTES)
        try:
            self._aead.decrypt_into(
                wrapped[:NONCE_BYTES], wrapped[NONCE_BYTES:], context, key.reveal()
            )
        except InvalidTag as error:
            key.wipe()
            raise SealBroken from error
        return key

    def forget(self) -> None:
        """Let go of the expanded master key, which OpenSSL zeroes with its context; nothing opens
        after this, and nothing may be sealed."""
        self._aead = AESGCM(bytes(KEY_BYTES))

    def new_key(self) -> Secret:
        """Draw a segment key."""
        return Secret.absorb(self._entropy(KEY_BYTES))
