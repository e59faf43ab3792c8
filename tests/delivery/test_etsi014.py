"""ETSI GS QKD 014 V1.1.1 between two relays over real TLS: what a test house would ask."""

import base64
import json
from pathlib import Path
from uuid import UUID

import pytest
import trio

from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.net.client import HttpsClient
from qkdd.net.https import client_context
from tests.delivery.relay_pair import SETTINGS, Pair, relay_pair

NOT_FOUND = "one or more keys specified are not found on KME"


async def ask(
    client: HttpsClient, method: str, path: str, body: object = None
) -> tuple[int, dict[str, object]]:
    text = b"" if body is None else json.dumps(body).encode()
    status, answer = await client.request(method, f"/api/v1/keys/{path}", text)
    return status, json.loads(answer) if answer else {}


async def new_keys(client: HttpsClient, slave: str, **request: object) -> list[dict[str, str]]:
    status, answer = await ask(client, "POST", f"{slave}/enc_keys", request)
    assert status == 200, answer
    return answer["keys"]  # type: ignore[return-value]


async def test_status_has_every_field_of_table_9_with_its_type(tmp_path: Path) -> None:
    async with relay_pair(tmp_path) as pair, pair.client("alpha") as alpha:
        status, answer = await ask(alpha, "GET", "beta/status")
    assert status == 200
    assert {name: type(value) for name, value in answer.items()} == {
        "source_KME_ID": str,
        "target_KME_ID": str,
        "master_SAE_ID": str,
        "slave_SAE_ID": str,
        "key_size": int,
        "stored_key_count": int,
        "max_key_count": int,
        "max_key_per_request": int,
        "max_key_size": int,
        "min_key_size": int,
        "max_SAE_ID_count": int,
        "status_extension": dict,
    }
    assert answer["status_extension"] == {"qkdd_class": "direct", "qkdd_relays_trusted": 0}
    names = ("source_KME_ID", "target_KME_ID", "master_SAE_ID", "slave_SAE_ID")
    assert [answer[name] for name in names] == ["a", "b", "alpha", "beta"]
    assert answer["stored_key_count"] == (64 * 1024 - 2 * 64) // 2 // 32


@pytest.mark.parametrize(("master", "slave"), [("alpha", "beta"), ("beta", "alpha")])
async def test_both_relays_hand_out_the_same_keys_each_once(
    tmp_path: Path, master: str, slave: str
) -> None:
    async with relay_pair(tmp_path) as pair, pair.client(master) as m, pair.client(slave) as s:
        keys = await new_keys(m, slave, number=5, size=512)
        assert len({UUID(key["key_ID"]) for key in keys}) == 5
        assert {len(base64.b64decode(key["key"])) for key in keys} == {64}
        ids = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys]}
        assert await ask(s, "POST", f"{master}/dec_keys", ids) == (200, {"keys": keys})
        assert await ask(s, "POST", f"{master}/dec_keys", ids) == (400, {"message": NOT_FOUND})
        one = await new_keys(m, slave)
        path = f"{master}/dec_keys?key_ID={one[0]['key_ID']}"
        assert await ask(s, "GET", path) == (200, {"keys": one})


async def test_nobody_but_the_slave_gets_a_key_by_its_id(tmp_path: Path) -> None:
    async with relay_pair(tmp_path) as pair, pair.client("alpha") as alpha:
        (key,) = await new_keys(alpha, "beta")
        path = f"alpha/dec_keys?key_ID={key['key_ID']}"
        async with pair.client("bob") as bob:
            assert (await ask(bob, "GET", path))[0] == 401
            # the true master, asked for in another's name
            assert (await ask(bob, "GET", path.replace("alpha", "anna")))[0] == 401
        async with pair.client("alpha", at=pair.b) as moved:
            status, _ = await ask(moved, "GET", f"beta/dec_keys?key_ID={key['key_ID']}")
            assert status == 401
        async with pair.client("beta") as beta:
            assert await ask(beta, "GET", path) == (200, {"keys": [key]})


