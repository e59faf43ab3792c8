"""Requests of ETSI GS QKD 014: what is asked, or the standard's own error."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qkdd.deliver.errors import UNMET, HttpError
from qkdd.deliver.request import (
    DecRequest,
    EncRequest,
    EpochRequest,
    StatusRequest,
    parse_request,
)
from qkdd.deliver.settings import DeliverySettings, Sae
from qkdd.keys.settings import StoreSettings

LIMITS = StoreSettings(path=Path(), master_key=Path())
SETTINGS = DeliverySettings(
    saes=tuple(
        Sae(id=name, node=node)
        for name, node in (("alpha", "a"), ("beta", "b"), ("gamma", "b"), ("delta", "b"))
    )
)
ID_1 = "550e8400-e29b-41d4-a716-446655440000"
ID_2 = "bc490419-7d60-487f-adc1-4ddcc177c139"


def ask(method: str, path: str, body: object = None) -> object:
    text = b"" if body is None else json.dumps(body).encode()
    return parse_request(
        method, f"/api/v1/keys/{path}", text, caller="alpha", settings=SETTINGS, limits=LIMITS
    )


def refused(method: str, path: str, body: object = None) -> tuple[int, str]:
    with pytest.raises(HttpError) as caught:
        ask(method, path, body)
    return caught.value.status, json.loads(caught.value.body)["message"]


def test_the_calls_of_the_standard_are_read() -> None:
    assert ask("GET", "beta/status") == StatusRequest("alpha", "beta")
    assert ask("GET", "beta/enc_keys") == EncRequest("alpha", ("beta",), 1, 256)
    assert ask("POST", "beta/enc_keys") == EncRequest("alpha", ("beta",), 1, 256)
    assert ask("POST", "beta/enc_keys", {}) == EncRequest("alpha", ("beta",), 1, 256)
    assert ask("GET", "beta/enc_keys?number=3&size=1024") == EncRequest("alpha", ("beta",), 3, 1024)
    assert ask(
        "POST", "beta/enc_keys", {"number": 2, "additional_slave_SAE_IDs": ["gamma", "delta"]}
    ) == EncRequest("alpha", ("beta", "gamma", "delta"), 2, 256)
    dec = ask("GET", f"beta/dec_keys?key_ID={ID_1}")
    assert isinstance(dec, DecRequest)
    assert (dec.master, dec.slave, [str(one) for one in dec.key_ids]) == ("beta", "alpha", [ID_1])
    ids = {"key_IDs": [{"key_ID": ID_1, "key": "echoed"}, {"key_ID": ID_2}]}
    dec = ask("POST", "beta/dec_keys", ids)
    assert isinstance(dec, DecRequest)
    assert [str(one) for one in dec.key_ids] == [ID_1, ID_2]


def test_a_size_that_was_not_named_is_known_as_such() -> None:
    for path, sized in (("beta/enc_keys", False), ("beta/enc_keys?size=256", True)):
        asked = ask("GET", path)
        assert isinstance(asked, EncRequest)
        assert (asked.size_bits, asked.sized) == (256, sized)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"size": 257}, "size shall be a multiple of 8"),
        (
            {"extension_mandatory": [{"abc_route_type": "direct"}]},
            "not all extension_mandatory parameters are supported",
        ),
    ],
)
def test_errors_have_the_standards_exact_messages(body: object, message: str) -> None:
    assert refused("POST", "beta/enc_keys", body) == (400, message)


def test_an_unsupported_mandatory_extension_is_named_in_the_details() -> None:
    with pytest.raises(HttpError) as caught:
        ask("POST", "beta/enc_keys", {"extension_mandatory": [{"abc_route_type": "direct"}]})
    assert json.loads(caught.value.body)["details"] == [
        {"extension_mandatory_unsupported": "abc_route_type is not supported"}
    ]


@pytest.mark.parametrize(
    ("mandatory", "max_relays"),
    [
        ([], None),
        ([{"qkdd_class": "relayed"}], None),
        ([{"qkdd_class": "direct"}], 0),
        ([{"qkdd_max_relays": 3}], 3),
        ([{"qkdd_max_relays": 7}, {"qkdd_max_relays": 2, "qkdd_class": "relayed"}], 2),
        ([{"qkdd_max_relays": 7, "qkdd_class": "direct"}], 0),
    ],
)
def test_mandatory_extensions_bound_whom_a_key_may_trust(
    mandatory: list[dict[str, object]], max_relays: int | None
) -> None:
    asked = ask("POST", "beta/enc_keys", {"extension_mandatory": mandatory})
    assert asked == EncRequest("alpha", ("beta",), 1, 256, max_relays)


@pytest.mark.parametrize(
    "extension",
    [
        {"qkdd_class": "indirect"},
        {"qkdd_class": None},
        {"qkdd_class": []},
        {"qkdd_max_relays": -1},
        {"qkdd_max_relays": True},
        {"qkdd_max_relays": 1.5},
        {"qkdd_max_relays": "3"},
    ],
)
def test_a_mandatory_extension_of_no_meaning_is_refused_by_name(
    extension: dict[str, object],
) -> None:
    with pytest.raises(HttpError) as caught:
        ask("POST", "beta/enc_keys", {"extension_mandatory": [extension]})
    body = json.loads(caught.value.body)
    assert (caught.value.status, body["message"]) == (400, UNMET)
    assert body["details"][0]["extension_mandatory_unmet"].startswith(next(iter(extension)))


def test_the_key_of_an_epoch_is_asked_for_by_its_number() -> None:
    asked = ask("GET", "beta/epoch_keys?epoch=1790000000")
    assert asked == EpochRequest("alpha", "beta", 1_790_000_000)


def test_an_unknown_optional_extension_is_ignored() -> None:
    asked = ask("POST", "beta/enc_keys", {"extension_optional": [{"abc_max_age": 3}], "x": 1})
    assert asked == EncRequest("alpha", ("beta",), 1, 256)


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "beta/enc_keys?number=0", None, 400),
        ("GET", "beta/enc_keys?number=-1", None, 400),
        ("GET", "beta/enc_keys?number=129", None, 400),
        ("GET", "beta/enc_keys?number=x", None, 400),
        ("GET", "beta/enc_keys?number=1&number=1", None, 400),
        ("GET", "beta/enc_keys?colour=red", None, 400),
        ("GET", "beta/enc_keys?size=0", None, 400),
        ("GET", "beta/enc_keys?size=56", None, 400),
        ("GET", "beta/enc_keys?size=4104", None, 400),
        ("POST", "beta/enc_keys?number=1", None, 400),
        ("POST", "beta/enc_keys", [], 400),
        ("POST", "beta/enc_keys", {"number": "3"}, 400),
        ("POST", "beta/enc_keys", {"additional_slave_SAE_IDs": []}, 400),
        ("POST", "beta/enc_keys", {"additional_slave_SAE_IDs": ["gamma", "gamma"]}, 400),
        ("POST", "beta/enc_keys", {"additional_slave_SAE_IDs": ["beta"]}, 400),
        ("POST", "beta/enc_keys", {"additional_slave_SAE_IDs": ["alpha"]}, 400),
        ("POST", "beta/enc_keys", {"additional_slave_SAE_IDs": [""]}, 400),
        ("POST", "beta/enc_keys", {"additional_slave_SAE_IDs": ["unknown"]}, 400),
        ("GET", "alpha/enc_keys", None, 400),
        ("GET", "unknown/enc_keys", None, 400),
        ("GET", "%20/status", None, 400),
        ("GET", "%ff/status", None, 400),
        ("GET", "beta/dec_keys", None, 400),
        ("GET", f"beta/dec_keys?key_ID={ID_1}&key_ID={ID_2}", None, 400),
        ("GET", "beta/dec_keys?key_ID=nonsense", None, 400),
        ("POST", "beta/dec_keys", None, 400),
        ("POST", "beta/dec_keys", {"key_IDs": []}, 400),
        ("POST", "beta/dec_keys", {"key_IDs": [{"key_ID": ID_1}, {"key_ID": ID_1}]}, 400),
        ("DELETE", "beta/enc_keys", None, 405),
        ("POST", "beta/status", None, 405),
        ("GET", "beta/nothing", None, 404),
        ("GET", "beta/epoch_keys", None, 400),
        ("GET", "beta/epoch_keys?epoch=", None, 400),
        ("GET", "beta/epoch_keys?epoch=-1", None, 400),
        ("GET", "beta/epoch_keys?epoch=1.5", None, 400),
        ("GET", "beta/epoch_keys?epoch=99999999999999999999", None, 400),
        ("GET", "beta/epoch_keys?epoch=1&number=2", None, 400),
        ("GET", "alpha/epoch_keys?epoch=1", None, 400),
        ("POST", "beta/epoch_keys", {"epoch": 1}, 405),
    ],
)
def test_bad_requests_are_refused(method: str, path: str, body: object, status: int) -> None:
    told, message = refused(method, path, body)
    assert told == status
    assert message


@given(
    st.sampled_from(["GET", "POST", "PUT"]),
    st.text(max_size=60) | st.text(max_size=40).map(lambda text: "/api/v1/keys/beta/" + text),
    st.binary(max_size=60)
    | st.recursive(
        st.none() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["number", "size", "key_IDs", "key_ID"]), inner)
        ),
    ).map(lambda value: json.dumps(value).encode()),
)
def test_no_request_causes_anything_but_an_answer(method: str, target: str, body: bytes) -> None:
    try:
        parse_request(method, target, body, caller="alpha", settings=SETTINGS, limits=LIMITS)
    except HttpError as error:
        assert error.status in (400, 404, 405)
        assert json.loads(error.body)["message"]
