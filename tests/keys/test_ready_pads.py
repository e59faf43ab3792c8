"""Pads taken beside a commit: the same stream, no byte twice, whatever another thread does."""

import sys
from functools import partial
from pathlib import Path
from threading import Thread

import pytest

from qkdd.base.errors import OutOfKey
from qkdd.base.secret import Secret
from qkdd.daemon.hardening import SWITCH_INTERVAL_S
from tests.keys.pair_of_stores import LINK, Pair

STRIDE_BYTES = 64


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    return Pair(tmp_path, auth_stride_bytes=STRIDE_BYTES).up()


def test_ready_pads_are_the_stream_that_the_peer_checks_with(pair: Pair) -> None:
    tx, rx = pair.alice.store, pair.bob.store
    for _ in range(50):
        pad = tx.take_ready(LINK, "tx", 16)
        if pad is None:
            pad = tx.take_tx(LINK, 16)
        assert pad == rx.take_rx(LINK, 16)


def test_only_what_is_burned_on_disk_is_ready(pair: Pair) -> None:
    store = pair.alice.store
    store.take_tx(LINK, store._streams.stream(LINK, "tx").held or STRIDE_BYTES)
    assert store.take_ready(LINK, "tx", 16) is None
    store.take_tx(LINK, 16)
    on_disk = store._links.row(LINK)["tx_mark"]
    taken = 0
    while store.take_ready(LINK, "tx", 16) is not None:
        taken += 16
    assert taken == STRIDE_BYTES - 16
    assert store._streams.stream(LINK, "tx").position == store._links.row(LINK)["tx_mark"]
    assert store._links.row(LINK)["tx_mark"] == on_disk


def test_nothing_is_ready_while_a_stream_moves(pair: Pair) -> None:
    store = pair.alice.store
    store.take_tx(LINK, 16)
    seen: list[Secret | None] = []
    with store._streams.still():
        thread = Thread(target=lambda: seen.append(store.take_ready(LINK, "tx", 16)))
        thread.start()
        thread.join()
    assert seen == [None]
    assert store.take_ready(LINK, "tx", 16) is not None


def test_nothing_is_ready_after_an_alarm(pair: Pair) -> None:
    store = pair.alice.store
    store.take_tx(LINK, 16)
    store.raise_alarm(LINK, "test")
    assert store.take_ready(LINK, "tx", 16) is None


def test_two_threads_never_get_the_same_pad_and_the_account_balances(
    pair: Pair, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(sys.setswitchinterval, sys.getswitchinterval()))
    sys.setswitchinterval(SWITCH_INTERVAL_S)  # as in the daemon
    store, other = pair.alice.store, pair.bob.store
    beside: list[Secret] = []
    over = False

    def take_ready() -> None:
        while not over:
            pad = store.take_ready(LINK, "tx", 16)
            if pad is not None:
                beside.append(pad)

    thread = Thread(target=take_ready)
    thread.start()
    mine: list[Secret] = []
    for turn in range(300):
        mine.append(store.take_tx(LINK, 16))
        if turn % 10 == 0:
            store.account(LINK)  # raises if it does not balance
    over = True
    thread.join()
    got = {bytes(pad.reveal()) for pad in (*mine, *beside)}
    assert len(got) == len(mine) + len(beside)
    checked = [other.take_rx(LINK, 16) for _ in got]
    assert got == {bytes(pad.reveal()) for pad in checked}


def test_too_many_open_keys_stop_reservations_until_the_peer_settles(tmp_path: Path) -> None:
    pair = Pair(tmp_path, max_open_keys=5).up()
    pair.block(4_096, 256)
    pair.pump()
    store = pair.alice.store

    def reserve() -> None:
        pair.alice.say(store.reserve_keys(LINK, 1, 256, "m", ["s"], 1_000).announcement)

    for _ in range(5):
        reserve()
    for _ in range(2):
        with pytest.raises(OutOfKey, match="5 keys are open, the peer does not settle"):
            reserve()
    pair.pump()
    pair.cut()
    pair.up()  # the peer settles what was burned
    for _ in range(5):
        reserve()
    with pytest.raises(OutOfKey, match="5 keys are open"):
        reserve()
