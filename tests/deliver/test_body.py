"""The key container is the standard's JSON, and its base64 is everybody's base64."""

import base64
import json
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.secret import Secret
from qkdd.deliver.body import key_container


@given(st.lists(st.tuples(st.uuids(), st.binary(max_size=300)), max_size=5))
def test_a_container_reads_back_as_its_keys(keys: list[tuple[UUID, bytes]]) -> None:
    body = key_container([(key_id, Secret.from_bytes(key)) for key_id, key in keys])
    assert json.loads(bytes(body)) == {
        "keys": [
            {"key_ID": str(key_id), "key": base64.b64encode(key).decode()} for key_id, key in keys
        ]
    }
