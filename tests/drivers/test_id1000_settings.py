"""The resource string of an ID1000: defaults, options, and what it refuses."""

import pytest

from drivers.timetagger.id1000_settings import Id1000Settings, parse_resource


def test_the_shortest_form_has_the_vendors_ports():
    settings = parse_resource("zmq://169.254.99.100")
    assert settings == Id1000Settings(host="169.254.99.100")
    assert (settings.port, settings.dlt_host, settings.dlt_port) == (5555, "localhost", 6060)
    assert settings.dlt_is_local


def test_every_option_is_heard():
    settings = parse_resource(
        "zmq://tc:1234?dlt=[::2]:77&streams=5000&inputs=2,1&threshold_v=0.25&edge=rising"
        "&resolution=lowres&record_ms=500&gap_ns=100&stop=inpu"
    )
    assert settings == Id1000Settings(
        host="tc",
        port=1234,
        dlt_host="::2",
        dlt_port=77,
        streams=5000,
        inputs=(2, 1),
        threshold_v=0.25,
        edge="rising",
        resolution="lowres",
        record_ms=500,
        gap_ns=100,
        stop="INPU",
    )
    assert settings.period_ps == 500_000_100_000
    assert not settings.dlt_is_local


def test_the_kind_of_pulse_gives_threshold_and_edge():
    nim, ttl = (parse_resource("zmq://tc", inputs=kind) for kind in ("nim", "ttl"))
    assert (nim.threshold_v, nim.edge) == (-0.4, "falling")
    assert (ttl.threshold_v, ttl.edge) == (1.0, "rising")


@pytest.mark.parametrize(
    "resource",
    [
        "tcp://tc:5555",
        "zmq://",
        "zmq://tc/path",
        "zmq://tc:99999",
        "zmq://tc?colour=red",
        "zmq://tc?edge",
        "zmq://tc?edge=both",
        "zmq://tc?inputs=0",
        "zmq://tc?inputs=1,1",
        "zmq://tc?inputs=",
        "zmq://tc?threshold_v=nan",
        "zmq://tc?threshold_v=6",
        "zmq://tc?record_ms=199",
        "zmq://tc?record_ms=10001",
        "zmq://tc?gap_ns=39",
        "zmq://tc?streams=80",
        "zmq://tc?stop=INPU1;*RST",
        "zmq://tc?resolution=best",
    ],
)
def test_another_form_or_a_value_out_of_range_is_refused(resource):
    with pytest.raises(ValueError, match=r".+"):
        parse_resource(resource)
