"""Seal and open frames, in pairs; and everything that a wire can do to them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.auth.budget import MAX_BAD_TAGS, AuthBudget, BadTag, forgery_bound
from qkdd.auth.seal import Opener, Sealer, key_bytes_of
from qkdd.auth.tags import TAGS_PER_HASH_KEY, SessionContext, TagKey, covered_header
from qkdd.base.errors import SecurityAlarm
from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret

AT_A = SessionContext(LinkId("ab"), NodeId("a"), NodeId("b"), b"opening")
AT_B = SessionContext(LinkId("ab"), NodeId("b"), NodeId("a"), b"opening")
BATCH = 2


class Stream:
    """One half of a pre-shared key, read strictly forward."""

    def __init__(self, salt: int) -> None:
        self.taken = 0
        self._salt = salt

    def take(self, n_bytes: int) -> Secret:
        start, self.taken = self.taken, self.taken + n_bytes
        return Secret.from_bytes(
            bytes((i * i * 31 + i * 7 + self._salt) % 251 for i in range(start, self.taken))
        )


class End:
    """One direction, at one end, over its own copy of the stream."""

    def __init__(self, session: SessionContext, *, tx: int = 1, rx: int = 2) -> None:
        self.budget = AuthBudget()
        self.sealer, self.opener = Sealer(session), Opener(session, self.budget)
        self.tx, self.rx = Stream(tx), Stream(rx)

    def seal(self, payload: bytes, kind: int = BATCH) -> bytes:
        return self.sealer.seal(kind, payload, self.tx.take(self.sealer.key_bytes))

    def open(self, payload: bytes, tag: bytes, kind: int = BATCH) -> None:
        if self.opener.key_bytes:
            self.opener.load(self.rx.take(self.opener.key_bytes))
        self.opener.open(kind, payload, tag)


def a_pair() -> tuple[End, End]:
    return End(AT_A, tx=1, rx=2), End(AT_B, tx=2, rx=1)


def test_the_tag_is_poly1305_of_rfc_8439() -> None:
    # RFC 8439, section 2.5.2: r | s and the tag of its message.
    key = Secret.from_bytes(
        bytes.fromhex(
            "85d6be7857556d337f4452fe42d506a8 0103808afb0db2fd4abff6af4149f51b".replace(" ", "")
        )
    )
    poly = TagKey()
    poly.load(key)
    tag = poly.hash(b"Cryptographic Forum ", b"Research Group").finalize()
    assert tag.hex() == "a8061dc1305136c6c22b8baf0c0127a9"
    assert key.wiped


def test_a_tag_is_what_a_second_reading_computes() -> None:
    alice, _ = a_pair()
    tags = [alice.seal(b"first"), alice.seal(b"second message, longer than a block")]
    secret = Stream(1).take(48)
    key = secret.reveal()
    r = int.from_bytes(key[:16], "little") & 0x0FFFFFFC0FFFFFFC0FFFFFFC0FFFFFFF
    for number, (payload, tag) in enumerate(
        zip((b"first", b"second message, longer than a block"), tags, strict=True)
    ):
        covered = b"qkdd-tag-1" + b"".join(
            len(part).to_bytes(4, "little") + part for part in (b"ab", b"a", b"b", b"opening")
        )
        covered += number.to_bytes(8, "little") + bytes([BATCH])
        covered += len(payload).to_bytes(8, "little") + payload
        accumulator = 0
        for i in range(0, len(covered), 16):
            block = int.from_bytes(covered[i : i + 16] + b"\x01", "little")
            accumulator = (accumulator + block) * r % (2**130 - 5)
        pad = int.from_bytes(key[16 + 16 * number : 32 + 16 * number], "little")
        assert tag == ((accumulator + pad) % 2**128).to_bytes(16, "little")


@given(payloads=st.lists(st.binary(max_size=100), max_size=6))
def test_frames_open_in_the_order_they_were_sealed(payloads: list[bytes]) -> None:
    alice, bob = a_pair()
    for sent in payloads:
        bob.open(sent, alice.seal(sent))
        alice.open(sent, bob.seal(sent))
    assert alice.tx.taken == bob.rx.taken == 16 * len(payloads) + 16 * bool(payloads)


@pytest.mark.parametrize("flipped", range(8 * 37 + 8 * 16))
def test_every_flipped_bit_is_refused_and_the_true_frame_still_opens(flipped: int) -> None:
    alice, bob = a_pair()
    payload = bytes(range(37))
    frame = bytearray(payload + alice.seal(payload))
    frame[flipped // 8] ^= 1 << flipped % 8
    with pytest.raises(BadTag, match="bad tag 1 of 3"):
        bob.open(bytes(frame[:37]), bytes(frame[37:]))
    frame[flipped // 8] ^= 1 << flipped % 8
    bob.open(bytes(frame[:37]), bytes(frame[37:]))


@pytest.mark.parametrize("length", range(20))
def test_every_truncation_is_refused(length: int) -> None:
    alice, bob = a_pair()
    payload = bytes(20)  # zeros: padding must not hide a cut
    tag = alice.seal(payload)
    with pytest.raises(BadTag):
        bob.open(payload[:length], tag)


def test_zeros_added_are_refused() -> None:
    alice, bob = a_pair()
    tag = alice.seal(bytes(16))
    with pytest.raises(BadTag):
        bob.open(bytes(17), tag)


@pytest.mark.parametrize("length", [0, 15, 17, 32])
def test_a_tag_of_another_length_is_refused(length: int) -> None:
    alice, bob = a_pair()
    tag = (alice.seal(b"x") * 2)[:length]
    with pytest.raises(BadTag, match="tag of"):
        bob.open(b"x", tag)


def test_a_replayed_frame_is_refused() -> None:
    alice, bob = a_pair()
    tag = alice.seal(b"x")
    bob.open(b"x", tag)
    with pytest.raises(BadTag):
        bob.open(b"x", tag)


def test_frames_out_of_order_are_refused() -> None:
    alice, bob = a_pair()
    first, second = alice.seal(b"x"), alice.seal(b"x")
    with pytest.raises(BadTag):
        bob.open(b"x", second)
    bob.open(b"x", first)
    bob.open(b"x", second)


def test_a_reflected_frame_is_refused_even_if_both_directions_shared_their_key() -> None:
    alice = End(AT_A, tx=1, rx=1)
    with pytest.raises(BadTag):
        alice.open(b"x", alice.seal(b"x"))


def test_another_kind_of_frame_is_refused() -> None:
    alice, bob = a_pair()
    with pytest.raises(BadTag):
        bob.open(b"x", alice.seal(b"x", kind=BATCH), kind=BATCH + 1)


@pytest.mark.parametrize(
    "other",
    [
        SessionContext(LinkId("ac"), NodeId("b"), NodeId("a"), b"opening"),
        SessionContext(LinkId("ab"), NodeId("c"), NodeId("a"), b"opening"),
        SessionContext(LinkId("ab"), NodeId("b"), NodeId("c"), b"opening"),
        SessionContext(LinkId("ab"), NodeId("b"), NodeId("a"), b"another"),
        SessionContext(LinkId("a"), NodeId("b"), NodeId("ba"), b"opening"),
    ],
)
def test_a_frame_of_another_link_node_or_session_is_refused(other: SessionContext) -> None:
    alice, bob = End(AT_A, tx=1), End(other, rx=1)
    with pytest.raises(BadTag):
        bob.open(b"x", alice.seal(b"x"))


@given(
    names=st.lists(
        st.tuples(st.text("ab\x00", max_size=3), st.text("ab\x00", max_size=3)),
        min_size=2,
        max_size=2,
        unique=True,
    ),
    opening=st.binary(max_size=3),
)
def test_no_two_contexts_are_covered_by_the_same_bytes(
    names: list[tuple[str, str]], opening: bytes
) -> None:
    one, other = (
        covered_header(
            SessionContext(LinkId(link), NodeId(node), NodeId("peer"), opening).sent, 0, 1, 2
        )
        for link, node in names
    )
    assert one != other


def test_the_third_bad_tag_stops_the_link_for_good() -> None:
    alice, bob = a_pair()
    tag = alice.seal(b"x")
    for _ in range(MAX_BAD_TAGS - 1):
        with pytest.raises(BadTag):
            bob.open(b"y", tag)
    with pytest.raises(SecurityAlarm, match="3 frames failed"):
        bob.open(b"y", tag)
    with pytest.raises(SecurityAlarm):
        bob.open(b"x", tag)


def test_bad_tags_of_earlier_sessions_count() -> None:
    budget = AuthBudget()
    for number in range(1, 3):
        alice, opener = End(AT_A, tx=1), Opener(AT_B, budget)
        opener.load(Stream(1).take(opener.key_bytes))
        with pytest.raises(BadTag, match=f"bad tag {number} of 3"):
            opener.open(BATCH, b"y", alice.seal(b"x"))
    with pytest.raises(SecurityAlarm):
        budget.failed("once more")
    budget.clear()
    budget.refuse_if_spent()


def test_the_bound_grows_with_every_try_good_or_bad() -> None:
    alice, bob = a_pair()
    tag = alice.seal(bytes(1_000))
    with pytest.raises(BadTag):
        bob.open(bytes(999), tag)
    bob.open(bytes(1_000), tag)
    n_header = len(covered_header(AT_A.sent, 0, BATCH, 1_000))
    assert bob.budget.n_tags == 2
    assert bob.budget.forgery_bound == forgery_bound(n_header + 999) + forgery_bound(
        n_header + 1_000
    )


def test_the_bound_of_a_mebibyte_is_2_to_the_minus_87() -> None:
    assert forgery_bound(1 << 20) == 2.0**-87
    assert forgery_bound(1) == 2.0**-103


def test_a_hash_key_serves_a_million_tags() -> None:
    assert TAGS_PER_HASH_KEY == 2**20
    assert [key_bytes_of(n) for n in (0, 1, 2**20 - 1, 2**20, 2**20 + 1)] == [32, 16, 16, 32, 16]


def test_both_ends_change_the_hash_key_at_the_same_frame() -> None:
    alice, bob = a_pair()
    bob.open(b"x", alice.seal(b"x"))
    alice.sealer.n_sealed = bob.opener.n_opened = TAGS_PER_HASH_KEY - 1
    for _ in range(3):
        bob.open(b"x", alice.seal(b"x"))
    assert alice.tx.taken == bob.rx.taken == 32 + 16 + 32 + 16


def test_a_pad_of_the_wrong_length_is_the_callers_bug() -> None:
    alice, bob = a_pair()
    with pytest.raises(ValueError, match="takes 32 bytes, not 16"):
        alice.sealer.seal(BATCH, b"", Secret(16))
    with pytest.raises(ValueError, match="takes 32 bytes, not 16"):
        bob.opener.load(Secret(16))
    with pytest.raises(RuntimeError, match="no pad"):
        bob.opener.open(BATCH, b"", bytes(16))


def test_a_second_pad_is_never_loaded_for_one_frame() -> None:
    bob = a_pair()[1]
    bob.opener.load(bob.rx.take(32))
    assert bob.opener.key_bytes == 0
    with pytest.raises(ValueError, match="takes 0 bytes"):
        bob.opener.load(bob.rx.take(16))


def test_pads_are_wiped_once_used() -> None:
    alice, bob = a_pair()
    pad = alice.tx.take(32)
    tag = alice.sealer.seal(BATCH, b"x", pad)
    assert pad.wiped
    bob.open(b"x", tag)
    for key in (alice.sealer._key, bob.opener._key):
        assert bytes(key._key.reveal()[16:]) == bytes(16)
        assert bytes(key._key.reveal()[:16]) != bytes(16)


def test_a_node_is_not_its_own_peer() -> None:
    with pytest.raises(ValueError, match="own peer"):
        SessionContext(LinkId("ab"), NodeId("a"), NodeId("a"), b"")
