"""Applications of relays that are processes and no neighbours: keys of a lane, and keys by hops."""

import base64
import datetime
import json
import os
import time
from pathlib import Path

from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.config import host_and_port, load
from qkdd.daemon.lane_machine import encode
from qkdd.net.client import HttpsClient
from qkdd.net.https import client_context
from qkdd.net.pki import Authority
from qkdd.relay.messages import LaneVerdict
from tests.whole.route import LANE, Route, link_between, open_route, open_store
from tests.whole.stock import lay_block

BOUND = 'saes = ["alpha", "gamma"]'
NUMBERS = 256
SAES = {"alpha": "n1", "beta": "n2", "gamma": "n3"}
SETTINGS = "\n".join(
    [
        "window_epochs = 60",
        *(f'[[delivery.saes]]\nid = "{sae}"\nnode = "{node}"' for sae, node in SAES.items()),
    ]
)
"""Also the applications, behind the last table of every relay's file."""
UP_S, SETTLED_S = 30.0, 20.0


def certify(route: Route) -> None:
    """Give the three applications their certificates."""
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(route.folder / "pki", now=now, days=1)
    for sae in SAES:
        authority.issue_sae(sae, now=now, days=1)


def client(route: Route, sae: str) -> HttpsClient:
    pki = route.folder / "pki"
    host, port = host_and_port(load(route.config(SAES[sae])).delivery.listen)
    context = client_context(pki / f"{sae}.pem", pki / f"{sae}.key", pki / "ca.pem")
    return HttpsClient(host, port, context)


def lay_key(route: Route) -> dict[int, bytes]:
    """Lay a block into every link, and READY keys of the epochs to come into the lane."""
    for upper, lower in route.links:
        ends = open_store(route.config(upper)), open_store(route.config(lower))
        link = LinkId(link_between(upper, lower))
        lay_block(link, *ends, 256 * 1024, auth_bytes=64 * 1024)
        for store in ends:
            store.close()
    first = int(time.time()) - 30
    keys = {number: os.urandom(32) for number in range(first, first + NUMBERS)}
    for node in (route.nodes[0], route.nodes[-1]):
        store = open_store(route.config(node))
        memory = store.lane_memory(LANE, 0)
        assert memory is not None
        verdict = LaneVerdict(
            lane=LANE,
            generation=0,
            first=first,
            count=NUMBERS,
            pair=memory.first_pair,
            ready=b"\xff" * (NUMBERS // 8),
            void=bytes(NUMBERS // 8),
            renew=False,
            tag=bytes(16),
        )
        with Secret.from_bytes(b"".join(keys.values())) as text:
            store.ready_lane(LANE, 0, list(keys), text, encode(verdict), verdict.pair, None)
        store.close()
    return keys


async def keys(route: Route, sae: str, path: str, body: object = None) -> list[dict[str, object]]:
    text = b"" if body is None else json.dumps(body).encode()
    async with client(route, sae) as asking:
        method = "POST" if text else "GET"
        status, answer = await asking.request(method, f"/api/v1/keys/{path}", text)
    assert status == 200, bytes(answer)
    found: list[dict[str, object]] = json.loads(bytes(answer))["keys"]
    return found


async def test_distant_applications_get_keys_of_a_lane_and_by_hops_and_accounts_stay_equal(
    tmp_path: Path,
) -> None:
    async with open_route(
        tmp_path, "n1", "n2", "n3", lane=BOUND, times=SETTINGS, lit=False
    ) as route:
        certify(route)
        laid = lay_key(route)
        await route.start()
        await route.wait("all links up", lambda: all_up(route), UP_S)
        relayed = {"qkdd_class": "relayed", "qkdd_relays_trusted": 1}

        (epoch,) = await keys(route, "alpha", "gamma/enc_keys")
        assert await keys(route, "gamma", f"alpha/dec_keys?key_ID={epoch['key_ID']}") == [epoch]
        assert epoch["key_extension"] == relayed
        number = epoch["key_ID_extension"]["qkdd_epoch"]  # type: ignore[index]
        assert base64.b64decode(str(epoch["key"])) == laid[number]

        path = f"epoch_keys?epoch={number - 1}"
        named = await keys(route, "gamma", f"alpha/{path}")
        assert await keys(route, "alpha", f"gamma/{path}") == named

        body = {"size": 512, "additional_slave_SAE_IDs": ["gamma"]}
        (hopped,) = await keys(route, "alpha", "beta/enc_keys", body)
        assert hopped["key_extension"] == relayed
        for slave in ("beta", "gamma"):
            path = f"alpha/dec_keys?key_ID={hopped['key_ID']}"
            assert await keys(route, slave, path) == [hopped]
        # the key to n2 and the one to n3 took 512 bits each of the first link, one of the second
        await route.wait("equal accounts", lambda: relayed_bits(route) == [1024, 512], SETTLED_S)


def all_up(route: Route) -> bool:
    states = [link.state for one in route.snapshots.values() for link in one.links]
    return "down" not in states


def relayed_bits(route: Route) -> list[int]:
    """What each link has relayed; -1 if its two ends do not count alike, or not yet."""
    accounts = [
        (route.link(upper, lower).account, route.link(lower, upper).account)
        for upper, lower in route.links
    ]
    return [one["relayed"] if one == other else -1 for one, other in accounts]
