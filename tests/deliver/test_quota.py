"""Quotas and reserved rates: nobody draws more than is his, and the last of the stock is kept."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.deliver.errors import HttpError
from qkdd.deliver.quota import MAX_RETRY_S, Quotas, forecast_s
from qkdd.deliver.settings import DeliverySettings, Sae

SETTINGS = DeliverySettings(
    quota_burst_s=10.0,
    reserve_s=100.0,
    saes=(
        Sae(id="bound", node="a", quota_bits_per_s=256.0),
        Sae(id="kept", node="a", reserved_bits_per_s=100.0),
        Sae(id="free", node="a"),
    ),
)


def test_a_quota_allows_its_burst_and_then_its_rate() -> None:
    quotas = Quotas(SETTINGS, 0.0)
    for _ in range(10):
        quotas.draw("bound", 256, 0.0)
    with pytest.raises(HttpError, match="256 bit/s, is used up") as caught:
        quotas.draw("bound", 512, 0.5)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 2)
    quotas.draw("bound", 512, 2.0)
    quotas.draw("free", 10**9, 0.0)


def test_more_than_a_quota_ever_allows_is_the_applications_fault() -> None:
    with pytest.raises(HttpError, match="the quota of bound allows 2560") as caught:
        Quotas(SETTINGS, 0.0).draw("bound", 2561, 1e9)
    assert caught.value.status == 400


@given(
    st.lists(
        st.tuples(st.floats(0, 20, allow_nan=False), st.integers(1, 2560), st.booleans()),
        max_size=40,
    )
)
def test_no_order_of_requests_draws_more_than_burst_and_rate(
    asked: list[tuple[float, int, bool]],
) -> None:
    quotas, now_s, drawn = Quotas(SETTINGS, 0.0), 0.0, 0
    for pause_s, n_bits, failed in asked:
        now_s += pause_s
        try:
            quotas.draw("bound", n_bits, now_s)
        except HttpError as error:
            assert error.retry_after_s
            quotas.draw("bound", n_bits, now_s + error.retry_after_s)  # the forecast holds
            now_s += error.retry_after_s
        if failed:
            quotas.give_back("bound", n_bits, reserved_bits=0)
        else:
            drawn += n_bits
        assert drawn <= 2560 + 256 * now_s + 1e-6


def test_the_last_of_the_stock_is_for_those_who_reserved_it() -> None:
    quotas = Quotas(SETTINGS, 0.0)
    assert quotas.keep_stock
    quotas.check_stock("free", 256, 10_256, 0.0, None)
    with pytest.raises(HttpError, match="10255 bits are left, 10000 are reserved") as caught:
        quotas.check_stock("free", 256, 10_255, 0.0, 0.25)
    assert (caught.value.status, caught.value.retry_after_s) == (503, 4)
    quotas.check_stock("kept", 10_000, 10_000, 0.0, None)
    quotas.check_stock("kept", 256, 256, 0.0, None)  # above its rate, but others reserve nothing
    assert not Quotas(DeliverySettings(), 0.0).keep_stock


def test_new_settings_do_not_fill_a_quota_that_is_used_up() -> None:
    quotas = Quotas(SETTINGS, 0.0)
    quotas.draw("bound", 2560, 0.0)
    quotas.take(SETTINGS, 0.0)
    with pytest.raises(HttpError):
        quotas.draw("bound", 256, 0.0)
    assert quotas.rate_of("bound") == 256.0
    quotas.take(DeliverySettings(), 0.0)
    quotas.draw("bound", 10**9, 0.0)
    assert quotas.rate_of("bound") is None


def test_a_forecast_is_whole_seconds_within_an_hour_and_none_in_the_dark() -> None:
    assert forecast_s(1000, 300.0) == 4
    assert forecast_s(1, 1e9) == 1
    assert forecast_s(1e12, 1.0) == MAX_RETRY_S
    assert forecast_s(1000, None) is None
    assert forecast_s(1000, 0.0) is None
