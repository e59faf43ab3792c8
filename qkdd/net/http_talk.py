"""One connection's HTTP/1.1, without the connection: bytes in, requests out, answers to bytes.

h11 reads and writes; the plain requests of :mod:`qkdd.net.plain_request` and their answers go past
it, byte for byte as it would have them.
"""

from dataclasses import dataclass
from http import HTTPStatus

import h11

from qkdd.net.plain_request import read_plain

MAX_HEADER_BYTES = 16 * 1024
MAX_BODY_BYTES = 64 * 1024
PHRASES = {int(status): status.phrase for status in HTTPStatus}


@dataclass(frozen=True, slots=True)
class HttpRequest:
    method: str
    target: str
    body: bytes
    caller: str | None
    """The SAE that the certificate names, if the registry knows it."""


@dataclass(frozen=True, slots=True)
class Response:
    status: int
    body: bytearray
    allow: str = ""
    retry_after_s: int | None = None


class HttpTalk:
    """The server's side: ``feed`` until ``next_request`` has one, ``answer`` it, and so on while
    ``open``. After an h11.RemoteProtocolError only one answer, the last, can be given."""

    def __init__(self, caller: str | None, *, plain: bool = True) -> None:
        """``plain``: whether plain requests may go past h11."""
        self._caller = caller
        self._plain = plain
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        self._untouched = True
        """h11 holds nothing of a request that has begun."""
        self._asked: HttpRequest | None = None
        self._head: h11.Request | None = None
        self._body = bytearray()
        self._wants_body = True
        """HEAD is answered without one, whatever the status, even where it broke off."""
        self.open = True
        self.ended = False
        """The client has closed, between two requests."""

    @property
    def in_body(self) -> bool:
        """Whether the head of a request has come, and its body not yet."""
        return self._head is not None

    def feed(self, data: bytes) -> None:
        """Take what has come; nothing means that the client has closed."""
        if self._plain and self._untouched:
            plain = read_plain(data)
            if plain is not None:
                self._asked = HttpRequest(*plain, self._caller)
                return
        self._untouched = False
        self._http.receive_data(data)

    def next_request(self) -> HttpRequest | None:
        """Return a request if one is there. Too long a body is cut, not kept.

        Raises
        ------
        h11.RemoteProtocolError
            It is malformed.
        """
        if self._asked is not None or self._untouched:
            return self._asked
        while (event := self._http.next_event()) is not h11.NEED_DATA:
            if isinstance(event, h11.ConnectionClosed):
                self.ended = True
                return None
            if isinstance(event, h11.Request):
                self._head, self._body = event, bytearray()
                self._wants_body = event.method != b"HEAD"
            elif isinstance(event, h11.Data):
                if len(self._body) <= MAX_BODY_BYTES:
                    self._body += event.data
            elif isinstance(event, h11.EndOfMessage):
                return self._whole()
            else:
                raise AssertionError(f"{event!r} from a client")
        return None

    def _whole(self) -> HttpRequest:
        head, self._head = self._head, None
        assert head is not None
        method, target = head.method.decode(), head.target.decode("latin-1")
        return HttpRequest(method, target, bytes(self._body), self._caller)

    def go_on(self) -> bytes:
        """What a client wants to hear before it sends more, mostly nothing."""
        if not self._http.they_are_waiting_for_100_continue:
            return b""
        return self._http.send(h11.InformationalResponse(status_code=100, headers=[])) or b""

    def answer(self, response: Response) -> bytearray:
        """Write the answer to the request; the caller wipes it, and the response's body."""
        headers = _headers(response)
        if self._asked is not None:
            self._asked = None
            head = _head(response.status, headers)
        else:
            head = self._head_by_h11(response, headers)
        text = bytearray(head)
        if self._wants_body:
            text += response.body  # its length is declared: HTTP adds nothing to it
        self._wants_body = True
        return text

    def _head_by_h11(self, response: Response, headers: list[tuple[str, str]]) -> bytes:
        http, reason = self._http, PHRASES[response.status].encode()
        head = http.send(h11.Response(status_code=response.status, headers=headers, reason=reason))
        if self._wants_body:
            http.send_with_data_passthrough(h11.Data(data=response.body))  # type: ignore[arg-type]
        http.send(h11.EndOfMessage())
        self.open = http.our_state is h11.DONE and http.their_state is h11.DONE
        if self.open:
            http.start_next_cycle()
            self._untouched = http.trailing_data == (b"", False)
        return head or b""


def _headers(response: Response) -> list[tuple[str, str]]:
    headers = [("Content-Length", str(len(response.body))), ("Cache-Control", "no-store")]
    if response.body:
        headers.append(("Content-Type", "application/json"))
    if response.allow:
        headers.append(("Allow", response.allow))
    if response.retry_after_s is not None:
        headers.append(("Retry-After", str(response.retry_after_s)))
    return headers


def _head(status: int, headers: list[tuple[str, str]]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"HTTP/1.1 {status} {PHRASES[status]}\r\n{lines}\r\n".encode()
