"""A bad network between the two relays of a site."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from qkdd.cli.demo.files import ALICE, BOB
from qkdd.net.tls import accepting_context, dialling_context
from tests.chaos.proxy import ChaosProxy, Thief, open_proxy
from tests.whole.site import Site

DIALLED = re.compile(r'^connect = "127\.0\.0\.1:(\d+)"$', re.MULTILINE)


@asynccontextmanager
async def bad_network(
    site: Site, *, seed: int = 1, thief: Thief | None = None
) -> AsyncIterator[ChaosProxy]:
    """Have Alice, who is not started yet, dial Bob through a proxy; forward is from her to him."""
    config = site.config(ALICE)
    text = config.read_text()
    found = DIALLED.search(text)
    assert found is not None
    async with open_proxy(int(found[1]), seed=seed, thief=thief) as proxy:
        config.write_text(DIALLED.sub(f'connect = "127.0.0.1:{proxy.port}"', text))
        yield proxy


def thief_of_certificates(site: Site) -> Thief:
    """Somebody who has both relays' private keys, and so can read and change all inside TLS."""

    def files(relay: str) -> tuple[Path, Path, Path]:
        pki = site.folder / "pki"
        return pki / f"{relay}.pem", pki / f"{relay}.key", pki / "ca.pem"

    return Thief(accepting_context(*files(BOB)), dialling_context(*files(ALICE)))
