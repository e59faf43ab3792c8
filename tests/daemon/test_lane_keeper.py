"""An end's epochs stay in step with its store."""

import os
from pathlib import Path

from qkdd.base.ids import SaeId
from qkdd.base.secret import Secret
from qkdd.daemon.lane_keeper import LaneKeeper
from qkdd.relay.actions import Hold, Ready
from qkdd.relay.messages import LaneConfirm, LaneVerdict
from qkdd.relay.runs import Run, bitmap_of
from qkdd.relay.settings import Lane
from tests.daemon.lane_network import network

SAE = SaeId("beta")


async def test_a_key_that_was_given_while_it_was_held_is_not_offered_when_it_is_ready(
    tmp_path: Path,
) -> None:
    lane = Lane(id="far", route=("a", "b"), keys_per_1000_s=2_000)
    text = os.urandom(96)
    held = bitmap_of(Run(5, 3), (5, 6, 7))
    confirm = LaneConfirm(
        lane="far",
        generation=0,
        first=5,
        count=3,
        pair=0,
        end_pair=64,
        epoch=5,
        held=held,
        tag=bytes(16),
    )
    verdict = LaneVerdict(
        **{"lane": "far", "generation": 0, "first": 5, "count": 3, "pair": 0},
        **{"ready": held, "void": bytes(1), "renew": False, "tag": bytes(16)},
    )
    async with network(tmp_path, lane) as net:
        node = net.nodes["b"]
        epochs = node.view("far").epochs
        keeper = LaneKeeper(node.lanes._lanes["far"].status, node.view("far"), node.service)
        await keeper.keep(Hold(confirm, Secret.from_bytes(text)))
        await node.service.do(lambda store: store.take_lane_key("far", 0, 6, SAE, [SAE]))
        epochs.gone(6)
        await keeper.keep(Ready((5, 6, 7), Secret.from_bytes(text), verdict, None))
        assert [number for number in (5, 6, 7) if epochs.is_ready(number)] == [5, 7]
