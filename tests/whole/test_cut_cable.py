"""A cable that is cut between two hosts: both relays notice in the time that is documented."""

import re
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB
from qkdd.daemon.link import VANISHED_S
from tests.chaos.namespaces import Host, two_hosts, why_not
from tests.whole.agreement import stores_agree
from tests.whole.site import Site, open_site, run_command
from tests.whole.stock import lay_stock

LOOP_S = 2.0
"""For the kernel's clock ticks, a status to be asked, and a busy machine."""
AGAIN_S = 40.0
"""The dialling end may just have begun to wait; SYN packets are repeated after 1, 2, 4 s."""
EXEC = "import os, sys; os.execvp(sys.argv[1], sys.argv[1:])"


def on_host(host: Host) -> Callable[[Path], list[str]]:
    def command(config: Path) -> list[str]:
        return ["-c", EXEC, *host.enter(), sys.executable, *run_command(config)]

    return command


def lay_cable(site: Site, left: Host, right: Host) -> None:
    """Have Alice on ``left`` dial Bob on ``right``."""
    for relay, host, word in ((ALICE, left, "connect"), (BOB, right, "listen")):
        config = site.config(relay)
        text = re.sub(
            rf'^{word} = "127\.0\.0\.1:(\d+)"$(?=\n\[links)',
            rf'{word} = "{right.address}:\1"',
            config.read_text(),
            flags=re.MULTILINE,
        )
        assert right.address in text
        config.write_text(text)
        site.launch[relay] = on_host(host)


@pytest.mark.slow
async def test_a_cut_cable_is_noticed_by_both_ends_in_time_and_mended_it_serves_again(
    tmp_path: Path,
) -> None:
    if (reason := await trio.to_thread.run_sync(why_not)) is not None:
        pytest.skip(reason)
    with two_hosts() as (left, right):
        async with open_site(tmp_path, lit=False) as site:
            lay_stock(site, 64 * 1024)
            lay_cable(site, left, right)
            await site.start()
            await site.wait_up()
            left.cut()  # one way: Alice still hears what Bob says
            cut_s = trio.current_time()
            await site.wait(
                "the deaf end down", lambda _, b: b.state == "down", VANISHED_S + LOOP_S
            )
            await site.wait("both down", lambda a, b: a.state == b.state == "down", VANISHED_S)
            assert trio.current_time() - cut_s > 1.0, "the cut was not silent"
            left.mend()
            await site.wait_up(AGAIN_S)
            await stores_agree(site)
