"""What a configuration allows an application, the wire to the peer allows too."""

import msgspec
import pytest

from qkdd.deliver.settings import MAX_SLAVES, DeliverySettings
from qkdd.keys.messages import KeysAnnounced, Place
from qkdd.net.codec import decode_batch, encode_message, join_batch


def test_as_many_slaves_as_can_be_configured_can_be_announced() -> None:
    settings = msgspec.convert({"max_sae_id_count": MAX_SLAVES - 1}, DeliverySettings)
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"max_sae_id_count": MAX_SLAVES}, DeliverySettings)
    message = KeysAnnounced(
        key_ids=bytes(16),
        n_bytes=32,
        places=(Place(block_no=1, offset=0, count=1),),
        master="alpha",
        slaves=tuple(f"sae-{number}" for number in range(1 + settings.max_sae_id_count)),
    )
    assert decode_batch(join_batch([encode_message(message)])) == [message]
