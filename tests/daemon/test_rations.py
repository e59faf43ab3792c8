"""Requests and what they draw: nothing is given back that was not drawn."""

from pathlib import Path

import pytest

from qkdd.base.errors import LinkLost
from qkdd.daemon.rations import Rations
from qkdd.deliver.errors import HttpError
from qkdd.deliver.request import EncRequest
from qkdd.deliver.settings import DeliverySettings, Sae
from tests.daemon.desk_pair import LINK, desk_pair

SETTINGS = DeliverySettings(
    reserve_s=1e6,
    saes=(
        Sae(id="kept", node="a", reserved_bits_per_s=0.001),
        Sae(id="other", node="a", reserved_bits_per_s=1e6),
        Sae(id="slave", node="b"),
    ),
)
REQUEST = EncRequest("kept", ("slave",), 1, 800)


async def lose(rations: Rations) -> None:
    """Have the link break after the request was let through."""
    with rations.drawn(REQUEST) as draw:
        await rations.check_stock(LINK, draw)
        raise LinkLost("the peer did not answer")


async def test_refused_requests_do_not_fill_a_reserved_rate_that_is_used_up(tmp_path: Path) -> None:
    async with desk_pair(tmp_path) as pair:
        rations = Rations(SETTINGS, pair.alice.service, lambda _link: None)
        with rations.drawn(REQUEST) as draw:
            await rations.check_stock(LINK, draw)
        for _ in range(3):
            with (
                pytest.raises(HttpError, match="are reserved for other"),
                rations.drawn(REQUEST) as draw,
            ):
                await rations.check_stock(LINK, draw)


async def test_a_request_of_which_nothing_came_costs_no_reserved_rate(tmp_path: Path) -> None:
    async with desk_pair(tmp_path) as pair:
        rations = Rations(SETTINGS, pair.alice.service, lambda _link: None)
        for _ in range(3):
            with pytest.raises(LinkLost):
                await lose(rations)
        with rations.drawn(REQUEST) as draw:
            await rations.check_stock(LINK, draw)
