"""A link under light for a long time, one relay killed every so often; nothing may ever be wrong.

Run as `python -m benchmarks.soak --seconds 180 --kill-every 15`. Two applications refresh in both
directions all the while. After every kill -9 the two stores must agree again within 5 s of the
session; no key may be delivered twice or differ. At the end the light goes, and the accounts must
be equal to the bit. Exit status: 0 all of it held, 1 it did not.
"""

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import trio

from qkdd.cli.demo.files import ALICE, BOB
from qkdd.cli.demo.processes import ProcessDied
from qkdd.daemon.status import LinkSnapshot
from qkdd.daemon.supervise import reasons
from tests.whole.agreement import balances, stores_agree
from tests.whole.applications import Applications
from tests.whole.memory_scan import traces
from tests.whole.site import Ends, Site, open_site
from tests.whole.stock import digests, install_psk

REFRESH_EVERY_S = 0.25
FIRST_KEY_S = 60.0
AGREE_WITHIN_S = 5.0
FORGET_WITHIN_S = 1.0
KEYS_LOOKED_FOR = 8
MEASURES = ("VmRSS", "VmHWM", "Threads")


def stores_equal(ends: Ends, site: Site) -> bool:
    """Equal but for pads, which go on being spent under light."""
    accounts = [end.account for end in ends]
    assert all(balances(account) for account in accounts), accounts
    names = ("distilled", "pre_shared", "delivered", "relayed", "stock")
    return all(accounts[0][name] == accounts[1][name] for name in names) and (
        digests(site, ALICE) == digests(site, BOB)
    )


async def agree_under_light(site: Site) -> float:
    """Wait until both stores are equal; return how long it took, in seconds."""
    started_s = trio.current_time()
    with trio.fail_after(AGREE_WITHIN_S):
        while True:
            if stores_equal(await site.wait_up(AGREE_WITHIN_S), site):
                return trio.current_time() - started_s
            await trio.sleep(0.05)


def lit(alice: LinkSnapshot, bob: LinkSnapshot) -> bool:
    return alice.state == bob.state == "light"


async def one_kill(site: Site, apps: Applications, victim: str, life_s: float) -> str:
    """Kill ``victim`` after ``life_s`` of traffic; hold both stores to their promises."""
    async with apps.traffic(every_s=REFRESH_EVERY_S):
        await trio.sleep(life_s)
        await site.kill(victim)
        started_s = trio.current_time()
        await site.start(victim)
        await site.wait_up()
        session_s = trio.current_time() - started_s
        await site.wait("light", lit, FIRST_KEY_S)
        light_s = trio.current_time() - started_s
    agreed_s = await agree_under_light(site)
    n_lost = await apps.fetch_the_rest()
    apps.check()
    return (
        f"{victim} killed: session after {session_s:.1f} s, light after {light_s:.1f} s, stores "
        f"equal {agreed_s:.1f} s after the last request, {n_lost} keys at one end only"
    )


def measures(site: Site) -> str:
    """Memory, threads and open files of both daemons."""
    texts = []
    for relay, child in site.children.items():
        status = Path(f"/proc/{child.process.pid}/status").read_text()
        values = [status.partition(f"{name}:")[2].split()[0] for name in MEASURES]
        n_files = len(os.listdir(f"/proc/{child.process.pid}/fd"))
        texts.append(
            f"{relay} {int(values[0]) / 1024:.0f} MB (peak {int(values[1]) / 1024:.0f}), "
            f"{values[2]} threads, {n_files} files"
        )
    return "; ".join(texts)


async def no_traces(site: Site, apps: Applications) -> None:
    keys = [one.key for one in apps.deliveries[-KEYS_LOOKED_FOR:]]
    await trio.sleep(FORGET_WITHIN_S)
    for relay, child in site.children.items():
        found = await trio.to_thread.run_sync(traces, child.process.pid, dict.fromkeys(keys))
        assert not found, f"{relay}: {found}"


async def soak(folder: Path, seconds: float, kill_every_s: float, dice: random.Random) -> None:
    async with open_site(folder) as site, Applications(site) as apps:
        install_psk(site)
        await site.start()
        await site.wait("key", lambda a, b: min(a.stock_bits, b.stock_bits) > 0, FIRST_KEY_S)
        started_s = trio.current_time()

        def say(text: str) -> None:
            print(f"{trio.current_time() - started_s:7.1f} s  {text}", flush=True)

        while trio.current_time() - started_s < seconds:
            life_s = kill_every_s * dice.uniform(0.5, 1.5)
            say(await one_kill(site, apps, dice.choice((ALICE, BOB)), life_s))
            say(f"{len(apps.deliveries)} keys delivered; {measures(site)}")
        await no_traces(site, apps)
        await site.end_lab()
        account = await stores_agree(site)
        await apps.fetch_the_rest()
        apps.check()
        say(f"{len(apps.deliveries)} keys delivered; refused: {dict(apps.failures)}")
        say(f"accounts and digests are equal: {account}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=180.0)
    parser.add_argument("--kill-every", type=float, default=15.0, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=None, help="of the moments and victims")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.randrange(2**32)
    folder = Path(tempfile.mkdtemp(prefix="qkdd-soak-"))
    print(f"everything is in {folder}; seed {seed}")
    dice = random.Random(seed)
    held = True
    try:
        trio.run(soak, folder, options.seconds, options.kill_every, dice)
    except* (AssertionError, ProcessDied, trio.TooSlowError) as errors:
        print(f"FAILED: {'; '.join(reasons(errors))}", file=sys.stderr)
        held = False
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
