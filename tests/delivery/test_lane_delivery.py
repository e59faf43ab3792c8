"""Keys of lanes by ETSI GS QKD 014 and by epoch: for two applications whose homes are far apart."""

import base64
import os
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import pytest

from qkdd.base.secret import Secret
from qkdd.relay.epochs import epoch_key_id
from qkdd.relay.settings import Lane
from tests.delivery.relay_row import Row, relay_row
from tests.delivery.test_etsi014 import NOT_FOUND, ask, new_keys

EPOCH_S = 1_000
"""So long that no epoch changes within a test but at its very beginning."""
BOUND = Lane(id="north", route=("a", "b", "c"), saes=("alpha", "gamma"), epoch_s=EPOCH_S)
OPEN = Lane(id="open", route=("a", "b", "c", "d"), epoch_s=EPOCH_S)
RELAYED = {"qkdd_class": "relayed", "qkdd_relays_trusted": 1}


def now() -> int:
    return int(time.time() // EPOCH_S)


async def lay(row: Row, lane: Lane, numbers: Iterable[int]) -> dict[int, bytes]:
    """Have both ends hold keys of these numbers, READY, as the lane's machines would."""
    keys = {number: os.urandom(32) for number in sorted(numbers)}
    psk = os.urandom(32 * 1024)
    for end in (lane.route[0], lane.route[-1]):
        station = row.stations[end]

        def ready(store: object) -> None:
            assert hasattr(store, "install_lane_psk")
            store.install_lane_psk(lane.id, Secret.from_bytes(psk))
            store.lane_memory(lane.id, lane.generation)
            text = Secret.from_bytes(b"".join(keys.values()))
            store.ready_lane(lane.id, lane.generation, list(keys), text, b"verdict", 0, None)

        await station.service.do(ready)
        view = station.lanes.view(lane.id)
        assert view is not None
        view.epochs.ready(*keys)
    return keys


@asynccontextmanager
async def a_lane(
    folder: Path, lane: Lane = BOUND, *, late: int = 2, ahead: int = 3
) -> AsyncIterator[tuple[Row, dict[int, bytes]]]:
    async with relay_row(folder, lanes=[lane]) as row:
        keys = await lay(row, lane, range(now() - late, now() + ahead + 1))
        yield row, keys


async def test_the_master_gets_the_newest_epoch_and_the_slave_the_same_by_its_id_once(
    tmp_path: Path,
) -> None:
    async with a_lane(tmp_path) as (row, laid), row.client("alpha") as alpha:
        number = now()
        (key,) = await new_keys(alpha, "gamma")
        assert UUID(key["key_ID"]) == epoch_key_id(BOUND, number)
        assert base64.b64decode(key["key"]) == laid[number]
        assert key["key_extension"] == RELAYED
        assert key["key_ID_extension"] == {"qkdd_lane": "north", "qkdd_epoch": number}
        async with row.client("gamma") as gamma:
            path = f"alpha/dec_keys?key_ID={key['key_ID']}"
            assert await ask(gamma, "GET", path) == (200, {"keys": [key]})
            assert await ask(gamma, "GET", path) == (400, {"message": NOT_FOUND})


async def test_more_keys_are_further_epochs_and_too_many_are_refused_whole(tmp_path: Path) -> None:
    async with a_lane(tmp_path) as (row, _), row.client("alpha") as alpha:
        status, answer = await ask(alpha, "POST", "gamma/enc_keys", {"number": 4})
        assert (status, answer["message"]) == (503, "lane north: 3 of 4 keys are READY")
        status, answer = await ask(alpha, "POST", "gamma/enc_keys", {"number": 12})
        assert status == 400
        assert "at most 11 keys at once" in str(answer["message"])
        keys = await new_keys(alpha, "gamma", number=3)
        epochs = [key["key_ID_extension"]["qkdd_epoch"] for key in keys]  # type: ignore[index]
        assert epochs == [now(), now() - 1, now() - 2]
        assert (await ask(alpha, "GET", "gamma/enc_keys"))[0] == 503


async def test_an_epochs_key_is_given_once_to_each_of_the_two_and_to_nobody_else(
    tmp_path: Path,
) -> None:
    async with a_lane(tmp_path) as (row, laid):
        path, found = f"epoch_keys?epoch={now() + 1}", []
        for sae, other in (("alpha", "gamma"), ("gamma", "alpha")):
            async with row.client(sae) as client:
                status, answer = await ask(client, "GET", f"{other}/{path}")
                assert status == 200
                found += answer["keys"]  # type: ignore[arg-type]
                assert (await ask(client, "GET", f"{other}/{path}"))[0] == 503
        assert found[0] == found[1]
        assert base64.b64decode(found[0]["key"]) == laid[now() + 1]
        async with row.client("anna") as anna:
            assert (await ask(anna, "GET", f"gamma/{path}"))[0] == 400


@pytest.mark.parametrize("distance", [-11, 2])
async def test_an_epoch_outside_of_the_window_is_refused_with_the_window(
    tmp_path: Path, distance: int
) -> None:
    async with a_lane(tmp_path, late=12) as (row, _), row.client("alpha") as alpha:
        status, answer = await ask(alpha, "GET", f"gamma/epoch_keys?epoch={now() + distance}")
        assert status == 400
        assert f"is outside of {now() - 10} to {now() + 1}" in str(answer["message"])


async def test_others_and_the_wrong_direction_get_no_key_of_a_lane(tmp_path: Path) -> None:
    async with a_lane(tmp_path) as (row, _), row.client("alpha") as alpha:
        (key,) = await new_keys(alpha, "gamma")
        async with row.client("carl") as carl:
            path = f"alpha/dec_keys?key_ID={key['key_ID']}"
            assert (await ask(carl, "GET", path))[0] == 401
        assert (await ask(alpha, "GET", f"gamma/dec_keys?key_ID={key['key_ID']}"))[0] == 401
        async with row.client("gamma") as gamma:  # its keys to send with come by hops
            (hopped,) = await new_keys(gamma, "alpha")
            assert "key_ID_extension" not in hopped
            assert hopped["key_extension"] == RELAYED


async def test_keys_of_a_lane_and_by_hops_are_fetched_together_all_or_none(
    tmp_path: Path,
) -> None:
    async with a_lane(tmp_path) as (row, _), row.client("alpha") as alpha:
        (epoch,) = await new_keys(alpha, "gamma")
        (hopped,) = await new_keys(alpha, "gamma", additional_slave_SAE_IDs=["beta"])
        ids = [{"key_ID": hopped["key_ID"]}, {"key_ID": epoch["key_ID"]}]
        unknown = {"key_ID": "00000000-0000-4000-8000-000000000000"}
        missing = {"key_ID": str(epoch_key_id(BOUND, now() - 5))}
        async with row.client("gamma") as gamma:
            for wrong in (unknown, missing):
                body = {"key_IDs": [*ids, wrong]}
                assert (await ask(gamma, "POST", "alpha/dec_keys", body))[0] in (400, 401)
            answer = await ask(gamma, "POST", "alpha/dec_keys", {"key_IDs": ids})
        assert answer == (200, {"keys": [hopped, epoch]})


async def test_status_tells_the_keys_ahead_and_what_a_lane_gives(tmp_path: Path) -> None:
    async with a_lane(tmp_path) as (row, _), row.client("alpha") as alpha:
        _, status = await ask(alpha, "GET", "gamma/status")
        sizes = {status[name] for name in ("key_size", "min_key_size", "max_key_size")}
        assert sizes == {256}
        assert (status["stored_key_count"], status["target_KME_ID"]) == (6, "c")
        assert status["status_extension"] == {
            **RELAYED,
            "qkdd_lane": "north",
            "qkdd_epoch": now(),
            "qkdd_epochs_ahead": 3,
        }
        code, answer = await ask(alpha, "GET", "gamma/enc_keys?size=512")
        assert code == 400
        assert "lane north for these SAEs have 256 bits" in str(answer["message"])
        body = {"extension_mandatory": [{"qkdd_max_relays": 0}]}
        assert (await ask(alpha, "POST", "gamma/enc_keys", body))[0] == 400
        assert (await ask(alpha, "GET", "gamma/status"))[1] == status


async def test_a_lane_for_any_two_serves_those_whose_number_it_cannot_give_to_others(
    tmp_path: Path,
) -> None:
    """Relay a is the home of two applications: a number could go to either, so neither gets it."""
    async with a_lane(tmp_path, OPEN) as (row, _), row.client("alpha") as alpha:
        (key,) = await new_keys(alpha, "delta")
        assert "key_ID_extension" not in key
        assert (await ask(alpha, "GET", f"delta/epoch_keys?epoch={now()}"))[0] == 400
    lane = Lane(id="only", route=("b", "c", "d"), epoch_s=EPOCH_S)
    (tmp_path / "2").mkdir()
    async with a_lane(tmp_path / "2", lane) as (row, laid), row.client("beta") as beta:
        (key,) = await new_keys(beta, "delta")
        assert base64.b64decode(key["key"]) == laid[now()]


async def test_no_epochs_are_served_while_nothing_keeps_the_clock(tmp_path: Path) -> None:
    async with a_lane(tmp_path) as (row, _), row.client("alpha") as alpha:
        for station in row.stations.values():
            for view in station.lanes.views:
                object.__setattr__(view, "clock_offset_s", lambda: float("nan"))
        for path in ("gamma/enc_keys", f"gamma/epoch_keys?epoch={now()}"):
            status, answer = await ask(alpha, "GET", path)
            assert status == 503
            assert "nothing keeps this host's clock" in str(answer["message"])
