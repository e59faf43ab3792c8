"""A key a second, fetched at both relays over HTTPS and compared: what an application would do."""

import base64
import hmac
import json
from dataclasses import dataclass, field
from pathlib import Path

import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B, RelayFiles
from qkdd.net.client import HttpsClient
from qkdd.net.https import client_context

KEY_TIMEOUT_S = 1.0
"""A key that takes longer than its second has missed its refresh."""


@dataclass(slots=True)
class Refreshes:
    """Counts of one run; ``fingerprint`` is of the last key, under a key of this run."""

    compared: int = 0
    unequal: int = 0
    missed: int = 0
    fingerprint: str = ""
    last_miss: str = ""
    latencies_s: list[float] = field(default_factory=list)


class Refresher:
    """Two applications: ``SAE_A`` asks relay-a for a new key, ``SAE_B`` asks relay-b for it."""

    def __init__(
        self, folder: Path, alice: RelayFiles, bob: RelayFiles, fingerprint_key: bytes
    ) -> None:
        pki = folder / "pki"
        self._master = _client(pki, SAE_A, alice.delivery_port)
        self._slave = _client(pki, SAE_B, bob.delivery_port)
        self._fingerprint_key = fingerprint_key
        self.refreshes = Refreshes()

    async def once(self) -> bool:
        """Refresh once; True if both applications hold the same new key in time."""
        started_s = trio.current_time()
        try:
            with trio.fail_after(KEY_TIMEOUT_S):
                key_id, key = await self._ask(self._master, f"/api/v1/keys/{SAE_B}/enc_keys", ALICE)
                _, twin = await self._ask(
                    self._slave, f"/api/v1/keys/{SAE_A}/dec_keys?key_ID={key_id}", BOB
                )
        except (trio.TooSlowError, trio.BrokenResourceError, OSError, _Refused) as error:
            self.refreshes.missed += 1
            self.refreshes.last_miss = str(error) or type(error).__name__
            return False
        self.refreshes.latencies_s.append(trio.current_time() - started_s)
        self.refreshes.compared += 1
        equal = hmac.compare_digest(key, twin)
        self.refreshes.unequal += not equal
        self.refreshes.fingerprint = hmac.digest(self._fingerprint_key, key, "sha256").hex()[:12]
        return equal

    @staticmethod
    async def _ask(client: HttpsClient, target: str, relay: str) -> tuple[str, bytes]:
        status, text = await client.request("GET", target)
        if status != 200:
            raise _Refused(f"{relay} answers {status}: {text.decode(errors='replace')[:200]}")
        (key,) = json.loads(text)["keys"]
        return key["key_ID"], base64.b64decode(key["key"], validate=True)

    async def close(self) -> None:
        await self._master.close()
        await self._slave.close()


class _Refused(Exception):
    """A relay gave no key."""


def _client(pki: Path, sae: str, port: int) -> HttpsClient:
    context = client_context(pki / f"{sae}.pem", pki / f"{sae}.key", pki / "ca.pem")
    return HttpsClient("127.0.0.1", port, context)
