"""Any well-formed word of the peer, at any moment: carried out, or refused as the peer's fault."""

import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from qkdd.base.errors import PeerError, SecurityAlarm
from qkdd.base.ids import SaeId
from qkdd.keys import messages
from tests.keys.pair_of_stores import LINK, Pair

BLOCKS = st.sampled_from([0, 1, 2, 3, 2**62])
COUNTS = st.sampled_from([0, 1, 16, 100, 300, 1_700, 7_200, 32_000, 2**33, 2**62])


def words(known: list[bytes]) -> st.SearchStrategy[Any]:
    """Messages about blocks and keys, of which many are there and many are not."""
    names = st.lists(st.sampled_from([*known, b"s" * 16, b"t" * 16, b"x"]), max_size=3)
    ids = names.map(b"".join)
    lanes = st.sampled_from([0, 2_560, 2**62])
    cut = {"block_no": BLOCKS, "n_bits": COUNTS, "auth_bytes": COUNTS, "lane_bits": lanes}
    used = {"alice_used": COUNTS, "bob_used": COUNTS, "burned": st.booleans()}
    live = st.builds(messages.LiveBlock, **cut, **used)
    numbers = ("next_block", "last_block", "auth_end", "tx_spent", "rx_spent")
    sums = (
        "pre_shared",
        "distilled",
        "delivered",
        "relayed",
        "burned",
        "stock",
        "auth_end",
        "lane_bits",
    )
    place = st.builds(messages.Place, block_no=BLOCKS, offset=COUNTS, count=st.just(1))
    return st.one_of(
        st.builds(messages.BlockPrepared, **cut),
        st.builds(messages.LanesRelayed, n_bits=COUNTS),
        st.builds(messages.BlockLive, block_no=BLOCKS),
        st.builds(messages.BlockBurned, block_no=BLOCKS),
        st.builds(
            messages.KeysAnnounced,
            key_ids=ids,
            n_bytes=st.sampled_from([8, 32, 512, 8_192]),
            places=st.lists(place, min_size=1, max_size=2).map(tuple),
            master=st.sampled_from("mt"),
            slaves=st.lists(st.sampled_from("st"), max_size=2).map(tuple),
        ),
        st.builds(messages.KeysHeld, held=ids, refused=ids),
        st.builds(messages.KeysConfirmed, delivered=ids, burned=ids),
        st.builds(messages.KeysSettled, settled=ids, fetched=ids),
        st.builds(
            messages.StoreState,
            **dict.fromkeys(numbers, COUNTS | BLOCKS),
            pending=st.lists(st.builds(messages.PendingBlock, **cut), max_size=2).map(tuple),
            live=st.lists(live, max_size=2).map(tuple),
            delivered=ids,
            fetched=ids,
            lane_bits=lanes,
        ),
        st.builds(messages.StoreAgreed, **dict.fromkeys(sums, COUNTS)),
    )


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data(), agreed=st.booleans())
def test_no_word_of_the_peer_breaks_a_store(data: st.DataObject, agreed: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        pair = Pair(Path(folder)).up()
        pair.block(4_000, 300, lane_bits=2_560)
        pair.pump()
        reserved = pair.alice.store.reserve_keys(LINK, 2, 256, SaeId("m"), [SaeId("s")], 1)
        pair.alice.say(reserved.announcement)
        pair.pump()
        if not agreed:
            pair.connect()
        known = [record.key_id.bytes for record in reserved.records]
        for end in pair.ends * 5:
            word = data.draw(words(known))
            if isinstance(word, messages.StoreState) and data.draw(st.booleans()):
                true = next((m for m in pair.peer(end).outbox if type(m) is type(word)), word)
                live = data.draw(st.sampled_from([true.live, ()]))
                word = replace(true, last_block=word.last_block, fetched=word.fetched, live=live)
            try:
                end.store.receive(LINK, word, 1)
            except (PeerError, SecurityAlarm):
                continue
            finally:
                end.store.account(LINK)
        for end in pair.ends:
            row = end.store._links.row(LINK)
            assert row["last_block"] < row["next_block"]
        pair.close()
