"""Two ends whose configurations differ find out which field, and make no key."""

import pytest

from qkdd.base.agreement import Agreed, agreement, check_agreement
from qkdd.base.errors import PeerError
from qkdd.base.light import Intensities, LightPlan


def test_equal_settings_agree() -> None:
    check_agreement(
        agreement(light=LightPlan(), intensities=Intensities(), codes="a"),
        agreement(codes="a", intensities=Intensities(), light=LightPlan()),
    )


def test_every_field_that_differs_is_named_with_both_values() -> None:
    ours = agreement(light=LightPlan(), intensities=Intensities(), codes="a")
    theirs = agreement(light=LightPlan(), intensities=Intensities(weak_mu=0.2), codes="b")
    with pytest.raises(PeerError, match=r"codes is 'a'.*'b'.*intensities\.weak_mu is 0\.19.*0\.2"):
        check_agreement(ours, theirs)


def test_another_protocol_version_is_refused_by_number() -> None:
    ours = agreement(codes="a")
    with pytest.raises(PeerError, match="version 99"):
        check_agreement(ours, Agreed(protocol_version=99, text=ours.text))


@pytest.mark.parametrize("text", [b"", b"[]", b"{", b"\xff", b'{"\xff": 1}', b'{"codes": 1}'])
def test_a_text_that_is_no_agreement_is_the_peers_fault(text: bytes) -> None:
    ours = agreement(codes="a")
    with pytest.raises(PeerError):
        check_agreement(ours, Agreed(protocol_version=ours.protocol_version, text=text))


@pytest.mark.parametrize("n", [990, 995, 996, 997, 998, 1000, 100_000])
@pytest.mark.parametrize(("head", "tail"), [(b"[", b"]"), (b'{"codes":', b"}")])
def test_a_text_nested_too_deep_is_the_peers_fault(n: int, head: bytes, tail: bytes) -> None:
    ours = agreement(codes="a")
    text = b'{"codes":' + head * n + b"1" + tail * n + b"}"
    with pytest.raises(PeerError):
        check_agreement(ours, Agreed(protocol_version=ours.protocol_version, text=text))


def test_names_that_the_peer_made_up_are_cut_short() -> None:
    ours = agreement(codes="a")
    text = b'{"' + b"x" * 100_000 + b'":1}'
    with pytest.raises(PeerError) as told:
        check_agreement(ours, Agreed(protocol_version=ours.protocol_version, text=text))
    assert len(str(told.value)) < 400
