"""Two relays that should not talk to each other do not, and both say why."""

import datetime
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB
from qkdd.daemon.snapshot import LinkSnapshot
from qkdd.net.pki import Authority
from tests.whole.site import UP, open_site
from tests.whole.stock import install_psk

REFUSED_S = 20.0


def says(end: LinkSnapshot, *words: str) -> bool:
    assert end.state not in UP, end
    return end.state == "down" and all(word in (end.reason or "") for word in words)


@pytest.mark.parametrize(
    ("table", "field", "theirs"),
    [
        pytest.param("[links.frames]\ngate_ps = 3000\n", "frames.gate_ps", "3000", id="gate"),
        pytest.param("[links.proof]\neps_sec = 1e-11\n", "proof.eps_sec", "1e-11", id="epsilon"),
    ],
)
async def test_a_relay_whose_settings_differ_is_refused_at_both_ends_by_the_fields_name(
    tmp_path: Path, table: str, field: str, theirs: str
) -> None:
    async with open_site(tmp_path, lit=False, more={BOB: table}) as site:
        install_psk(site)
        await site.start()
        await site.wait(
            f"both name {field}",
            lambda a, b: says(a, field, theirs, "there") and says(b, field, theirs, "here"),
            REFUSED_S,
        )


@pytest.mark.parametrize("stranger", [ALICE, BOB])
async def test_a_certificate_of_another_authority_is_refused_by_the_end_that_sees_it(
    tmp_path: Path, stranger: str
) -> None:
    async with open_site(tmp_path, lit=False) as site:
        now = datetime.datetime.now(datetime.UTC)
        authority = Authority.open_or_create(tmp_path / "stranger", now=now, days=1)
        issued = authority.issue_node(stranger, now=now, days=1)
        issued.certificate.replace(tmp_path / "pki" / f"{stranger}.pem")
        issued.key.replace(tmp_path / "pki" / f"{stranger}.key")
        install_psk(site)
        await site.start()
        seer, other = (1, 0) if stranger == ALICE else (0, 1)
        await site.wait(
            "one names the certificate, the other has a reason too",
            lambda *ends: says(ends[seer], "certificate") and says(ends[other]),
            REFUSED_S,
        )
        await site.wait("a reason", lambda *ends: bool(ends[other].reason), REFUSED_S)


async def test_different_pre_shared_keys_are_refused_with_that_reason(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site:
        install_psk(site, alike=False)
        await site.start()
        await site.wait(
            "both name the key",
            lambda a, b: says(a, "pre-shared key") and says(b, "pre-shared key"),
            REFUSED_S,
        )


async def test_a_relay_without_a_pre_shared_key_ends_and_says_what_is_missing(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, lit=False) as site:
        await site.start(BOB)
        child = site.children[BOB]
        with trio.fail_after(REFUSED_S):
            assert await child.process.wait() == 1
        said = child.log.read_text()
        assert "a-b" in said
        assert "pre-shared key" in said
        assert "Traceback" not in said, said
