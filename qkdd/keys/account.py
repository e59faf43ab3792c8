"""The account of a link: every bit of key is in exactly one place, and both ends count alike."""

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from qkdd.base.errors import StoreError
from qkdd.keys.lane_bits import LaneBits
from qkdd.keys.schema import BlockState, KeyState


@dataclass(frozen=True, slots=True)
class Account:
    """Bits since the pre-shared key was installed.

    distilled + pre_shared = authentication + delivered + relayed + burned + reserved + stock.
    A key of n bits counts n, however many SAEs share it. Equal at both ends whenever nothing
    is under way between them.
    """

    distilled: int
    """Blocks that went live at this end; a block that only one end had was never key."""
    pre_shared: int
    """What the pre-shared key gave to the two authentication streams."""
    authentication: int
    """Pads used, both directions."""
    delivered: int
    """Keys that left the owner's store for their master, or the peer's for a slave."""
    relayed: int
    """Units of lanes that became end-to-end keys, and other key used up between relays."""
    burned: int
    """Lost to crashes, damage, disagreement and rounding; never used."""
    reserved: int
    """Keys under way to their master, units of lanes, and authentication key not spent yet."""
    stock: int
    """What can still be reserved, in both halves of all live blocks."""


def account_of(query: Callable[..., list[sqlite3.Row]], link: sqlite3.Row) -> Account:
    """Compute the account from a link's row and the rows of its blocks and keys.

    Raises
    ------
    StoreError
        It does not balance.
    """
    (stock,) = query(
        "SELECT coalesce(sum(2 * half_bytes - alice_used - bob_used), 0) AS n FROM segments"
        " WHERE link = ? AND state = ?",
        *(link["link"], BlockState.LIVE),
    )
    (waiting,) = query(
        "SELECT coalesce(sum(n_bytes), 0) AS n FROM keys WHERE link = ? AND state IN (?, ?, ?)",
        *(link["link"], KeyState.RESERVED, KeyState.AWARE, KeyState.HELD),
    )
    unspent = 2 * link["auth_end"] - link["tx_mark"] - link["rx_mark"]
    skipped = link["tx_mark"] - link["tx_spent"] + link["rx_mark"] - link["rx_spent"]
    lanes = LaneBits.of(link)
    account = Account(
        distilled=link["distilled"],
        pre_shared=link["pre_shared"],
        authentication=8 * (link["tx_spent"] + link["rx_spent"]),
        delivered=link["delivered"],
        relayed=link["relayed"] + lanes.relayed,
        burned=link["burned"] + lanes.burned + 8 * skipped,
        reserved=8 * (waiting["n"] + unspent) + lanes.under_way,
        stock=8 * stock["n"],
    )
    check(link["link"], account)
    return account


def check(link: str, account: Account) -> None:
    """Raise StoreError unless the account balances to the bit."""
    came = account.distilled + account.pre_shared
    is_somewhere = (
        account.authentication
        + account.delivered
        + account.relayed
        + account.burned
        + account.reserved
        + account.stock
    )
    if came != is_somewhere:
        raise StoreError(f"link {link}: {came} bits came, {is_somewhere} are accounted: {account}")
