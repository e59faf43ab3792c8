"""What must hold of both relays as soon as nothing is under way between them."""

import trio

from qkdd.cli.demo.files import ALICE, BOB
from tests.whole.site import POLL_S, Site
from tests.whole.stock import digests

WAYS_OUT = ("authentication", "delivered", "relayed", "burned", "reserved", "stock")
AGREE_WITHIN_S = 5.0


def balances(account: dict[str, int]) -> bool:
    """Say whether every bit that came is in exactly one place."""
    came = account["distilled"] + account["pre_shared"]
    return came == sum(account[way] for way in WAYS_OUT)


async def stores_agree(site: Site, within_s: float = AGREE_WITHIN_S) -> dict[str, int]:
    """Wait until digests and accounts of both relays are equal; return the account."""
    accounts: list[dict[str, int]] = []
    rows = []
    with trio.move_on_after(within_s):
        while True:
            site.all_live()
            links = await site.link(ALICE), await site.link(BOB)
            rows = [digests(site, relay) for relay in (ALICE, BOB)]
            accounts = [link.account if link is not None else {} for link in links]
            assert all(balances(account) for account in accounts if account), accounts
            if accounts[0] and accounts[0] == accounts[1] and rows[0] == rows[1]:
                return accounts[0]
            await trio.sleep(POLL_S)
    raise AssertionError(f"the relays do not agree within {within_s:g} s: {accounts} {rows}")
