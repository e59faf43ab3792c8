"""The HTTPS edge, over real TLS on loopback: who gets in, what comes out, what is left behind."""

import base64
import datetime
import json
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID, uuid4

import pytest
import trio
import trio.testing

from qkdd.base.errors import OutOfKey
from qkdd.base.secret import Secret
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.errors import HttpError
from qkdd.deliver.messages import Status, StatusExtension
from qkdd.deliver.request import DecRequest, EncRequest, EpochRequest, StatusRequest
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.settings import StoreSettings
from qkdd.net.client import HttpsClient
from qkdd.net.delivery import Delivered, Delivery
from qkdd.net.https import (
    BODY_TIMEOUT_S,
    IDLE_TIMEOUT_S,
    HttpsServer,
    client_context,
    server_context,
)
from qkdd.net.pki import Authority

NOW = datetime.datetime.now(datetime.UTC)
LIMITS = StoreSettings(path=Path(), master_key=Path())
SETTINGS = DeliverySettings(saes=(Sae(id="alpha", node="a"), Sae(id="beta", node="a")))


class Manager:
    """A key manager of one relay with ``n_keys`` keys, which it forgets when they are fetched."""

    def __init__(self, n_keys: int) -> None:
        self.left = n_keys
        self.waiting: dict[UUID, Secret] = {}

    async def status(self, request: StatusRequest) -> Status:
        return Status(
            source_KME_ID="a",
            target_KME_ID="a",
            master_SAE_ID=request.master,
            slave_SAE_ID=request.slave,
            key_size=256,
            stored_key_count=self.left,
            max_key_count=1000,
            max_key_per_request=128,
            max_key_size=4096,
            min_key_size=64,
            max_SAE_ID_count=8,
            status_extension=StatusExtension(qkdd_class="direct", qkdd_relays_trusted=0),
        )

    async def new_keys(self, request: EncRequest) -> Delivered:
        if request.number > self.left:
            raise OutOfKey(f"{request.number} keys asked, {self.left} in stock")
        self.left -= request.number
        made = []
        for _ in range(request.number):
            key_id, key = uuid4(), Secret(request.size_bits // 8)
            # read straight into the buffers, so that this test leaves no copy of its own
            os.readv(self._dice(), [key.reveal()])
            self.waiting[key_id] = Secret.from_bytes(key.reveal())
            made.append(DeliveredKey(key_id, key))
        return made

    async def known_keys(self, request: DecRequest) -> Delivered:
        if any(key_id not in self.waiting for key_id in request.key_ids):
            raise HttpError(400, "one or more keys specified are not found on KME")
        return [DeliveredKey(key_id, self.waiting.pop(key_id)) for key_id in request.key_ids]

    async def epoch_keys(self, request: EpochRequest) -> Delivered:
        raise HttpError(400, f"no lane for epoch {request.epoch}")

    @staticmethod
    def _dice() -> int:
        return os.open("/dev/urandom", os.O_RDONLY)


class Site:
    def __init__(self, folder: Path, port: int, manager: Manager) -> None:
        self.folder, self.port, self.manager = folder, port, manager

    def client(self, name: str) -> HttpsClient:
        files = (self.folder / f"{name}.pem", self.folder / f"{name}.key")
        return HttpsClient("127.0.0.1", self.port, client_context(*files, self.folder / "ca.pem"))


@asynccontextmanager
async def site(folder: Path, n_keys: int = 10) -> AsyncIterator[Site]:
    authority = Authority.open_or_create(folder, now=NOW, days=1)
    node = authority.issue_node("a", now=NOW, days=1)
    for sae in ("alpha", "beta", "stranger"):
        authority.issue_sae(sae, now=NOW, days=1)
    manager = Manager(n_keys)
    server = HttpsServer(
        Delivery(manager, SETTINGS, LIMITS).handle, known=SETTINGS.homes, max_connections_per_sae=4
    )
    context = server_context(node.certificate, node.key, authority.certificate)
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(server.serve, "127.0.0.1", 0, context)
        yield Site(folder, listeners[0].socket.getsockname()[1], manager)
        nursery.cancel_scope.cancel()


async def test_master_and_slave_get_the_same_keys_once(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client("alpha") as alpha, here.client("beta") as beta:
        status, text = await alpha.request("GET", "/api/v1/keys/beta/enc_keys?number=3&size=128")
        assert status == 200
        keys = json.loads(text)["keys"]
        assert len({key["key_ID"] for key in keys}) == 3
        assert all(len(base64.b64decode(key["key"])) == 16 for key in keys)
        asked = json.dumps({"key_IDs": keys}).encode()
        status, text = await beta.request("POST", "/api/v1/keys/alpha/dec_keys", asked)
        assert (status, json.loads(text)["keys"]) == (200, keys)
        status, text = await beta.request("POST", "/api/v1/keys/alpha/dec_keys", asked)
        assert status == 400
        assert json.loads(text)["message"] == "one or more keys specified are not found on KME"
        status, text = await alpha.request("GET", "/api/v1/keys/beta/status")
        assert json.loads(text)["stored_key_count"] == 7


async def test_an_empty_stock_is_503_and_says_what_is_missing(tmp_path: Path) -> None:
    async with site(tmp_path, n_keys=1) as here, here.client("alpha") as alpha:
        status, text = await alpha.request("GET", "/api/v1/keys/beta/enc_keys?number=2")
        assert (status, json.loads(text)) == (503, {"message": "2 keys asked, 1 in stock"})


async def test_a_valid_certificate_of_an_unknown_sae_is_401(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        for name in ("stranger", "a"):
            async with here.client(name) as client:
                assert (await client.request("GET", "/api/v1/keys/beta/enc_keys"))[0] == 401
        assert here.manager.left == 10


async def test_without_a_certificate_not_one_byte_is_answered(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        anybody = ssl.create_default_context(cafile=tmp_path / "ca.pem")
        async with HttpsClient("127.0.0.1", here.port, anybody) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.request("GET", "/api/v1/keys/beta/enc_keys")


async def test_a_certificate_of_another_authority_is_refused(tmp_path: Path) -> None:
    other = Authority.open_or_create(tmp_path / "other", now=NOW, days=1)
    alpha = other.issue_sae("alpha", now=NOW, days=1)
    async with site(tmp_path) as here:
        context = client_context(alpha.certificate, alpha.key, tmp_path / "ca.pem")
        async with HttpsClient("127.0.0.1", here.port, context) as client:
            with pytest.raises(trio.BrokenResourceError):
                await client.request("GET", "/api/v1/keys/beta/enc_keys")


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\xff" * 40,
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
    ],
)
async def test_nonsense_is_answered_or_dropped_and_the_server_lives(
    tmp_path: Path, nonsense: bytes
) -> None:
    async with site(tmp_path) as here:
        context = client_context(
            tmp_path / "alpha.pem", tmp_path / "alpha.key", tmp_path / "ca.pem"
        )
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", here.port, ssl_context=context, https_compatible=True
        )
        await stream.send_all(nonsense)
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 4")
        await trio.aclose_forcefully(stream)
        async with here.client("alpha") as alpha:
            assert (await alpha.request("GET", "/api/v1/keys/beta/status"))[0] == 200


async def test_a_body_over_the_limit_is_refused(tmp_path: Path) -> None:
    async with site(tmp_path) as here, here.client("alpha") as alpha:
        status, text = await alpha.request("POST", "/api/v1/keys/beta/enc_keys", b" " * 70_000)
        assert (status, "65536 bytes" in text.decode()) == (400, True)


@pytest.fixture
def patient_clock() -> trio.testing.MockClock:
    """Jumps to the next timeout once nothing has moved for a moment, real sockets included."""
    return trio.testing.MockClock(autojump_threshold=0.2)


@pytest.mark.parametrize(
    ("said", "limit_s"),
    [
        (b"GET /api/v1/keys/beta/status HTTP/1.1\r\nHost:", IDLE_TIMEOUT_S),
        (
            b"POST /api/v1/keys/beta/enc_keys HTTP/1.1\r\nHost: x\r\nContent-Length: 99\r\n\r\n{",
            BODY_TIMEOUT_S,
        ),
    ],
    ids=["in the head", "in the body"],
)
async def test_a_client_that_does_not_go_on_is_hung_up_on_and_others_are_served_meanwhile(
    tmp_path: Path, patient_clock: trio.testing.MockClock, said: bytes, limit_s: float
) -> None:
    async with site(tmp_path) as here:
        context = client_context(
            tmp_path / "alpha.pem", tmp_path / "alpha.key", tmp_path / "ca.pem"
        )
        slow = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", here.port, ssl_context=context, https_compatible=True
        )
        await slow.send_all(said)
        async with here.client("alpha") as alpha:
            assert (await alpha.request("GET", "/api/v1/keys/beta/status"))[0] == 200
        begin_s = trio.current_time()
        assert await slow.receive_some() == b""
        assert trio.current_time() - begin_s <= limit_s
        await trio.aclose_forcefully(slow)


