"""Ports that nobody has, and that the system gives to nobody who asks for any."""

import socket
from contextlib import suppress
from pathlib import Path

import pytest

from qkdd.cli import ports


@pytest.fixture
def narrow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> range:
    """Four ports, of which the system gives the middle two to connections."""
    few = range(ports.FIRST_PORT, ports.FIRST_PORT + 4)
    given = tmp_path / "range"
    given.write_text(f"{few[1]}\t{few[2]}\n")
    monkeypatch.setattr(ports, "RANGE", given)
    monkeypatch.setattr(ports, "LAST_PORT", few[-1])
    return few


def test_each_can_be_listened_on_and_is_none_that_a_connection_gets() -> None:
    found = ports.lasting_ports(40)
    assert len(set(found)) == 40
    first, last = (int(word) for word in ports.RANGE.read_text().split())
    with socket.create_server(("127.0.0.1", 0)) as any_port:
        assert first <= any_port.getsockname()[1] <= last
    for port in found:
        assert not first <= port <= last
        socket.create_server(("127.0.0.1", port)).close()


def test_those_that_connections_get_come_last(narrow: range) -> None:
    found = ports.lasting_ports(3)
    assert set(found[:2]) == {narrow[0], narrow[3]}
    assert found[2] in narrow[1:3]


def test_one_that_is_listened_on_is_not_given(narrow: range) -> None:
    with socket.socket() as taken:
        for port in narrow:
            with suppress(OSError):  # somebody may have it
                taken.bind(("127.0.0.1", port))
                break
        with pytest.raises(OSError, match=r"4 free ports wanted from 10240 to 10243: [0-3] found"):
            ports.lasting_ports(4)
