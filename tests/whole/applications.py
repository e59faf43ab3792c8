"""Two applications that fetch keys over HTTPS and remember every key that ever reached them."""

import base64
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from qkdd.net.client import HttpsClient
from qkdd.net.https import client_context
from tests.whole.site import Site

REQUEST_TIMEOUT_S = 10.0
RELAY = {SAE_A: ALICE, SAE_B: BOB}
OTHER = {SAE_A: SAE_B, SAE_B: SAE_A}
GONE = 400
"""The answer to a key_ID that is not there (any more): ETSI GS QKD 014, clause 6.4."""
NOT_FOR_YOU = 401
"""The answer to a master that asks as if it were the slave, until its key is settled."""


class NoAnswer(Exception):
    """The relay died, or is not there."""


class Refused(Exception):
    """The relay answered with another status than 200."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text}")
        self.status = status


@dataclass(frozen=True)
class Delivered:
    """One key in one application's hands."""

    sae: str
    key_id: str
    key: bytes


class Applications:
    """``sae-a`` at Alice's relay and ``sae-b`` at Bob's; either may be the master.

    Leave the ``async with`` block to close their connections.
    """

    def __init__(self, site: Site) -> None:
        self._site = site
        self._idle: dict[str, list[HttpsClient]] = {SAE_A: [], SAE_B: []}
        self.deliveries: list[Delivered] = []
        self._more = trio.Event()
        self._asked_again: set[tuple[str, str]] = set()
        self.failures: Counter[str] = Counter()
        """Refreshes that failed in :meth:`traffic`, by what was answered."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def hang_up(self) -> None:
        """Close what idles; the next request connects anew."""
        for client in [*self._idle[SAE_A], *self._idle[SAE_B]]:
            await client.close()

    def _client(self, sae: str) -> HttpsClient:
        pki = self._site.folder / "pki"
        context = client_context(pki / f"{sae}.pem", pki / f"{sae}.key", pki / "ca.pem")
        return HttpsClient("127.0.0.1", self._site.relays[RELAY[sae]].delivery_port, context)

    async def new_keys(self, master: str = SAE_A, number: int = 1) -> list[str]:
        """Have ``master`` ask for keys; return their key_IDs."""
        target = f"/api/v1/keys/{OTHER[master]}/enc_keys"
        return await self._ask(master, target, json.dumps({"number": number}))

    async def known_keys(self, slave: str, key_ids: list[str]) -> None:
        """Have ``slave`` ask for keys that its master told it of."""
        body = json.dumps({"key_IDs": [{"key_ID": key_id} for key_id in key_ids]})
        await self._ask(slave, f"/api/v1/keys/{OTHER[slave]}/dec_keys", body)

    async def refresh(self, master: str = SAE_A, number: int = 1) -> None:
        """Fetch new keys at both ends."""
        await self.known_keys(OTHER[master], await self.new_keys(master, number))

    async def _ask(self, sae: str, target: str, body: str) -> list[str]:
        idle = self._idle[sae]
        client = idle.pop() if idle else self._client(sae)
        try:
            with trio.fail_after(REQUEST_TIMEOUT_S):
                status, text = await client.request("POST", target, body.encode())
        except (trio.BrokenResourceError, OSError) as error:
            raise NoAnswer(str(error)) from error
        except trio.TooSlowError as error:
            raise NoAnswer(f"no answer within {REQUEST_TIMEOUT_S:g} s") from error
        finally:
            idle.append(client)
        if status != 200:
            raise Refused(status, text.decode(errors="replace"))
        keys = json.loads(text)["keys"]
        for key in keys:
            plain = base64.b64decode(key["key"], validate=True)
            self.deliveries.append(Delivered(sae, key["key_ID"], plain))
        self._more.set()
        self._more = trio.Event()
        return [key["key_ID"] for key in keys]

    @asynccontextmanager
    async def traffic(self, *, every_s: float = 0.02) -> AsyncIterator[None]:
        """Refresh in both directions all the while, whatever dies; ends between two requests."""
        over = trio.Event()

        async def refresh_for_ever(master: str, number: int) -> None:
            while not over.is_set():
                try:
                    await self.refresh(master, number)
                except (NoAnswer, Refused) as failure:
                    self.failures[str(failure)[:100]] += 1
                with trio.move_on_after(every_s):
                    await over.wait()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(refresh_for_ever, SAE_A, 1)
            nursery.start_soon(refresh_for_ever, SAE_B, 3)
            yield
            over.set()

    async def delivered_more_than(self, number: int) -> None:
        while len(self.deliveries) <= number:
            await self._more.wait()

    def of(self, sae: str) -> dict[str, bytes]:
        return {one.key_id: one.key for one in self.deliveries if one.sae == sae}

    def check(self) -> None:
        """Nothing delivered twice to one application; what both have is equal."""
        per_id = Counter((one.sae, one.key_id) for one in self.deliveries)
        per_key = Counter((one.sae, one.key) for one in self.deliveries)
        assert not [one for one, n in per_id.items() if n > 1], "a key_ID was delivered twice"
        assert all(n == 1 for n in per_key.values()), "a key was delivered under two key_IDs"
        at_a, at_b = self.of(SAE_A), self.of(SAE_B)
        unequal = [key_id for key_id in at_a.keys() & at_b.keys() if at_a[key_id] != at_b[key_id]]
        assert not unequal, f"unequal keys: {unequal}"

    async def fetch_the_rest(self) -> int:
        """Fetch, one by one, what only the other end has, and ask once more for all that came;
        return how many keys one end alone will ever have (burned by a crash)."""
        n_lost = 0
        for sae in RELAY:
            missing = self.of(OTHER[sae]).keys() - self.of(sae).keys()
            for key_id in missing:
                n_lost += await self._is_refused(sae, key_id)
            for key_id in self.of(sae):
                if (sae, key_id) not in self._asked_again:
                    assert await self._is_refused(sae, key_id), f"{key_id} twice to {sae}"
                    self._asked_again.add((sae, key_id))
        return n_lost

    async def _is_refused(self, sae: str, key_id: str) -> bool:
        try:
            await self.known_keys(sae, [key_id])
        except Refused as refusal:
            assert refusal.status in (GONE, NOT_FOR_YOU), refusal
            return True
        return False
