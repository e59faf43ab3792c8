"""Key that went hop by hop, and the one way for slaves to fetch, who need not know how it came."""

from collections.abc import Sequence
from uuid import UUID

from qkdd.base.errors import QkdError
from qkdd.base.ids import LinkId, SaeId
from qkdd.base.secret import Secret
from qkdd.keys.copies import Fetch
from qkdd.keys.core import StoreCore
from qkdd.keys.errors import DamagedBlock, KeyNotFound
from qkdd.keys.hop_keys import HopCopies
from qkdd.keys.schema import NEXT_RELAY, RELAY


class _OneByOne(Exception):
    """Some of the requests are not of the common kind."""


class HopStore(StoreCore):
    """Pads between relays, copies at the last node, and the one way to fetch a slave's copy."""

    def take_pads(self, link: LinkId, pad_ids: Sequence[UUID]) -> list[Secret]:
        """Take pads that the neighbour has announced and used, all or none, consumed on disk.

        Raises
        ------
        KeyNotEntitled, KeyNotFound
            They are no pads of this link, or were taken before.
        """

        def take() -> list[Secret]:
            rows = [self._copies.row(pad_id.bytes) for pad_id in pad_ids]
            if any(row is None or row["link"] != link for row in rows):
                raise KeyNotFound(f"link {link}: a pad that was not announced on it")
            return self._direct(Fetch(tuple(pad_ids), SaeId(NEXT_RELAY), SaeId(RELAY)))

        return self._hand_out(self._do(take))

    def hold_hop_keys(self, copies: HopCopies, now_s: int) -> None:
        """Keep keys for their slaves; ValueError if one of these names is held already, be it as
        that of a key of a link: a relay must not slip its own under the name of such a key."""

        def hold() -> None:
            for key_id in copies.key_ids:
                if self._copies.row(key_id.bytes) is not None:
                    raise ValueError(f"key {key_id} is held here already, as one of a link")
            self._hop_keys.hold(copies, now_s)

        self._do(hold)

    def burn_hop_keys(self, key_ids: Sequence[UUID]) -> int:
        """Forget those that are held here; return how many."""
        return self._do(lambda: self._hop_keys.burn(key_ids))

    def expire_hop_keys(self, now_s: int) -> int:
        """Forget those that nobody fetched in ``key_ttl_s``."""
        return self._do(lambda: self._hop_keys.expire(now_s - self.settings.key_ttl_s))

    def fetch_keys(self, key_ids: Sequence[UUID], sae: SaeId, master: SaeId) -> list[Secret]:
        """Return a slave's copies, all or none, each at most once.

        Raises
        ------
        KeyNotEntitled, KeyNotFound
            See their docstrings; NotEntitled first, so that nobody probes.
        LinkLost
            A key's fate is being agreed with the neighbour: ask again in a moment.
        """
        return [key for key, _ in self.fetch_copies(key_ids, sae, master)]

    def fetch_copies(
        self, key_ids: Sequence[UUID], sae: SaeId, master: SaeId
    ) -> list[tuple[Secret, int]]:
        """As :meth:`fetch_keys`, each with the number of relays that it trusts."""

        def fetch() -> list[tuple[Secret, int]]:
            hopped = {key_id for key_id in key_ids if self._hop_keys.row(key_id) is not None}
            for key_id in hopped:
                self._hop_keys.check(key_id, sae, master)
            others = tuple(key_id for key_id in key_ids if key_id not in hopped)
            keys = self._direct(Fetch(others, sae, master))
            found = {key_id: (key, 0) for key_id, key in zip(others, keys, strict=True)}
            found |= {key_id: self._hop_keys.take(key_id, sae) for key_id in hopped}
            return [found[key_id] for key_id in key_ids]

        copies = self._do(fetch)
        self._hand_out([key for key, _ in copies])
        return copies

    def _direct(self, asked: Fetch) -> list[Secret]:
        (found,) = self._copies.fetch([asked])
        if isinstance(found, QkdError):
            raise found
        return found

    def fetch_all(self, requests: Sequence[Fetch]) -> list[list[tuple[Secret, int]] | QkdError]:
        """As :meth:`fetch_copies` for each request, with few statements for all; what stands in
        the way of one is its outcome, and no other's."""

        def fetch() -> list[list[Secret] | QkdError]:
            found = self._copies.fetch(requests)
            lost = [
                key_id
                for one, keys in zip(requests, found, strict=True)
                if isinstance(keys, KeyNotFound)
                for key_id in one.key_ids
            ]
            if self._hop_keys.held(lost):
                for keys in found:
                    _wipe_all(keys)
                raise _OneByOne
            return found

        try:
            found = self._do(fetch)
        except DamagedBlock as damage:
            return [
                damage
                if any(key_id.bytes in damage.key_ids for key_id in one.key_ids)
                else self._fetched(one)
                for one in requests
            ]
        except _OneByOne:
            return [self._fetched(one) for one in requests]
        for keys in found:
            if not isinstance(keys, QkdError):
                self._hand_out(keys)
        return [
            keys if isinstance(keys, QkdError) else [(key, 0) for key in keys] for keys in found
        ]

    def _fetched(self, asked: Fetch) -> list[tuple[Secret, int]] | QkdError:
        try:
            return self.fetch_copies(asked.key_ids, asked.sae, asked.master)
        except QkdError as error:
            return error


def _wipe_all(keys: list[Secret] | QkdError) -> None:
    if not isinstance(keys, QkdError):
        for key in keys:
            key.wipe()
