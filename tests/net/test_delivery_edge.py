"""The handler before the key manager: requests that are known again, and what is logged of them."""

import json

import trio
from structlog.testing import capture_logs

from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.net.delivery import MOST_KNOWN, Delivery
from qkdd.net.http_talk import HttpRequest
from tests.net.test_https import LIMITS, SETTINGS, Manager


def ask(target: str, caller: str = "alpha", method: str = "GET") -> HttpRequest:
    return HttpRequest(method, f"/api/v1/keys/{target}", b"", caller)


async def test_a_request_that_is_known_again_is_read_by_the_settings_of_its_day() -> None:
    delivery = Delivery(Manager(10), SETTINGS, LIMITS)
    for _ in range(2):
        assert (await delivery.handle(ask("beta/enc_keys?number=1"))).status == 200
    delivery.take(DeliverySettings(saes=(Sae(id="alpha", node="a"), Sae(id="gamma", node="a"))))
    refused = await delivery.handle(ask("beta/enc_keys?number=1"))
    assert refused.status == 400
    assert json.loads(refused.body) == {"message": "the SAE ID in the path is not known here"}


async def test_what_one_application_asked_is_not_what_another_asks() -> None:
    delivery = Delivery(Manager(10), SETTINGS, LIMITS)
    assert (await delivery.handle(ask("beta/status"))).status == 200
    assert (await delivery.handle(ask("beta/status", caller="beta"))).status == 400
    assert (await delivery.handle(ask("beta/status", method="POST"))).status == 405
    assert (await delivery.handle(ask("beta/status", method="DELETE"))).status == 405


async def test_any_number_of_different_requests_keeps_few_in_mind() -> None:
    delivery = Delivery(Manager(0), SETTINGS, LIMITS)
    for number in range(2 * MOST_KNOWN + 1):
        padded = str(1).rjust(1 + number % 10, "0")
        await delivery.handle(ask(f"beta/enc_keys?number={padded}&size={64 + 8 * (number // 10)}"))
    assert len(delivery._known) <= MOST_KNOWN


async def test_requests_are_logged_in_one_line_a_second_by_who_how_and_with_what_end(
    autojump_clock: trio.testing.MockClock,
) -> None:
    delivery = Delivery(Manager(2), SETTINGS, LIMITS)
    with capture_logs() as lines:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(delivery.log.run)
            for _ in range(3):
                await delivery.handle(ask("beta/enc_keys"))
            await trio.sleep(1.5)
            assert len(lines) == 2
            await delivery.handle(ask("alpha/nothing", caller="beta"))
            nursery.cancel_scope.cancel()
    said = [(one["sae"], one["method"], one["status"], one["n_requests"]) for one in lines]
    assert said == [("alpha", "GET", 200, 2), ("alpha", "GET", 503, 1), ("beta", "GET", 404, 1)]
    assert {one["event"] for one in lines} == {"key requests"}
