"""What an application, a reader of metrics or an operator's program may send to a relay."""

import h11
import msgspec
import trio
from trio.testing import MockClock

from qkdd.daemon import status_socket
from qkdd.daemon.snapshot import RelaySnapshot, read_snapshot
from qkdd.deliver.errors import HttpError
from qkdd.deliver.request import EncRequest, parse_request
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.settings import StoreSettings
from qkdd.net import plain_http
from qkdd.net.http_talk import HttpTalk, Response
from tests.fuzz.mutate import dictionary
from tests.fuzz.target import Target

SETTINGS = DeliverySettings(saes=tuple(Sae(id=one, node=one) for one in ("alpha", "beta", "gamma")))
LIMITS = StoreSettings(path="x", master_key="y")
KEY_ID = "12345678-1234-5678-1234-567812345678"
TARGETS = (
    "/api/v1/keys/beta/status",
    "/api/v1/keys/beta/enc_keys?number=3&size=256",
    f"/api/v1/keys/beta/dec_keys?key_ID={KEY_ID}",
    "/api/v1/keys/be%74a/epoch_keys?epoch=1700000000",
)
BODIES = (
    b'{"number": 2, "size": 512, "additional_slave_SAE_IDs": ["gamma"],'
    b' "extension_mandatory": [{"qkdd_class": "direct"}, {"qkdd_max_relays": 3}],'
    b' "extension_optional": [{"any": [1, {"thing": null}]}]}',
    b'{"key_IDs": [{"key_ID": "%s"}, {"key_ID": "{%s}", "key_ID_extension": {}}]}'
    % (KEY_ID.encode(), KEY_ID.replace("1", "2").encode()),
)
WORDS = dictionary(["number", "size", "key_ID", "%2f", "%ff", "?", "&", "//", "[::1]", "status"])
REFUSED = (400, 401, 404, 405, 411, 413, 431, 501, 503)


def asked(method: str, target: str, body: bytes = b"") -> bool:
    """Read a request as the caller ``alpha``; what is refused has a status and a JSON body."""
    try:
        request = parse_request(
            method, target, body, caller="alpha", settings=SETTINGS, limits=LIMITS
        )
    except HttpError as error:
        assert error.status in REFUSED
        assert msgspec.json.decode(error.body)["message"]
        return False
    if isinstance(request, EncRequest):
        assert request.size_bits % 8 == 0
        assert 1 <= request.number <= LIMITS.max_keys_per_request
    return True


def request_target() -> Target:
    def feed(data: bytes) -> bool:
        return asked("GET", data.decode("latin-1"))

    seeds = tuple(target.encode() for target in TARGETS)
    return Target("request-target", "client", seeds, feed, words=WORDS)


def request_bodies() -> list[Target]:
    return [
        Target(
            f"body-{call}",
            "client",
            (body,),
            lambda data, call=call: asked("POST", f"/api/v1/keys/beta/{call}", data),
            "json",
            max_bytes=65_536,
        )
        for call, body in zip(("enc_keys", "dec_keys"), BODIES, strict=True)
    ]