async def test_a_client_that_opens_too_many_connections_is_cut_off(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        clients = [here.client("alpha") for _ in range(5)]
        for client in clients[:4]:
            assert (await client.request("GET", "/api/v1/keys/beta/status"))[0] == 200
        with pytest.raises(trio.BrokenResourceError):
            await clients[4].request("GET", "/api/v1/keys/beta/status")
        for client in clients:
            await client.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HEAD /api/v1/keys/beta/status HTTP/1.1\r\nHost: x\r\n\r\n",
        b"CONNECT x:1 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/keys/beta/status HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
        b"Upgrade: h2c\r\n\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /api/v1/keys/beta/status HTTP/1.0\r\n\r\n",
    ],
)
async def test_any_method_of_http_is_answered_and_the_server_lives(
    tmp_path: Path, head: bytes
) -> None:
    async with site(tmp_path) as here:
        context = client_context(
            tmp_path / "alpha.pem", tmp_path / "alpha.key", tmp_path / "ca.pem"
        )
        stream = await trio.open_ssl_over_tcp_stream(
            "127.0.0.1", here.port, ssl_context=context, https_compatible=True
        )
        await stream.send_all(head)
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 ")
        await stream.send_all(head)  # whatever became of the connection, others are served
        await trio.aclose_forcefully(stream)
        async with here.client("alpha") as alpha:
            assert (await alpha.request("GET", "/api/v1/keys/beta/status"))[0] == 200
