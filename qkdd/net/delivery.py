"""Key delivery over HTTPS: ETSI GS QKD 014 requests in, what the key manager says out."""

from collections.abc import Sequence
from typing import Protocol

import msgspec
import trio

from qkdd.base.errors import QkdError
from qkdd.deliver.body import key_container
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.errors import HttpError
from qkdd.deliver.messages import ErrorBody, Status
from qkdd.deliver.request import (
    DecRequest,
    EncRequest,
    EpochRequest,
    Request,
    StatusRequest,
    parse_request,
)
from qkdd.deliver.settings import DeliverySettings
from qkdd.deliver.tally import Tally
from qkdd.keys.settings import StoreSettings
from qkdd.net.http_talk import HttpRequest, Response
from qkdd.net.request_log import RequestLog

MOST_KNOWN = 1_000
"""Requests that have been read before and may come again; all are forgotten when there are more."""

Delivered = Sequence[DeliveredKey]
CALLS: dict[type[Request], str] = {
    StatusRequest: "status",
    EncRequest: "enc_keys",
    DecRequest: "dec_keys",
    EpochRequest: "epoch_keys",
}


class KeyManager(Protocol):
    """What delivery needs of the relay. Refusals are HttpError, shortage is OutOfKey."""

    async def status(self, request: StatusRequest) -> Status: ...
    async def new_keys(self, request: EncRequest) -> Delivered: ...
    async def known_keys(self, request: DecRequest) -> Delivered: ...
    async def epoch_keys(self, request: EpochRequest) -> Delivered: ...


class Delivery:
    """The handler that :class:`qkdd.net.https.HttpsServer` calls."""

    def __init__(
        self, manager: KeyManager, settings: DeliverySettings, limits: StoreSettings
    ) -> None:
        self._manager = manager
        self._limits = limits
        self._settings = settings
        self._known: dict[tuple[str, str], Request] = {}
        self.tally = Tally()
        self.log = RequestLog()

    def take(self, settings: DeliverySettings) -> None:
        """Serve by these settings from the next request on."""
        self._settings = settings
        self._known.clear()

    async def handle(self, request: HttpRequest) -> Response:
        assert request.caller is not None
        start_s = trio.current_time()
        call = "not_understood"
        try:
            asked = self._read(request, request.caller)
            call = CALLS[type(asked)]
            response = await self._carry_out(asked)
        except HttpError as error:
            body = bytearray(error.body)
            response = Response(error.status, body, error.allow, error.retry_after_s)
        except QkdError as error:
            body = bytearray(msgspec.json.encode(ErrorBody(message=str(error))))
            response = Response(503, body)
        self.tally.answered(call, response.status, trio.current_time() - start_s)
        self.log.count(request.caller, request.method, response.status)
        return response

    def _read(self, request: HttpRequest, caller: str) -> Request:
        """Read a request, or know it again: a master asks for the next key as for the last one."""
        again = self._known.get((caller, request.target)) if request.method == "GET" else None
        if again is not None:
            return again
        asked = parse_request(
            request.method,
            request.target,
            request.body,
            caller=caller,
            settings=self._settings,
            limits=self._limits,
        )
        if request.method == "GET" and isinstance(asked, EncRequest | StatusRequest):
            if len(self._known) >= MOST_KNOWN:
                self._known.clear()
            self._known[caller, request.target] = asked
        return asked

    async def _carry_out(self, asked: Request) -> Response:
        if isinstance(asked, StatusRequest):
            status = await self._manager.status(asked)
            return Response(200, bytearray(msgspec.json.encode(status)))
        if isinstance(asked, EncRequest):
            keys = await self._manager.new_keys(asked)
        elif isinstance(asked, EpochRequest):
            keys = await self._manager.epoch_keys(asked)
        else:
            keys = await self._manager.known_keys(asked)
        try:
            return Response(200, key_container(keys))
        finally:
            for one in keys:
                one.key.wipe()
