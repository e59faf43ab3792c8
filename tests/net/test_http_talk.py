"""What goes past h11 is read and answered exactly as h11 would; the rest goes through it."""

from typing import TypeAlias

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.net.http_talk import HttpRequest, HttpTalk, Response
from qkdd.net.plain_request import read_plain

Outcome: TypeAlias = HttpRequest | str | bytes

NAMES = (
    b"Host", b"host", b"Content-Length", b"Connection", b"Expect", b"Upgrade", b"Accept", b"X-y",
    b"Transfer-Encoding", b"User-Agent", b" folded", b"",
)  # fmt: skip
VALUES = (
    b"x", b"127.0.0.1:80", b"0", b"3", b"03", b"-1", b"keep-alive", b"close", b"upgrade", b"h2c",
    b"100-continue", b"chunked", b"gzip, deflate", b"*/*", b"", b" x", b"x ", b"a\nb", b"\xff",
    b"\x00",
)  # fmt: skip
FIRST = (
    b"GET / HTTP/1.1", b"POST /a?b=c HTTP/1.1", b"GET / HTTP/1.0", b"HEAD / HTTP/1.1", b"GET  /",
    b"get / HTTP/1.1", b"GET /\xe4 HTTP/1.1", b"GET / HTTP/9.9", b"CONNECT x:1 HTTP/1.1", b"",
)  # fmt: skip
BODIES = (b"", b"abc", b"ab", b"abcd", b"1\r\na\r\n0\r\n\r\n")

headers = st.tuples(
    st.sampled_from(NAMES), st.sampled_from((b": ", b":", b":  ", b" : ")), st.sampled_from(VALUES)
)
requests = st.builds(
    lambda first, lines, end, body: first + end + b"".join(b"".join(x) + end for x in lines) + end
    + body,
    st.sampled_from(FIRST),
    st.lists(headers, max_size=4).map(lambda some: [(b"Host", b": ", b"x"), *some])
    | st.lists(headers, max_size=3),
    st.sampled_from((b"\r\n", b"\r\n", b"\r\n", b"\n")),
    st.sampled_from(BODIES),
)  # fmt: skip
plain_requests = st.builds(
    lambda first, accept, body: (
        b"%b\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (first, accept, len(body), body)
    ),
    st.sampled_from(FIRST[:2]),
    st.sampled_from((b"", b"Accept: */*\r\n", b"Connection: keep-alive\r\n")),
    st.binary(max_size=5),
)
ANSWERS = (
    Response(200, bytearray(b'{"keys":[]}')),
    Response(401, bytearray()),
    Response(405, bytearray(b"{}"), allow="GET, POST"),
    Response(503, bytearray(b"{}"), retry_after_s=7),
)


def converse(pieces: list[bytes], *, plain: bool) -> list[Outcome]:
    """All that a server reads and writes of a connection on which ``pieces`` come."""
    talk, outcomes = HttpTalk("sae", plain=plain), list[Outcome]()
    waiting = [*pieces, b""]
    while talk.open:
        try:
            while (request := talk.next_request()) is None:
                if talk.ended:
                    return [*outcomes, "ended"]
                outcomes.append(talk.go_on())
                talk.feed(waiting.pop(0))
            outcomes.append(request)
            answer = ANSWERS[len(outcomes) % len(ANSWERS)]
        except h11.RemoteProtocolError as error:
            outcomes.append(f"malformed: {error.error_status_hint}")
            answer = Response(error.error_status_hint, bytearray(b"{}"))
        try:
            outcomes.append(bytes(talk.answer(answer)))
        except h11.LocalProtocolError:
            return [*outcomes, "no answer is left"]
    return outcomes


@given(st.lists(requests | plain_requests, min_size=1, max_size=4))
def test_whatever_comes_is_read_and_answered_as_by_h11_alone(pieces: list[bytes]) -> None:
    assert converse(pieces, plain=True) == converse(pieces, plain=False)


@given(st.lists(requests | plain_requests, min_size=1, max_size=3), st.data())
def test_however_it_is_cut_it_is_read_and_answered_as_by_h11_alone(
    some: list[bytes], data: st.DataObject
) -> None:
    text, pieces = b"".join(some), list[bytes]()
    while text:
        size = data.draw(st.integers(1, len(text)))
        pieces.append(text[:size])
        text = text[size:]
    assert converse(pieces, plain=True) == converse(pieces, plain=False)


@given(plain_requests)
def test_a_plain_request_goes_past_h11(text: bytes) -> None:
    assert read_plain(text) is not None


@pytest.mark.parametrize(
    "text",
    [
        b"GET / HTTP/1.1\r\n\r\n",  # no Host
        b"GET / HTTP/1.1\r\nHost: x\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\n",  # the body is to come
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\na",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\nAccept: a\n b\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n",
        b"",
    ],
)
def test_what_could_mean_more_is_left_to_h11(text: bytes) -> None:
    assert read_plain(text) is None


@pytest.mark.parametrize(
    "pieces",
    [
        [b"HEAD / HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nshort", b""],
        [b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"none of HTTP\r\n\r\n"],
        [b"HEAD / HTTP/1.1\r\nHost: x\r\n\r\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"],
    ],
)
def test_head_alone_is_answered_without_a_body_also_where_it_breaks_off(
    pieces: list[bytes],
) -> None:
    talk, answers = HttpTalk("alpha"), []
    try:
        for piece in pieces:
            talk.feed(piece)
            if talk.next_request() is not None:
                answers.append(bytes(talk.answer(Response(200, bytearray(b"{}")))))
    except h11.RemoteProtocolError:
        answers.append(bytes(talk.answer(Response(400, bytearray(b"{}")))))
    assert answers[0].endswith(b"\r\n\r\n")
    assert all(answer.endswith(b"\r\n\r\n{}") for answer in answers[1:])
    assert all(b"Content-Length: 2\r\n" in answer for answer in answers)
