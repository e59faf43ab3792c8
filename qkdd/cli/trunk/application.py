"""The applications at the ends of lanes: a key a second at both, compared. A process of its own.

``python -P -m qkdd.cli.trunk.application FILE`` knows what applications know: where their relays
are, their certificates, and each other's names. A line of JSON a second says how it goes.
"""

import base64
import hmac
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio

from qkdd.net.client import HttpsClient
from qkdd.net.https import client_context

KEY_TIMEOUT_S = 1.0
"""A key that takes longer than its second has missed its refresh."""
EARLY_TIMEOUT_S = 5.0
"""Before the first key, while relays start, an answer may take longer."""


class End(msgspec.Struct, frozen=True, kw_only=True):
    sae: str
    port: int
    """Of its relay, on loopback."""


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """The two applications of a lane."""

    lane: str
    period_s: float
    begin_with_s: float = 0.0
    """Keys for so long must lie ahead before the first is asked for."""
    first: End
    last: End


class Errand(msgspec.Struct, frozen=True, kw_only=True):
    """What the process is started for."""

    pki: str
    pairs: tuple[Pair, ...]


class Tally(msgspec.Struct, kw_only=True):
    """How the refreshes of one lane went; times are seconds."""

    lane: str
    first_key_s: float | None = None
    """Since the process began to ask."""
    delivered: int = 0
    """Keys that both applications got in their second, and that were equal."""
    missed: int = 0
    """Seconds without, counted from the first key on."""
    unequal: int = 0
    twice: int = 0
    """Keys that had been delivered before."""
    last_miss: str = ""
    latencies_s: list[float] = []


class Refused(Exception):
    """A relay gave no key."""


class Refresher:
    """The two applications of one lane."""

    def __init__(self, pair: Pair, pki: Path, fingerprint_key: bytes) -> None:
        self._pair = pair
        self._first = _client(pki, pair.first)
        self._last = _client(pki, pair.last)
        self._fingerprint_key = fingerprint_key
        self._seen: set[str | bytes] = set()
        self.tally = Tally(lane=pair.lane)

    async def run(self) -> None:
        """Refresh once a period until cancelled."""
        started_s = trio.current_time()
        period_s = self._pair.period_s
        try:
            await self._until_stocked()
            second_s = trio.current_time()
            while True:
                had_key = self.tally.first_key_s is not None
                if not await self._once(KEY_TIMEOUT_S if had_key else EARLY_TIMEOUT_S):
                    self.tally.missed += had_key
                elif not had_key:
                    self.tally.first_key_s = trio.current_time() - started_s
                slept_through = max(0, int((trio.current_time() - second_s) / period_s))
                self.tally.missed += had_key * slept_through
                second_s += (1 + slept_through) * period_s
                await trio.sleep_until(second_s)
        finally:
            with trio.CancelScope(shield=True):
                await self._first.close()
                await self._last.close()

    async def _until_stocked(self) -> None:
        """Ask for the lane's status until enough keys lie ahead (ETSI GS QKD 014, 5.2)."""
        target = f"/api/v1/keys/{self._pair.last.sae}/status"
        wanted = self._pair.begin_with_s / self._pair.period_s
        while wanted:
            with trio.move_on_after(EARLY_TIMEOUT_S):
                if await self._epochs_ahead(target) >= wanted:
                    return
            await trio.sleep(self._pair.period_s)

    async def _epochs_ahead(self, target: str) -> int:
        """Read how many READY keys lie ahead; 0 while the relay does not say."""
        try:
            status, text = await self._first.request("GET", target)
        except (trio.BrokenResourceError, OSError):
            return 0
        if status != 200:
            return 0
        ahead = json.loads(text).get("status_extension", {}).get("qkdd_epochs_ahead", 0)
        return int(ahead)

    async def _once(self, timeout_s: float) -> bool:
        """Fetch one key at both ends; True if both have it in time and it is the same."""
        started_s = trio.current_time()
        first, last = self._pair.first.sae, self._pair.last.sae
        try:
            with trio.fail_after(timeout_s):
                key_id, key = await _ask(self._first, f"/api/v1/keys/{last}/enc_keys")
                target = f"/api/v1/keys/{first}/dec_keys?key_ID={key_id}"
                _, twin = await _ask(self._last, target)
        except (trio.TooSlowError, trio.BrokenResourceError, OSError, Refused) as error:
            self.tally.last_miss = str(error) or type(error).__name__
            return False
        equal = hmac.compare_digest(key, twin)
        self.tally.unequal += not equal
        self.tally.twice += self._has_been_seen(key_id, key)
        if equal:
            self.tally.delivered += 1
            self.tally.latencies_s.append(trio.current_time() - started_s)
        return equal

    def _has_been_seen(self, key_id: str, key: bytes) -> bool:
        """Remember a key by its name and by a fingerprint under a key of this run."""
        marks: set[str | bytes] = {key_id, hmac.digest(self._fingerprint_key, key, "sha256")}
        before = not marks.isdisjoint(self._seen)
        self._seen |= marks
        return before


def _client(pki: Path, end: End) -> HttpsClient:
    context = client_context(pki / f"{end.sae}.pem", pki / f"{end.sae}.key", pki / "ca.pem")
    return HttpsClient("127.0.0.1", end.port, context)


async def _ask(client: HttpsClient, target: str) -> tuple[str, bytes]:
    status, text = await client.request("GET", target)
    if status != 200:
        raise Refused(f"{status}: {text.decode(errors='replace')[:200]}")
    (key,) = json.loads(text)["keys"]
    return key["key_ID"], base64.b64decode(key["key"], validate=True)


async def serve(errand: Errand) -> None:
    """Refresh every lane until SIGTERM or SIGINT; tell how it goes, and at the end once more."""
    fingerprint_key = os.urandom(32)
    refreshers = [Refresher(pair, Path(errand.pki), fingerprint_key) for pair in errand.pairs]

    def tell() -> None:
        tallies = [refresher.tally for refresher in refreshers]
        sys.stdout.buffer.write(msgspec.json.encode(tallies) + b"\n")
        sys.stdout.buffer.flush()
        for tally in tallies:
            tally.latencies_s = []

    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with trio.open_nursery() as nursery:
            for number, refresher in enumerate(refreshers):
                nursery.start_soon(_later, number / len(refreshers), refresher)
            nursery.start_soon(_every_second, tell)
            async for _ in signals:
                nursery.cancel_scope.cancel()
                break
    tell()


async def _later(delay_s: float, refresher: Refresher) -> None:
    """Begin at a time of its own within the second, as strangers would."""
    await trio.sleep(delay_s)
    await refresher.run()


async def _every_second(tell: Callable[[], None]) -> None:
    while True:
        await trio.sleep(1.0)
        tell()


def main() -> None:
    errand = msgspec.json.decode(Path(sys.argv[1]).read_bytes(), type=Errand)
    trio.run(serve, errand)


if __name__ == "__main__":
    main()
