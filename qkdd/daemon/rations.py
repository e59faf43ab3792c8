"""Quotas, reserved rates and forecasts of a running relay: the rules with its store and clock."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

import trio

from qkdd.base.errors import OutOfKey
from qkdd.base.ids import LinkId
from qkdd.daemon.store_service import StoreService
from qkdd.deliver.errors import HttpError
from qkdd.deliver.quota import Quotas, forecast_s
from qkdd.deliver.request import EncRequest
from qkdd.deliver.settings import DeliverySettings

Rate = Callable[[LinkId], float | None]
"""Bits of key that a link has made per second lately; None if none."""
STEP_BITS = 64
"""In what steps the stock is counted: the smallest key."""


class Rations:
    def __init__(self, settings: DeliverySettings, store: StoreService, rate: Rate) -> None:
        self._quotas = Quotas(settings, trio.current_time())
        self._store = store
        self._rate = rate

    def take(self, settings: DeliverySettings) -> None:
        """Go by these settings from now on."""
        self._quotas.take(settings, trio.current_time())

    @property
    def keep_stock(self) -> bool:
        """Whether some of the stock is reserved: then nothing may be cut of it ahead."""
        return self._quotas.keep_stock

    def rate_of(self, sae: str) -> float | None:
        return self._quotas.rate_of(sae)

    def drawn(self, request: EncRequest) -> "Draw":
        """Take a request from its master's quota; if the ``with`` block fails, nothing came of it,
        and all that was drawn in it is given back.

        Raises
        ------
        HttpError
            If the quota does not allow it.
        """
        self._quotas.draw(request.master, bits_of(request), trio.current_time())
        return Draw(request, self._quotas)

    async def check_stock(self, link: LinkId, draw: "Draw") -> None:
        """Return if what others have reserved of the link's stock allows the request.

        Raises
        ------
        HttpError
            It does not; with the time after which it may, if the link makes key.
        """
        if self._quotas.keep_stock:
            stock_bits = await self._stock_bits(link)
            draw.reserved_bits += self._quotas.check_stock(
                draw.request.master,
                bits_of(draw.request),
                stock_bits,
                trio.current_time(),
                self._half_rate(link),
            )

    async def shortage(self, link: LinkId, request: EncRequest, error: OutOfKey) -> HttpError:
        """Say that a link has not enough key, and when it will have, if it makes any."""
        missing_bits = bits_of(request) - await self._stock_bits(link)
        rate = self._half_rate(link)
        if missing_bits <= 0:
            return HttpError(503, str(error))  # the stock is not what is short
        forecast = forecast_s(missing_bits, rate)
        if rate is None or forecast is None:
            return HttpError(503, f"{error}; the link makes no key now")
        return HttpError(
            503, f"{error}; the link makes {rate:.0f} bit/s of it", retry_after_s=forecast
        )

    def _half_rate(self, link: LinkId) -> float | None:
        """Only half of what a link makes is for masters at this end."""
        rate = self._rate(link)
        return None if rate is None else rate / 2

    async def _stock_bits(self, link: LinkId) -> int:
        n_steps = await self._store.do(lambda store: store.available_keys(link, STEP_BITS))
        return STEP_BITS * n_steps


class Draw:
    """What one request under way has drawn of its master's rates; given back if it fails."""

    def __init__(self, request: EncRequest, quotas: Quotas) -> None:
        self.request = request
        self.reserved_bits = 0
        self._quotas = quotas

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if kind is not None:
            self._quotas.give_back(
                self.request.master, bits_of(self.request), reserved_bits=self.reserved_bits
            )


def bits_of(request: EncRequest) -> int:
    return request.number * request.size_bits
