"""Slaves' copies: all that are asked for while the store is busy are fetched in one operation."""

from collections.abc import Sequence

from qkdd.base.errors import QkdError
from qkdd.base.secret import Secret
from qkdd.daemon.gathering import Gathering, Waiting
from qkdd.daemon.store_service import StoreService
from qkdd.keys.copies import Fetch
from qkdd.keys.store import KeyStore

Copies = list[tuple[Secret, int]]
Asked = Waiting[Fetch, Copies]


class CopyDesk:
    def __init__(self, store: StoreService) -> None:
        self._asked: Gathering[Asked, list[Copies | QkdError]] = Gathering(
            store, _fetch, _told, _failed
        )

    async def fetch(self, asked: Fetch) -> Copies:
        """See :meth:`qkdd.keys.hop_store.HopStore.fetch_copies`."""
        waiting = Asked(asked, _wipe)
        self._asked.add(waiting)
        return await waiting.result()


def _fetch(store: KeyStore, asked: Sequence[Asked]) -> list[Copies | QkdError]:
    return store.fetch_all([one.asked for one in asked])


def _told(asked: Sequence[Asked], outcomes: list[Copies | QkdError]) -> None:
    for one, outcome in zip(asked, outcomes, strict=True):
        one.finish(outcome)


def _failed(asked: Sequence[Asked], error: Exception) -> None:
    for one in asked:
        one.finish(error)


def _wipe(copies: Copies) -> None:
    for key, _ in copies:
        key.wipe()
