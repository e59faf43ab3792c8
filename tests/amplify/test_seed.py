"""Alice and Bob with a wire between them: one seed, one key, or a clear error."""

from contextlib import suppress

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.amplify.messages import SEED_CHUNK_BYTES, AmplifySeed
from qkdd.amplify.seed import SeedReceiver, seed_messages
from qkdd.amplify.toeplitz import seed_bytes, toeplitz_hash
from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.ids import BlockNo
from qkdd.base.secret import Secret

BLOCK = BlockNo(7)
N_BITS = 2 * 8 * SEED_CHUNK_BYTES + 1001
N_OUT = 1_600_000


def messages(n_bits: int = N_BITS, n_out: int = N_OUT) -> list[AmplifySeed]:
    seed = np.random.default_rng(1).bytes(seed_bytes(n_bits))
    return list(seed_messages(BLOCK, seed, n_out=n_out, auth_bytes=4096))


def over_the_wire(message: AmplifySeed) -> AmplifySeed:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(message), type=AmplifySeed)


def test_both_ends_make_the_same_key_of_the_same_block() -> None:
    bits = np.random.default_rng(2).integers(0, 2, N_BITS, np.uint8)
    seed = bytearray(np.random.default_rng(3).bytes(seed_bytes(N_BITS)))
    bob = SeedReceiver(BLOCK, N_BITS, N_OUT)
    for message in seed_messages(BLOCK, seed, n_out=N_OUT, auth_bytes=4096):
        assert not bob.complete
        bob.receive(over_the_wire(message))
    assert bob.complete
    assert bob.auth_bytes == 4096
    with Secret(N_OUT // 8) as ours, Secret(N_OUT // 8) as theirs:
        toeplitz_hash(bits, seed, N_OUT, ours.reveal())
        toeplitz_hash(bits, bob.seed, N_OUT, theirs.reveal())
        assert ours == theirs
        assert any(ours.reveal())


@pytest.mark.parametrize("n_bits", [1, 2, 9, 8 * SEED_CHUNK_BYTES + 1, 8 * SEED_CHUNK_BYTES + 2])
def test_a_seed_of_any_length_arrives_whole(n_bits: int) -> None:
    bob = SeedReceiver(BLOCK, n_bits, 1)
    seed = b"\xa5" * seed_bytes(n_bits)
    for message in seed_messages(BLOCK, seed, n_out=1, auth_bytes=0):
        bob.receive(message)
    assert bob.seed == seed


def test_a_peer_that_makes_another_length_of_key_raises_the_alarm() -> None:
    bob = SeedReceiver(BLOCK, N_BITS, N_OUT)
    for n_out in (N_OUT + 1, N_OUT - 1):
        with pytest.raises(SecurityAlarm, match=f"would make {n_out} bits"):
            bob.receive(messages(n_out=n_out)[0])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"block_no": 8}, "block 8, block 7 is being amplified"),
        ({"chunk": 0}, "1 of 3 have come"),
        ({"chunk": 2}, "1 of 3 have come"),
        ({"n_chunks": 4}, "of 4"),
        ({"seed": b"short"}, "has 5 bytes, not 262144"),
        ({"auth_bytes": 100_001}, "100001 bytes for authentication"),
        ({"auth_bytes": 4095}, "was 4096"),
    ],
)
def test_a_wrong_chunk_is_the_peers_fault_and_changes_nothing(changes, says) -> None:
    honest = messages()
    bob = SeedReceiver(BLOCK, N_BITS, N_OUT)
    bob.receive(honest[0])
    with pytest.raises(PeerError, match=says):
        bob.receive(msgspec.structs.replace(honest[1], **changes))
    bob.receive(honest[1])
    bob.receive(honest[2])
    assert bob.seed == b"".join(message.seed for message in honest)
    with pytest.raises(PeerError, match="3 of 3 have come"):
        bob.receive(honest[2])


def test_an_unfinished_seed_is_not_handed_out() -> None:
    bob = SeedReceiver(BLOCK, N_BITS, N_OUT)
    bob.receive(messages()[0])
    for name in ("seed", "auth_bytes"):
        with pytest.raises(RuntimeError, match="1 of 3"):
            getattr(bob, name)
    with pytest.raises(RuntimeError, match="not hashed"):
        SeedReceiver(BLOCK, 10, 0)


HONEST = msgspec.msgpack.encode(
    AmplifySeed(block_no=7, chunk=0, n_chunks=1, seed=bytes(13), n_out=40, auth_bytes=0)
)


@given(
    st.one_of(
        st.binary(max_size=64),
        st.builds(
            lambda at, byte: HONEST[:at] + byte + HONEST[at + 1 :],
            st.integers(0, len(HONEST)),
            st.binary(min_size=1, max_size=1),
        ),
    )
)
def test_no_bytes_from_the_peer_break_bob(data: bytes) -> None:
    bob = SeedReceiver(BLOCK, 100, 40)
    # msgspec lets bad UTF-8 out as a UnicodeDecodeError.
    with suppress(msgspec.DecodeError, UnicodeDecodeError, PeerError, SecurityAlarm):
        bob.receive(msgspec.msgpack.decode(data, type=AmplifySeed))
        assert bob.complete
        assert len(bob.seed) == 13
