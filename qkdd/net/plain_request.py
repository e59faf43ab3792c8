"""The requests that nearly every client sends, read without a state machine.

Whatever is not surely one whole request of a kind that h11 would read in the same way is None here,
and h11's to read or to refuse: malformed input gets its answers from there alone.
"""

import re

_FIRST = re.compile(rb"(GET|POST) ([!-~]+) HTTP/1\.1")
_VALUE = re.compile(rb"[!-~](?:[ -~]*[!-~])?")
_LENGTH = re.compile(rb"[0-9]{1,5}")
_IDLE = frozenset(
    (b"accept", b"accept-encoding", b"accept-language", b"content-type", b"user-agent")
)
"""Headers without a meaning for how the message is framed or what becomes of the connection."""
_ONCE = frozenset((b"host", b"content-length", b"connection"))


def read_plain(data: bytes) -> tuple[str, str, bytes] | None:
    """Return method, target and body, if ``data`` is exactly one plain request of HTTP/1.1 that
    leaves the connection open."""
    head, found, body = data.partition(b"\r\n\r\n")
    lines = head.split(b"\r\n")
    first = _FIRST.fullmatch(lines[0])
    if first is None or not found:
        return None
    special: dict[bytes, bytes] = {}
    for line in lines[1:]:
        name, _, value = line.partition(b": ")
        name = name.lower()
        if _VALUE.fullmatch(value) is None:
            return None
        if name in _ONCE and name not in special:
            special[name] = value
        elif name not in _IDLE:
            return None
    if b"host" not in special or special.get(b"connection", b"keep-alive") != b"keep-alive":
        return None
    length = special.get(b"content-length", b"0")
    if _LENGTH.fullmatch(length) is None or int(length) != len(body):
        return None
    return first[1].decode(), first[2].decode(), body