async def test_a_list_with_one_unknown_id_delivers_and_consumes_nothing(tmp_path: Path) -> None:
    async with (
        relay_pair(tmp_path) as pair,
        pair.client("alpha") as alpha,
        pair.client("beta") as beta,
    ):
        keys = await new_keys(alpha, "beta", number=2)
        ids = [{"key_ID": key["key_ID"]} for key in keys]
        wrong = [*ids, {"key_ID": "00000000-0000-4000-8000-000000000000"}]
        assert await ask(beta, "POST", "alpha/dec_keys", {"key_IDs": wrong}) == (
            400,
            {"message": NOT_FOUND},
        )
        assert await ask(beta, "POST", "alpha/dec_keys", {"key_IDs": ids}) == (200, {"keys": keys})


async def test_additional_slaves_at_both_relays_get_identical_keys_once_each(
    tmp_path: Path,
) -> None:
    async with relay_pair(tmp_path) as pair, pair.client("alpha") as alpha:
        keys = await new_keys(alpha, "beta", additional_slave_SAE_IDs=["bob", "anna"])
        path = f"alpha/dec_keys?key_ID={keys[0]['key_ID']}"
        for slave in ("beta", "bob", "anna"):
            async with pair.client(slave) as client:
                assert await ask(client, "GET", path) == (200, {"keys": keys})
                assert (await ask(client, "GET", path))[0] == 400


async def test_two_saes_of_one_relay_are_served_too(tmp_path: Path) -> None:
    async with (
        relay_pair(tmp_path) as pair,
        pair.client("alpha") as alpha,
        pair.client("anna") as anna,
    ):
        keys = await new_keys(alpha, "anna")
        path = f"alpha/dec_keys?key_ID={keys[0]['key_ID']}"
        assert await ask(anna, "GET", path) == (200, {"keys": keys})


async def test_refused_requests_consume_no_key(tmp_path: Path) -> None:
    async with relay_pair(tmp_path) as pair, pair.client("alpha") as alpha:
        before = (await ask(alpha, "GET", "beta/status"))[1]["stored_key_count"]
        for body in (
            {"size": 257},
            {"number": 129},
            {"size": 8192},
            {"extension_mandatory": [{"abc_route_type": "direct"}]},
            {"additional_slave_SAE_IDs": ["nobody"]},
        ):
            assert (await ask(alpha, "POST", "beta/enc_keys", body))[0] == 400
        assert (await ask(alpha, "GET", "beta/status"))[1]["stored_key_count"] == before


async def test_an_empty_store_is_503_with_an_error_body(tmp_path: Path) -> None:
    async with relay_pair(tmp_path, stock_bytes=0) as pair, pair.client("alpha") as alpha:
        status, answer = await ask(alpha, "GET", "beta/enc_keys")
        assert status == 503
        assert "a-b" in str(answer["message"])


async def test_parallel_calls_never_return_the_same_key(tmp_path: Path) -> None:
    found: list[str] = []

    async with relay_pair(tmp_path) as pair:

        async def fetch(sae: str, slave: str) -> None:
            async with pair.client(sae) as client:
                for _ in range(5):
                    found.extend(key["key"] for key in await new_keys(client, slave, number=3))

        async with trio.open_nursery() as nursery:
            for _ in range(4):
                nursery.start_soon(fetch, "alpha", "beta")
                nursery.start_soon(fetch, "beta", "alpha")
    assert len(found) == len(set(found)) == 8 * 5 * 3


async def test_the_account_balances_and_both_ends_agree_on_it(tmp_path: Path) -> None:
    async with (
        relay_pair(tmp_path) as pair,
        pair.client("alpha") as alpha,
        pair.client("beta") as beta,
    ):
        keys = await new_keys(alpha, "beta", number=7)
        ids = {"key_IDs": [{"key_ID": key["key_ID"]} for key in keys[:3]]}
        assert (await ask(beta, "POST", "alpha/dec_keys", ids))[0] == 200
        with trio.fail_after(10):
            while True:
                account_a = await pair.a.service.do(lambda store: store.account("a-b"))
                account_b = await pair.b.service.do(lambda store: store.account("a-b"))
                if account_a == account_b and account_a.delivered == 7 * 256:
                    break
                await trio.sleep(0.05)
        assert account_a.distilled == 8 * 64 * 1024


