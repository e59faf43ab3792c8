"""The key container is the standard's JSON, and its base64 is everybody's base64."""

import base64
import json
from uuid import UUID

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.secret import Secret
from qkdd.deliver.body import key_container
from qkdd.deliver.delivered import DeliveredKey
from qkdd.deliver.messages import KeyContainer


@given(st.lists(st.tuples(st.uuids(), st.binary(max_size=300)), max_size=5))
def test_a_container_reads_back_as_its_keys(keys: list[tuple[UUID, bytes]]) -> None:
    body = key_container([DeliveredKey(key_id, Secret.from_bytes(key)) for key_id, key in keys])
    direct = {"qkdd_class": "direct", "qkdd_relays_trusted": 0}
    assert json.loads(bytes(body)) == {
        "keys": [
            {
                "key_ID": str(key_id),
                "key": base64.b64encode(key).decode(),
                "key_extension": direct,
            }
            for key_id, key in keys
        ]
    }


@given(st.integers(0, 254), st.integers(0, 2**62))
def test_a_key_says_whom_it_trusts_and_of_which_epoch_it_is(n_relays: int, epoch: int) -> None:
    key = DeliveredKey(UUID(int=1), Secret(32), n_relays=n_relays, lane="north", epoch=epoch)
    text = bytes(key_container([key]))
    (read,) = json.loads(text)["keys"]
    assert read["key_extension"] == {
        "qkdd_class": "relayed" if n_relays else "direct",
        "qkdd_relays_trusted": n_relays,
    }
    assert read["key_ID_extension"] == {"qkdd_lane": "north", "qkdd_epoch": epoch}
    assert msgspec.json.decode(text, type=KeyContainer, strict=True).keys[0].key == "A" * 43 + "="
