"""A Secret shows its bytes to nobody who does not ask, and forgets when told."""

import copy
import ctypes
import os
import pickle
from threading import Thread

import pytest

from qkdd.base.secret import SHORT_BYTES, Secret


def test_neither_repr_nor_format_shows_a_byte() -> None:
    secret = Secret.from_bytes(b"\xab" * 32)
    for text in (repr(secret), str(secret), f"{secret}", f"{[secret]}"):
        assert "ab" not in text
        assert "32 bytes" in text


def test_every_view_sees_zeros_after_a_wipe() -> None:
    secret = Secret.from_bytes(b"secret key bytes")
    view = secret.reveal()
    secret.wipe()
    assert bytes(view) == bytes(16)
    assert secret.wiped
    with pytest.raises(RuntimeError, match="wiped"):
        secret.reveal()


def test_a_with_block_wipes_on_the_way_out_even_by_an_error() -> None:
    secret = Secret.from_bytes(b"12345678")
    view = secret.reveal()
    with pytest.raises(KeyError), secret:
        raise KeyError
    assert bytes(view) == bytes(8)


def test_a_secret_is_neither_copied_nor_pickled_nor_hashed() -> None:
    secret = Secret(4)
    for forbidden in (pickle.dumps, copy.copy, copy.deepcopy, hash):
        with pytest.raises(TypeError):
            forbidden(secret)


def test_equality_is_of_bytes() -> None:
    assert Secret.from_bytes(b"same") == Secret.from_bytes(b"same")
    assert Secret.from_bytes(b"same") != Secret.from_bytes(b"diff")
    assert Secret.from_bytes(b"same") != b"same"


def test_absorbed_bytes_are_gone_from_where_they_were() -> None:
    fresh = os.urandom(32)
    copy_of_it = bytearray(fresh)
    secret = Secret.absorb(fresh)
    assert bytes(secret.reveal()) == copy_of_it
    assert fresh == bytes(32)


def test_an_empty_secret_is_allowed_and_a_negative_one_is_not() -> None:
    assert len(Secret(0)) == 0
    with pytest.raises(ValueError, match="-1"):
        Secret(-1)


def test_secrets_that_lie_side_by_side_are_wiped_each_for_itself() -> None:
    first, nothing, last = Secret.side_by_side([32, 0, 5000])
    for secret, byte in ((first, b"a"), (last, b"b")):
        secret.reveal()[:] = byte * len(secret)
    view = first.reveal()
    first.wipe()
    assert bytes(view) == bytes(32)
    assert bytes(last.reveal()) == b"b" * 5000
    assert (first.wiped, nothing.wiped, last.wiped, len(nothing)) == (True, False, False, 0)
    later = Secret.side_by_side([32])
    later[0].reveal()[:] = b"c" * 32
    assert bytes(view) == bytes(32)
    assert Secret.side_by_side([]) == []


def test_short_secrets_share_pages_and_no_byte() -> None:
    """More than fit into a page, of two threads at once; each is wiped for itself."""
    made: list[list[Secret]] = [[], []]

    def make(mine: list[Secret]) -> None:
        for n in range(500):
            secret = Secret(1 + n % SHORT_BYTES)
            assert bytes(secret.reveal()) == bytes(len(secret))
            secret.reveal()[:] = bytes([n % 251 + 1]) * len(secret)
            mine.append(secret)

    threads = [Thread(target=make, args=(mine,)) for mine in made]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    views = []
    for mine in made:
        for n, secret in enumerate(mine):
            assert bytes(secret.reveal()) == bytes([n % 251 + 1]) * (1 + n % SHORT_BYTES)
            if n % 2:
                views.append(secret.reveal())
                secret.wipe()
    make(later := [])
    assert all(bytes(view) == bytes(len(view)) for view in views)
    for mine in (*made, later):
        for n, secret in enumerate(mine):
            assert secret.wiped or bytes(secret.reveal()) == bytes([n % 251 + 1]) * len(secret)
    first, second = (secret.reveal() for secret in Secret.side_by_side([16, 16]))
    assert _address(second) - _address(first) == 16


def _address(view: memoryview) -> int:
    return ctypes.addressof(ctypes.c_char.from_buffer(view))
