"""The simulated DataLinkTarget service: its commands, its streams, what it loses."""

import json
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.idq_datalink import DataLinkTarget
from drivers.sim.idq_recorder import Packet
from tests.drivers.sim.stream_client import Client

START = "start-stream --address 10.98.99.7 --channel 1 --stream-port 4242"
NAME = "10.98.99.7:5556"


class Desk:
    """The service, and clients at its ports; port 1 is taken by somebody else."""

    def __init__(self, **options) -> None:
        self.clients: dict[int, Client] = {}
        self.present = True
        self.target = DataLinkTarget(addresses=("10.98.99.7",), open_port=self._open, **options)

    def _open(self, port: int) -> Client:
        if port == 1:
            raise OSError(98, "Address already in use")
        self.clients[port] = Client(present=self.present)
        return self.clients[port]

    def ask(self, command: str):
        return json.loads(self.target.receive(command))


def packet(*stamps: int, channel: int = 1, references=(), ends: bool = True) -> Packet:
    return Packet(
        channel=channel,
        stamps_ps=np.array(stamps, np.int64),
        references=np.array(references, np.int64),
        ends_record=ends,
    )


def test_an_acquisition_from_start_to_stop():
    desk = Desk()
    assert desk.ask("list") == []
    assert desk.ask(START) == {"id": NAME}
    assert desk.ask("list") == [NAME]
    desk.target.advance(10.0)
    assert desk.target.take(packet(5, 1 << 40))
    desk.target.advance(11.5)
    status = {"acquisitions_count": 1, "errors": [], "inactivity": 1.5, "timestamps_count": 2}
    assert desk.ask(f"status --id {NAME}") == status
    assert desk.ask(f"stop --id {NAME}") == {"status": status}
    assert desk.clients[4242].taken == [struct.pack("<2Q", 5, 1 << 40), b""]
    assert not desk.clients[4242].open
    assert desk.ask("list") == []


def test_reference_indices_stand_behind_their_time_stamps():
    desk = Desk()
    desk.ask(START + " --with-ref-index --id mine")
    desk.target.take(packet(5, 6, references=(0, 3)))
    desk.target.take(packet(7))
    assert desk.clients[4242].taken == [struct.pack("<4Q", 5, 0, 6, 3), struct.pack("<2Q", 7, 0)]
    assert desk.ask("list") == ["mine"]


def test_every_channel_has_its_own_port_and_name():
    desk = Desk()
    for channel in (1, 2, 3, 4):
        command = f"start-stream --channel {channel} --address 10.98.99.7 --stream-port"
        assert desk.ask(f"{command} {4241 + channel}") == {"id": f"10.98.99.7:{5555 + channel}"}
    assert desk.target.take(packet(9, channel=3))
    assert [client.taken for client in desk.clients.values()] == [[], [], [b"\t" + bytes(7)], []]


def test_a_packet_that_nobody_asked_for_is_not_taken():
    desk = Desk()
    desk.ask(START)
    assert not desk.target.take(packet(1, channel=2))


def test_a_client_that_comes_late_gets_what_waited():
    desk = Desk()
    desk.present = False
    desk.ask(START)
    desk.target.take(packet(1))
    desk.target.take(packet(2))
    client = desk.clients[4242]
    assert client.taken == []
    client.present = True
    desk.target.advance(1.0)
    assert client.taken == [struct.pack("<Q", 1), struct.pack("<Q", 2)]


@pytest.mark.parametrize("absent", [True, False])
def test_what_a_client_does_not_read_is_lost_and_told(absent):
    desk = Desk(max_queue_bytes=20)
    desk.present = not absent
    desk.ask(START)
    desk.clients[4242].reads = False
    for stamp in (1, 2, 3):
        desk.target.take(packet(stamp))
    status = desk.ask(f"status --id {NAME}")
    assert [set(error) for error in status["errors"]] == [{"description"}]
    assert status["timestamps_count"] == 3


@pytest.mark.parametrize("said", [False, True])
def test_a_record_without_events_counts_and_may_say_so(said):
    desk = Desk(message_of_empty_record=said)
    desk.ask(START)
    desk.target.take(packet())
    assert desk.clients[4242].taken == [b""] * said
    assert desk.ask(f"status --id {NAME}")["acquisitions_count"] == 1


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "start",
        "list --xyz",
        "status",
        f"status --id {NAME}9",
        "stop --id",
        f"stop --id {NAME}9",
        START,
        START.replace("--channel 1", "--channel 5"),
        START.replace("--channel 1", "--channel 2").replace("4242", "1"),
        START.replace("--channel 1", "--channel 2").replace("4242", "65536"),
        START.replace("--channel 1", "--channel 2").replace("4242", "x"),
        START.replace("--channel 1", "--channel 2").replace("10.98.99.7", "10.98.99.8"),
        START + " --id other",
        "start-stream --address 10.98.99.7 --channel 2",
        "start-save --address 10.98.99.7 --channel 2 --filename x",
        'list "',
    ],
)
def test_a_mistake_is_an_error_object_and_changes_nothing(wrong):
    desk = Desk()
    desk.ask(START)
    answer = desk.ask(wrong)
    assert list(answer) == ["error"]
    assert answer["error"]["description"]
    assert desk.ask("list") == [NAME]


def test_closing_the_service_ends_every_stream():
    desk = Desk()
    desk.ask(START)
    desk.target.close()
    assert desk.clients[4242].taken == [b""]


@given(st.lists(st.text(max_size=40), max_size=10))
def test_no_commands_break_it(commands):
    desk = Desk()
    for command in commands:
        assert json.loads(desk.target.receive(command)) is not None
