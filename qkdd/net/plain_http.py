"""Plain HTTP for one page that everybody on this listener may read: GET, one request a connection.

For the metrics of a relay on its loopback address. No key, no secret and nothing that can be
changed is behind it.
"""

from collections.abc import Callable

import h11
import structlog
import trio

log = structlog.get_logger(__name__)

REQUEST_TIMEOUT_S = 5.0
SEND_TIMEOUT_S = 5.0
MAX_CONNECTIONS = 8
"""At once; more wait in the kernel's queue."""
MAX_HEADER_BYTES = 8 * 1024
RECEIVE_BYTES = 4 * 1024


async def serve_page(
    host: str,
    port: int,
    path: str,
    content_type: str,
    page: Callable[[], str],
    *,
    task_status: trio.TaskStatus[list[trio.SocketListener]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve ``page()`` at ``path`` until cancelled; ``task_status`` hears of the listeners."""
    free = trio.Semaphore(MAX_CONNECTIONS)

    async def connection(stream: trio.SocketStream) -> None:
        async with free, stream:
            try:
                await _answer(stream, path, content_type, page)
            except (
                trio.BrokenResourceError,
                trio.TooSlowError,
                h11.ProtocolError,  # no answer that HTTP allows is left
            ) as error:
                log.debug("reader of the page ended", reason=str(error)[:200])

    await trio.serve_tcp(connection, port, host=host, task_status=task_status)


async def _answer(
    stream: trio.SocketStream, path: str, content_type: str, page: Callable[[], str]
) -> None:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
    allow, body = "", b""
    try:
        with trio.fail_after(REQUEST_TIMEOUT_S):
            request = await _request(http, stream)
        if request is None:
            return
        if request.target.partition(b"?")[0] != path.encode():
            status = 404
        elif request.method not in (b"GET", b"HEAD"):
            status, allow = 405, "GET, HEAD"
        else:
            status, body = 200, page().encode()
    except h11.RemoteProtocolError as error:
        status, request = error.error_status_hint, None
    headers = [("Connection", "close"), ("Content-Length", str(len(body)))]
    if body:
        headers.append(("Content-Type", content_type))
    if allow:
        headers.append(("Allow", allow))
    head = h11.Response(status_code=status, headers=headers)
    with trio.fail_after(SEND_TIMEOUT_S):
        answer = http.send(head) or b""
        if request is None or request.method != b"HEAD":
            answer += http.send(h11.Data(data=body)) or b""
        await stream.send_all(answer + (http.send(h11.EndOfMessage()) or b""))


async def _request(http: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    """Read the head of the request; a body is not waited for. None if nobody asks."""
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(bytes(await stream.receive_some(RECEIVE_BYTES)))
        elif isinstance(event, h11.Request):
            return event
        else:
            return None
