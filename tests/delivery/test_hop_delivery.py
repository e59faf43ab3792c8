"""Keys outside lanes, for any applications of a network: hop by hop, to each the same, once."""

import base64
from pathlib import Path

import pytest
import trio

from tests.delivery.relay_row import Row, relay_row
from tests.delivery.test_etsi014 import NOT_FOUND, ask, new_keys


async def fetched(row: Row, slave: str, master: str, key_id: str) -> tuple[int, dict[str, object]]:
    async with row.client(slave) as client:
        return await ask(client, "GET", f"{master}/dec_keys?key_ID={key_id}")


@pytest.mark.parametrize(("master", "slave"), [("alpha", "delta"), ("delta", "alpha")])
async def test_applications_of_distant_relays_get_equal_keys_each_once(
    tmp_path: Path, master: str, slave: str
) -> None:
    async with relay_row(tmp_path) as row, row.client(master) as m, row.client(slave) as s:
        keys = await new_keys(m, slave, number=3, size=512)
        assert {len(base64.b64decode(key["key"])) for key in keys} == {64}
        assert keys[0]["key_extension"] == {"qkdd_class": "relayed", "qkdd_relays_trusted": 2}
        ids = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
        assert await ask(s, "POST", f"{master}/dec_keys", ids) == (200, {"keys": keys})
        assert await ask(s, "POST", f"{master}/dec_keys", ids) == (400, {"message": NOT_FOUND})
        assert (await ask(m, "POST", f"{slave}/dec_keys", ids))[0] == 400


async def test_slaves_anywhere_get_the_same_key_and_all_know_how_many_relays_it_trusts(
    tmp_path: Path,
) -> None:
    async with relay_row(tmp_path) as row, row.client("alpha") as alpha:
        slaves = ["anna", "beta", "gamma", "carl"]
        (key,) = await new_keys(alpha, "delta", additional_slave_SAE_IDs=slaves)
        assert key["key_extension"] == {"qkdd_class": "relayed", "qkdd_relays_trusted": 2}
        for slave in ("delta", *slaves):
            assert await fetched(row, slave, "alpha", key["key_ID"]) == (200, {"keys": [key]})
            assert (await fetched(row, slave, "alpha", key["key_ID"]))[0] == 400


async def test_nobody_but_the_slave_gets_a_key_that_came_by_hops(tmp_path: Path) -> None:
    async with relay_row(tmp_path) as row, row.client("alpha") as alpha:
        (key,) = await new_keys(alpha, "gamma")
        assert (await fetched(row, "carl", "alpha", key["key_ID"]))[0] == 401
        assert (await fetched(row, "gamma", "anna", key["key_ID"]))[0] == 401
        assert await fetched(row, "gamma", "alpha", key["key_ID"]) == (200, {"keys": [key]})


async def test_every_link_counts_the_pads_as_relayed_alike_at_both_ends(tmp_path: Path) -> None:
    async with relay_row(tmp_path) as row, row.client("alpha") as alpha:
        await new_keys(alpha, "delta", number=3)
        with trio.fail_after(10):
            for one, other in ("ab", "bc", "cd"):
                while True:
                    first, second = await row.accounts(one, other)
                    if first == second and first.relayed == 3 * 256:  # type: ignore[attr-defined]
                        break
                    await trio.sleep(0.05)
                assert first.delivered == 0  # type: ignore[attr-defined]


async def test_a_link_that_is_down_on_the_way_is_named_and_no_key_is_left(tmp_path: Path) -> None:
    async with relay_row(tmp_path) as row, row.client("alpha") as alpha:
        row.cut("c", "d")
        status, answer = await ask(alpha, "GET", "delta/enc_keys")
        assert status == 503
        assert "burned at c: link c-d is not connected" in str(answer["message"])
        body = {"additional_slave_SAE_IDs": ["delta", "anna"]}
        assert (await ask(alpha, "POST", "gamma/enc_keys", body))[0] == 503
        with trio.fail_after(5):
            while True:  # a, c and d: their burning is on its way when the master hears
                stores = [row.stations[node].store for node in "acd"]
                if not any(store._db.one("SELECT 1 FROM hop_keys") for store in stores):
                    break
                await trio.sleep(0.02)
        assert (await ask(alpha, "GET", "gamma/enc_keys"))[0] == 200


async def test_a_link_without_key_on_the_way_is_named(tmp_path: Path) -> None:
    async with relay_row(tmp_path, stock_bytes=0) as row, row.client("alpha") as alpha:
        await row.stock("a", "b", 4096)
        status, answer = await ask(alpha, "GET", "delta/enc_keys")
        assert status == 503
        assert "burned at b: link b-c: 0 keys of 256 bits in our half" in str(answer["message"])


async def test_a_request_that_allows_no_relay_is_refused_before_any_key_is_used(
    tmp_path: Path,
) -> None:
    async with relay_row(tmp_path) as row, row.client("alpha") as alpha:
        before = await ask(alpha, "GET", "delta/status")
        assert before[1]["status_extension"] == {
            "qkdd_class": "relayed",
            "qkdd_relays_trusted": 2,
        }
        for extension in ({"qkdd_class": "direct"}, {"qkdd_max_relays": 1}):
            body = {"extension_mandatory": [extension]}
            status, answer = await ask(alpha, "POST", "delta/enc_keys", body)
            assert status == 400
            assert answer["message"] == "not all extension_mandatory request options could be met"
        assert await ask(alpha, "GET", "delta/status") == before
        assert (
            len(await new_keys(alpha, "delta", extension_mandatory=[{"qkdd_max_relays": 2}])) == 1
        )
