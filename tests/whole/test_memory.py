"""No key that was delivered more than a second ago is in either relay's memory, or in a file."""

import base64
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import trio

from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B
from tests.whole.applications import Applications
from tests.whole.memory_scan import traces
from tests.whole.site import Site, open_site
from tests.whole.stock import install_psk, lay_stock

FORGET_WITHIN_S = 1.0
HOLDER = """
import base64, sys
key = bytearray(sys.stdin.buffer.read(32))
held = key if {raw} else bytearray(base64.b64encode(key))
if not {raw}:
    key[:] = bytes(32)
print("ready", flush=True)
sys.stdin.buffer.read(1)
"""


@pytest.mark.parametrize("raw", [True, False], ids=["raw", "base64"])
def test_the_scanner_finds_a_key_that_a_process_holds(raw: bool) -> None:
    key = os.urandom(32)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER.format(raw=raw)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(key)
        assert process.stdout.readline() == b"ready\n"
        found = traces(process.pid, [key])
        assert any(name.startswith("raw" if raw else "base64") for name in found)
        assert not traces(process.pid, [os.urandom(32)])
        process.stdin.write(b".")


async def no_traces(site: Site, apps: Applications) -> None:
    keys = [one.key for one in apps.deliveries]
    assert keys
    await trio.sleep(FORGET_WITHIN_S)
    for relay in (ALICE, BOB):
        found = await trio.to_thread.run_sync(
            traces, site.children[relay].process.pid, dict.fromkeys(keys)
        )
        assert not found, f"{relay}: {found}"
    assert not in_files(site.folder, dict.fromkeys(keys))


def in_files(folder: Path, keys: Iterable[bytes]) -> list[str]:
    """Names of files (stores, logs, whatever a relay wrote) in which a key stands in plain."""
    forms = [form for key in keys for form in (key, base64.b64encode(key), key.hex().encode())]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert len(files) > 10
    return [path.name for path in files if any(form in path.read_bytes() for form in forms)]


async def test_keys_delivered_from_stock_leave_no_trace_in_memory_or_files(tmp_path: Path) -> None:
    async with open_site(tmp_path, lit=False) as site, Applications(site) as apps:
        lay_stock(site, 512 * 1024)
        await site.start()
        await site.wait_up()
        for master in (SAE_A, SAE_B):
            await apps.refresh(master, 1)
            await apps.refresh(master, 4)
        await no_traces(site, apps)


@pytest.mark.slow
async def test_keys_distilled_and_delivered_leave_no_trace_in_memory_or_files(
    tmp_path: Path,
) -> None:
    async with open_site(tmp_path) as site, Applications(site) as apps:
        install_psk(site)
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, 40)
        for master in (SAE_A, SAE_B):
            await apps.refresh(master, 4)
        await no_traces(site, apps)
