"""What a link says of itself: rates of the light that there is, not of the light that was."""

import os
import socket
import stat
from pathlib import Path

import msgspec
import pytest
import trio

from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot, RelaySnapshot, read_snapshot
from qkdd.daemon.status import RATE_WINDOW_S, STALE_S, LinkStatus
from qkdd.daemon.status_socket import serve_status


def block(number: int, *, n_secret: int = 1_000, seconds: float = 16.0) -> BlockFacts:
    return BlockFacts(
        block_no=number,
        pulse_seconds=seconds,
        n_clicks=16_000,
        n_sifted_bits=8_000,
        n_secret_bits=n_secret,
        n_auth_bits=0,
        disclosed_one_way_bits=800,
        disclosed_both_ways_bits=1_600,
        qber_key=0.01,
        qber_test=0.01,
        qber_key_by_intensity=(0.01, 0.01, None),
        qber_test_by_intensity=(0.01, 0.01, None),
        key=(5_000, 900, 100),
        test=(1_500, 400, 100),
        key_errors=(50, 9, 1),
        test_errors=(15, 4, 1),
        phase_error_bound=0.03,
        correction="ldpc fast",
        f_one_way=1.1,
        f_both_ways=1.2,
        eps_sec=1e-12,
        eps_cor=1e-15,
        reason=None if n_secret else "too few",
    )


def status() -> LinkStatus:
    return LinkStatus(name="a-b", peer="b", role="receiver")


def look(link: LinkStatus, now_s: float = 0.0) -> LinkSnapshot:
    return link.snapshot(now_s, account={"stock": 7_200}, auth_left_bits=0, promised_bits_per_s=2.0)


def test_rates_are_those_of_the_last_minute_of_pulses() -> None:
    link = status()
    for number in range(10):
        link.distilled(block(number, n_secret=1_000 * number), 16.0 * number)
    assert sum(facts.pulse_seconds for _, facts in link.recent) <= RATE_WINDOW_S + 16
    seen = look(link, 150.0)
    assert (seen.click_rate, seen.sifted_bits_per_s, seen.disclosed_bits_per_s) == (1000, 500, 100)
    numbers = [facts.block_no for _, facts in link.recent]
    assert seen.secret_bits_per_s == pytest.approx(1_000 * sum(numbers) / (16 * len(numbers)))


def test_rates_of_light_that_is_gone_are_not_told() -> None:
    link = status()
    link.distilled(block(1), 100.0)
    assert look(link, 100.0 + STALE_S).secret_bits_per_s == 1_000 / 16
    seen = look(link, 101.0 + STALE_S)
    assert (seen.secret_bits_per_s, seen.click_rate, seen.last_block) == (None, None, block(1))


def test_the_error_rate_now_is_that_of_light_that_is_there() -> None:
    link = status()
    link.enter("light")
    link.measured((1_000, 500), (10, 10))
    seen = look(link)
    assert (seen.qber_calibration_key, seen.qber_calibration_test) == (0.01, 0.02)
    link.enter("dark", "fibre cut")
    seen = look(link)
    assert (seen.qber_calibration_key, seen.qber_calibration_test) == (None, None)


def test_blocks_without_key_spend_no_epsilon() -> None:
    link = status()
    link.distilled(block(1), 0.0)
    link.distilled(block(2, n_secret=0), 0.0)
    seen = look(link)
    assert (seen.n_blocks, seen.n_blocks_without_key, seen.reason) == (2, 1, "too few")
    assert (seen.eps_sec_total, seen.eps_cor_total) == (1e-12, 1e-15)


def relay() -> RelaySnapshot:
    return RelaySnapshot(
        node="a",
        pid=1,
        uptime_s=0.0,
        wall_s=0.0,
        kernels={},
        entropy_failure=None,
        links=(look(status()),),
    )


async def test_the_socket_is_the_owners_and_tells_one_snapshot_to_each_that_asks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "run" / "qkdd.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_status, path, relay)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        for _ in range(2):
            async with await trio.open_unix_socket(str(path)) as asking:
                text = b"".join([part async for part in asking])
            assert msgspec.json.decode(text, type=RelaySnapshot).node == "a"
        nursery.cancel_scope.cancel()
    assert not path.exists()


async def test_one_that_asks_and_does_not_listen_holds_up_nobody(tmp_path: Path) -> None:
    path = tmp_path / "qkdd.sock"
    async with trio.open_nursery() as nursery:
        await nursery.start(serve_status, path, relay)
        with socket.socket(socket.AF_UNIX) as deaf:
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1)
            deaf.connect(os.fspath(path))
            with trio.fail_after(1.0):
                async with await trio.open_unix_socket(str(path)) as asking:
                    assert (await asking.receive_some()).startswith(b"{")
        nursery.cancel_scope.cancel()


def test_what_a_monitor_said_stands_until_the_next_block() -> None:
    link = status()
    link.watched(["cross clicks: 0, expected 500"])
    seen = look(link)
    assert (seen.n_alarms, seen.alarm) == (1, "cross clicks: 0, expected 500")
    link.watched([])
    seen = look(link)
    assert (seen.n_alarms, seen.alarm) == (1, None)


@pytest.mark.parametrize("answer", [b'{"node":"\xff"}', b'{"x":' + b"[" * 100_000, b"{", b""])
def test_an_answer_that_is_no_snapshot_is_a_decode_error_and_nothing_else(answer: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        read_snapshot(answer)