async def answer_with_head(pair: Pair, sae: str, path: str) -> tuple[int, dict[str, str]]:
    """Ask once on a connection of its own; return status and header fields, names in lower case."""
    files = (pair.folder / f"{sae}.pem", pair.folder / f"{sae}.key", pair.folder / "ca.pem")
    stream = await trio.open_ssl_over_tcp_stream(
        "127.0.0.1", pair.a.port, ssl_context=client_context(*files), https_compatible=True
    )
    request = f"GET /api/v1/keys/{path} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
    text = b""
    async with stream:
        await stream.send_all(request.encode())
        async for part in stream:
            text += part
    first, *lines = text.partition(b"\r\n\r\n")[0].decode().split("\r\n")
    fields = dict(line.lower().split(": ", 1) for line in lines)
    return int(first.split()[1]), fields


async def test_a_low_stock_is_503_with_the_time_after_which_to_ask_again(tmp_path: Path) -> None:
    async with relay_pair(tmp_path, stock_bytes=1024, rate=lambda _: 1000.0) as pair:
        async with pair.client("alpha") as alpha:
            assert len(await new_keys(alpha, "beta", number=14)) == 14
        status, fields = await answer_with_head(pair, "alpha", "beta/enc_keys?number=8")
        assert status == 503
        # 8 keys are 2048 bits; of each second's 1000 half is for masters at this end
        assert fields["retry-after"] == "5"
        assert fields["cache-control"] == "no-store"


async def test_a_quota_holds_for_its_application_alone_and_counts_only_keys_that_came(
    tmp_path: Path,
) -> None:
    bound = Sae(id="alpha", node="a", quota_bits_per_s=256.0)
    settings = DeliverySettings(
        quota_burst_s=4.0, saes=(bound, *(one for one in SETTINGS.saes if one.id != "alpha"))
    )
    async with relay_pair(tmp_path, settings=settings) as pair, pair.client("alpha") as alpha:
        body = {"number": 2, "extension_mandatory": [{"other_x": 1}]}
        for _ in range(3):
            assert (await ask(alpha, "POST", "beta/enc_keys", body))[0] == 400
        assert (await ask(alpha, "GET", "beta/enc_keys?number=5"))[0] == 400  # never at once
        await new_keys(alpha, "beta", number=4)
        status, fields = await answer_with_head(pair, "alpha", "beta/enc_keys?number=3")
        assert status == 503
        assert 1 <= int(fields["retry-after"]) <= 3
        async with pair.client("anna") as anna:
            assert len(await new_keys(anna, "beta", number=100)) == 100
        status, answer = await ask(alpha, "GET", "beta/status")
        assert answer["status_extension"]["qkdd_quota_bits_per_s"] == 256.0  # type: ignore[index]


async def test_the_last_of_the_stock_is_for_whom_it_is_reserved(tmp_path: Path) -> None:
    kept = Sae(id="alpha", node="a", reserved_bits_per_s=256.0)
    settings = DeliverySettings(
        reserve_s=10.0, saes=(kept, *(one for one in SETTINGS.saes if one.id != "alpha"))
    )
    async with (
        relay_pair(tmp_path, stock_bytes=1024, settings=settings) as pair,
        pair.client("alpha") as alpha,
        pair.client("anna") as anna,
    ):
        assert len(await new_keys(anna, "beta", number=4)) == 4
        status, answer = await ask(anna, "GET", "beta/enc_keys")
        assert status == 503
        assert "2560 are reserved for other applications" in str(answer["message"])
        assert len(await new_keys(alpha, "beta", number=10)) == 10
