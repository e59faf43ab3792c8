"""A thousand frames that are not the peer's: none opens, and the true ones still do."""

from tests.auth.tampering import Tamperer

KINDS = 19


def test_no_frame_that_was_tampered_with_is_accepted_and_every_kind_was_tried() -> None:
    tamperer = Tamperer(1)
    tamperer.run(1_000)
    assert not tamperer.accepted
    assert tamperer.n_tampered == 1_000
    assert tamperer.n_true > 1_000 // KINDS - 1
    assert len({kind for kind, _ in tamperer.refused}) == KINDS
    by_tag = sum(n for (_, why), n in tamperer.refused.items() if why == "bad tag")
    assert by_tag > 700


def test_what_every_bit_of_a_header_does_is_named() -> None:
    tamperer = Tamperer(2)
    tamperer.run(3_000)
    whys = {why for kind, why in tamperer.refused if kind == "header: a bit"}
    assert whys >= {"this is no qkdd", "protocol version", "unknown kind", "waits for the rest"}
