"""Instruments at fault under a link that makes key: the state, the reason, and light again."""

import re
from pathlib import Path

import pytest

from drivers.sim.control import FaultOrder, ask
from drivers.sim.mishaps import FaultKind
from qkdd.cli.demo.files import ALICE, BOB, LINK
from qkdd.daemon.snapshot import LinkSnapshot
from qkdd.daemon.supervise import MAX_DELAY_S
from tests.whole.agreement import stores_agree
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk

LIGHT_S, NOTICED_S, AGAIN_S = 60.0, 15.0, 60.0
FAULT_S = MAX_DELAY_S + 2.0
"""Longer than the longest wait before an instrument is opened: else nobody meets a stranger."""

UNPLUGGED = r"the device is gone|hung up|closed by the instrument|cannot (open|connect)"
"""What a relay may say of an instrument that is not there."""
SILENT = r"not answered within|no reply .* within"

DAYS: tuple[tuple[str, str, FaultKind, str], ...] = (
    (ALICE, "laser", "unplugged", UNPLUGGED),
    (ALICE, "laser", "half-reply", UNPLUGGED),
    (ALICE, "laser", "silent", SILENT),
    (ALICE, "laser", "stranger", rf"expected a .*, but .* answers|{SILENT}"),
    (ALICE, "laser", "interlock", r"interlock"),
    (ALICE, "attenuator", "noise", r"^8156A: "),
    (ALICE, "attenuator", "silent", SILENT),
    (ALICE, "attenuator", "unplugged", UNPLUGGED),
    (ALICE, "encoder", "stops", r"the state encoder stopped by itself"),
    (ALICE, "encoder", "unplugged", UNPLUGGED),
    (ALICE, "encoder", "noise", r"a frame of \d+ bytes|expected a QMSE-1"),
    (BOB, "tagger", "unplugged", UNPLUGGED),
    (BOB, "tagger", "silent", rf"not even a dummy event|{SILENT}"),
    (BOB, "tagger", "stranger", r"expected a TDC1, but .*ACME INSTRUMENTS.* answers"),
    (BOB, "tagger", "slip", r"the time tagger lost events"),
    (BOB, "tagger", "overflow", r"the time tagger lost events|not even a dummy event"),
)


async def noticed(site: Site, relay: str, reason: str) -> LinkSnapshot:
    """Wait until a relay says in a state other than light what its instrument has."""
    return await site.wait_alone(
        relay,
        lambda link: (
            link.state in ("dark", "searching") and bool(re.search(reason, link.reason or ""))
        ),
        NOTICED_S,
    )


async def mended(site: Site) -> None:
    await site.wait("light", lambda a, b: a.state == b.state == "light", AGAIN_S)


@pytest.mark.long
async def test_an_instrument_at_fault_is_said_and_light_comes_back_by_itself(
    tmp_path: Path,
) -> None:
    lab = tmp_path / "lab" / "lab.toml"
    async with open_site(tmp_path) as site:
        install_psk(site)
        await site.start()
        await site.wait("light", lambda a, b: a.state == b.state == "light", LIGHT_S)
        for relay, instrument, fault, reason in DAYS:
            ask(lab, FaultOrder(LINK, instrument, fault, FAULT_S))
            await noticed(site, relay, reason)
            await mended(site)
        await site.end_lab()
        await stores_agree(site)