class Wire(trio.abc.Stream):
    """Brings the input in pieces, then nothing more; takes the answers."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.answers = b""

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        await trio.lowlevel.checkpoint()
        size = min(max_bytes or 700, 700)
        piece, self._data = self._data[:size], self._data[size:]
        return piece

    async def send_all(self, data: bytes) -> None:
        await trio.lowlevel.checkpoint()
        self.answers += bytes(data)

    async def wait_send_all_might_not_block(self) -> None:
        await trio.lowlevel.checkpoint()

    async def aclose(self) -> None:
        await trio.lowlevel.checkpoint()


def heads(method: str = "GET") -> tuple[bytes, ...]:
    plain = tuple(f"{method} {one} HTTP/1.1\r\nHost: relay\r\n\r\n".encode() for one in TARGETS)
    posts = tuple(
        b"POST /api/v1/keys/beta/%s HTTP/1.1\r\nHost: relay\r\nContent-Length: %d\r\n\r\n%s"
        % (call, len(body), body)
        for call, body in zip((b"enc_keys", b"dec_keys"), BODIES, strict=True)
    )
    chunked = b"POST /api/v1/keys/beta/enc_keys HTTP/1.1\r\nHost: relay\r\n"
    chunked += b"Transfer-Encoding: chunked\r\nExpect: 100-continue\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    return (*plain, *posts, chunked, b"".join(plain) + posts[0])


HTTP_WORDS = dictionary(
    [
        "\r\n",
        "Content-Length: 5\r\n",
        "Transfer-Encoding: chunked\r\n",
        "HTTP/1.0",
        "HEAD",
        ": ",
        "GET",
    ]
)


def https_requests() -> Target:
    """All that comes behind TLS, to the end of the connection, in one piece or in two; the short
    way of plain requests makes no difference."""

    def feed(data: bytes) -> bool:
        cut = len(data) if len(data) % 3 else len(data) // 2
        pieces = [data[:cut], data[cut:]] if cut < len(data) else [data]
        short, long = (_requests(pieces, plain=plain) for plain in (True, False))
        assert short == long, "the short way reads another request than h11"
        return any(asked(*request) for request in short if len(request) == 3)

    return Target("https", "client", heads(), feed, words=HTTP_WORDS)


def _requests(pieces: list[bytes], *, plain: bool) -> list[tuple]:
    """What a server hears and answers: requests, and at the end perhaps the status of an error."""
    talk, heard = HttpTalk("alpha", plain=plain), []
    try:
        for piece in [*pieces, b""]:
            talk.feed(piece)
            talk.go_on()
            while talk.open and (request := talk.next_request()) is not None:
                heard.append((request.method, request.target, request.body))
                talk.answer(Response(200, bytearray(b"{}")))
            if talk.ended or not talk.open:
                break
    except h11.RemoteProtocolError as error:
        assert error.error_status_hint in REFUSED, error
        heard.append((error.error_status_hint,))
        talk.answer(Response(error.error_status_hint, bytearray(b"{}")))
    return heard


ENDED = (
    *(trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError),
    h11.ProtocolError,
)
"""What the two servers let a connection end with."""


def _answered(answers: bytes) -> bool:
    """Tell whether the first answer grants what was asked; no answer is none."""
    assert not answers or answers.startswith(
        (b"HTTP/1.1 200", b"HTTP/1.1 100", b"HTTP/1.1 4", b"HTTP/1.1 5")
    )
    return b"HTTP/1.1 200" in answers


def metrics_page() -> Target:
    async def serve(data: bytes) -> bool:
        wire = Wire(data)
        try:
            await plain_http._answer(wire, "/metrics", "text/plain", lambda: "up 1\n")
        except ENDED:
            return False
        return _answered(wire.answers)

    def feed(data: bytes) -> bool:
        return trio.run(serve, data, clock=MockClock(autojump_threshold=0))

    get = b"GET /metrics HTTP/1.1\r\nHost: relay\r\nAccept: */*\r\n\r\n"
    seeds = (get, get.replace(b"GET", b"HEAD"), get.replace(b"/metrics", b"/metrics?a=1"))
    return Target("metrics", "client", seeds, feed, words=HTTP_WORDS, slow=True)


def status_json() -> Target:
    """What ``qkdd status``, ``top`` and ``doctor`` make of a socket's answer."""

    def feed(data: bytes) -> bool:
        try:
            read_snapshot(data)
        except msgspec.DecodeError:
            return False
        return True

    empty = RelaySnapshot(**{field.name: _plain(field) for field in FIELDS})
    return Target("status-json", "client", (msgspec.json.encode(empty),), feed, "json")


def status_word() -> Target:
    """What a relay reads on its status socket: one of its commands, or words it does not know."""

    async def read(data: bytes) -> str:
        return await status_socket._word(Wire(data))

    def feed(data: bytes) -> bool:
        word = trio.run(read, data, clock=MockClock(autojump_threshold=0))
        assert len(word) < 2 * status_socket.MAX_WORD_BYTES
        return word in COMMANDS

    seeds = tuple(one.encode() for one in COMMANDS)
    return Target("status-word", "client", seeds, feed, "text", slow=True)


COMMANDS = ("reload", "zeroise")
FIELDS = msgspec.structs.fields(RelaySnapshot)


def _plain(field: msgspec.structs.FieldInfo) -> object:
    for value in (7, 1.5, "a", [], {}, None):
        try:
            return msgspec.convert(value, field.type)
        except msgspec.ValidationError:
            continue
    raise AssertionError(f"no plain value for {field.name}")


def targets() -> list[Target]:
    return [
        request_target(),
        *request_bodies(),
        https_requests(),
        metrics_page(),
        status_json(),
        status_word(),
    ]
