"""Both relays get other settings while the link shines: it goes over at a block's end, or stays."""

from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB
from tests.whole.site import SHORT_BLOCKS, Site, open_site
from tests.whole.stock import install_psk
from tests.whole.test_reload import reload, sessions

NEW = """
[links.light]
ramp_frames = [30]

[links.intensities]
signal_probability = 0.6
weak_probability = 0.35
key_basis_probability = 0.8
"""
BLOCK_S, NEW_BLOCK_S = 2.0, 3.0
WITHIN_S = 40.0


def rewrite(site: Site, relay: str, old: str, new: str) -> None:
    path = site.config(relay)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.mark.long
@pytest.mark.slow
async def test_a_link_goes_over_at_a_blocks_end_once_both_ends_have_the_new_settings(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path, km=70.0) as site:
        install_psk(site)
        await site.start()
        await site.wait(
            "blocks of the old length",
            lambda a, b: a.n_blocks == b.n_blocks >= 1,
            WITHIN_S,
        )
        rewrite(site, BOB, SHORT_BLOCKS, NEW)
        done = await trio.to_thread.run_sync(reload, site, BOB)
        assert done.returncode == 0, done
        assert "1 link(s) go over to new settings" in done.stdout
        before, _ = await site.wait(
            "one end alone changes nothing: three more blocks of the old length",
            lambda a, b: b.n_blocks >= 4 and b.state == "light",
            WITHIN_S,
        )
        assert before.last_block is not None
        assert before.last_block.pulse_seconds == BLOCK_S
        assert sessions(site, ALICE) == sessions(site, BOB) == 1

        rewrite(site, ALICE, SHORT_BLOCKS, NEW)
        assert (await trio.to_thread.run_sync(reload, site, ALICE)).returncode == 0
        alice, bob = await site.wait(
            "blocks of the new length, the same at both ends",
            lambda a, b: (
                a.last_block is not None
                and a.last_block == b.last_block
                and a.last_block.pulse_seconds == NEW_BLOCK_S
            ),
            WITHIN_S,
        )
        assert sessions(site, ALICE) == sessions(site, BOB) == 2
        assert alice.n_blocks_void == 0, alice.reason
        assert alice.n_blocks == bob.n_blocks
        log = site.children[ALICE].log.read_text()
        assert log.index("at the end of the block") < log.index("new settings in force")
