"""The simulated WebSQ against the messages of the vendor's client, and what its wires do."""

import json
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.sim.json_stream import MAX_OBJECT_BYTES, NoObject, ObjectStream
from drivers.sim.sq_nanowires import COLD_OHM, LATCHED_OHM
from drivers.sim.sq_scan import SEARCH_S
from drivers.sim.sq_websq import BYTES_PER_S, MS, WebSQ

S = 1000 * MS
COUNTS = [100, 200, 300, 400]  # of a millisecond


class Box:
    """A box with a client that reads everything, and light that gives COUNTS per millisecond."""

    def __init__(self, *, biased: bool = True) -> None:
        self.websq = WebSQ(switching_ua=20.0, biased=biased, start_unix_s=1_700_000_000.0)
        self.now_ns = 0
        self.said = b""
        self.lines: list[list[float]] = []
        self.websq.connected()

    def wait(self, n_ns: int) -> None:
        for _ in range(0, n_ns, MS):
            self.now_ns += MS
            live = self.websq.wires.live
            self.websq.count([n if on else 0 for n, on in zip(COUNTS, live, strict=True)])
            said, line = self.websq.advance(self.now_ns)
            self.said += said
            if line:
                assert line.endswith(b"\n")
                self.lines.append([float(word) for word in line.split(b",")])

    def objects(self) -> list[dict]:
        """What was said since, with the glue taken apart as the vendor's client does."""
        self.wait(100 * MS)
        complete, _, self.said = self.said.rpartition(b"\x17")
        messages = complete.decode().split("\x17") if complete else []
        return [
            json.loads(one)
            for message in messages
            for one in message.replace("}{", "}\x00{").split("\x00")
        ]

    def send(self, **message: object) -> list[dict]:
        self.objects()
        self.websq.receive(json.dumps(message).encode())
        return self.objects()

    def label(self, name: str) -> object:
        said = self.send(request="labelProps", value="None")
        props = [one for one in said if isinstance(one["value"], dict)]  # the others are updates
        return next(one["value"]["value"] for one in props if one["label"] == name)

    def last_counts(self) -> list[float]:
        """Of a whole period."""
        self.wait(2 * S)
        return self.lines[-1][1:]


def bias(box: Box, *currents_ua: float) -> list[dict]:
    return box.send(command="SetAllBiasCurrents", label="BiasCurrent", value=list(currents_ua))


def enable(box: Box, state: bool) -> list[dict]:
    return box.send(command="DetectorEnable", label="DetectorEnable", value=state)


def test_all_labels_come_glued_in_one_message():
    box = Box()
    box.objects()
    box.websq.receive(b'{"request": "labelProps", "value": "None"}')
    box.wait(200 * MS)
    assert box.said.count(b"\x17") == 1
    assert box.said.count(b'}{"label"') == 13
    labels = {one["label"]: one["value"]["value"] for one in box.objects()}
    assert labels["NumberOfDetectors"] == 4
    assert labels["InptMeasurementPeriod"] == 100
    assert labels["DetectorEnable"] is True
    assert labels["StartAutoIV"] is False
    assert labels["BiasCurrent"] == [18.0] * 4
    assert labels["TriggerLevel"] == [25.0] * 4
    assert labels["BiasVoltage"] == [18.0 * COLD_OHM * 1e-3] * 4


def test_a_long_answer_comes_in_pieces():
    box = Box()
    box.objects()
    box.websq.receive(b'{"request": "labelProps", "value": "None"}')
    box.wait(MS)
    assert len(box.said) == BYTES_PER_S / 1000
    assert b"\x17" not in box.said


def test_a_change_is_told_unasked_with_what_it_changes():
    box = Box()
    assert bias(box, 12, 8, 3, 8.5) == [
        {"label": "BiasCurrent", "value": [12.0, 8.0, 3.0, 8.5]},
        {"label": "BiasVoltage", "value": pytest.approx([0.6, 0.4, 0.15, 0.425])},
    ]
    said = box.send(command="SetAllTriggerLevels", label="TriggerLevel", value=[23, 24, 25, 26])
    assert said == [{"label": "TriggerLevel", "value": [23.0, 24.0, 25.0, 26.0]}]


def test_a_minute_brings_temperatures_that_nobody_asked_for():
    box = Box()
    box.objects()
    box.wait(60 * S)
    (one,) = box.objects()
    assert one["label"] == "temperature_long_memory"
    assert one["value"]["x"] == ["14-Nov-23 22:13:20.001", "14-Nov-23 22:14:20.001"]
    assert one["value"]["T"] == [2.5, 2.5]
    assert one["value"]["T2"] == [40.0, 40.0]
    assert box.send(request="TemperatureHistory") == [one]


def test_objects_may_come_glued_and_in_pieces():
    box = Box()
    box.objects()
    box.websq.receive(b'{"request":"BiasVoltage"}{"request":"Trigger')
    box.websq.receive(b'Level"}\n{"request":"DetectorEnable"}')
    labels = [one["label"] for one in box.objects()]
    assert labels == ["BiasVoltage", "TriggerLevel", "DetectorEnable"]


def test_counts_come_by_the_period_with_the_time():
    box = Box()
    box.wait(S)
    assert box.lines[0] == [1_700_000_000.1, 10_000, 20_000, 30_000, 40_000]
    assert len(box.lines) == 10
    said = box.send(command="SetMeasurementPeriod", label="InptMeasurementPeriod", value=10)
    assert said == [{"label": "InptMeasurementPeriod", "value": 10}]
    box.lines.clear()
    box.wait(S)
    assert len(box.lines) == 100
    assert all(line[1:] == [1000, 2000, 3000, 4000] for line in box.lines)


def test_a_disabled_or_underbiased_wire_counts_nothing():
    box = Box(biased=False)
    assert box.last_counts() == [0, 0, 0, 0]
    bias(box, 18, 18, 18, 10)
    assert box.last_counts() == [0, 0, 0, 0]
    assert [one["label"] for one in enable(box, True)] == ["DetectorEnable", "BiasVoltage"]
    assert box.last_counts() == [10_000, 20_000, 30_000, 0]
    enable(box, False)
    assert box.last_counts() == [0, 0, 0, 0]
    assert box.label("BiasVoltage") == [0.0] * 4


def test_a_trigger_above_the_pulse_hides_it_from_the_counters_only():
    box = Box()
    box.send(command="SetAllTriggerLevels", label="TriggerLevel", value=[179, 181, 25, 25])
    assert box.last_counts() == [10_000, 0, 30_000, 40_000]
    assert box.websq.wires.live == (True,) * 4


def test_a_latched_wire_stays_so_until_its_bias_is_taken_away():
    box = Box()
    said = bias(box, 18, 20.5, 18, 18)
    latched_mv = 20.5 * LATCHED_OHM * 1e-3
    assert said[1]["value"][1] == pytest.approx(latched_mv)
    assert box.last_counts() == [10_000, 0, 30_000, 40_000]
    bias(box, 18, 18, 18, 18)
    assert box.last_counts() == [10_000, 0, 30_000, 40_000]
    enable(box, False)
    enable(box, True)
    assert box.last_counts() == [10_000, 20_000, 30_000, 40_000]
    assert box.label("BiasVoltage")[1] == pytest.approx(18.0 * COLD_OHM * 1e-3)


def test_a_warm_cryostat_takes_the_counts_and_says_so_unasked():
    box = Box()
    box.objects()
    box.websq.wires.cryostat_on = False
    box.wait(10 * S)
    (told,) = (one for one in box.objects() if one["label"] == "BiasVoltage")
    assert told["value"] == [18.0 * LATCHED_OHM * 1e-3] * 4
    assert box.lines[-1][1:] == [0, 0, 0, 0]
    (history,) = box.send(request="TemperatureHistory")
    assert history["value"]["T"][0] == 2.5
    box.websq.wires.cryostat_on = True
    box.websq.skip_to(box.now_ns + 20_000 * S)
    box.now_ns += 20_000 * S
    assert box.last_counts() == [0, 0, 0, 0]
    enable(box, False)
    enable(box, True)
    assert box.last_counts() == [10_000, 20_000, 30_000, 40_000]


def test_the_bias_search_ends_with_the_bias_of_the_dark_rate():
    box = Box(biased=False)
    rates_hz = [n * 1000 for n in COUNTS]
    box.send(command="DarkCountsAutoIV", value=[rates_hz[0], rates_hz[1] / 10, 1, rates_hz[3] * 10])
    assert box.send(command="AutoCaliBiasCurrents", value=True) == [
        {"label": "StartAutoIV", "value": True},
        {"label": "BiasVoltage", "value": [18.0 * COLD_OHM * 1e-3] * 4},
    ]
    box.wait(int(SEARCH_S * S))
    said = {one["label"]: one["value"] for one in box.objects()}
    assert said["StartAutoIV"] is False
    found = said["BiasCurrentAutoIV"]
    assert found == pytest.approx([18.0, 16.0, 20 * (0.9 - 0.1 * 5.477), 19.6], abs=0.02)
    assert said["BiasCurrent"] == found
    assert box.last_counts() == [0, 0, 0, 0]  # not enabled: the search leaves that as it was
    enable(box, True)
    assert box.last_counts() == [10_000, 20_000, 0, 40_000]


def test_a_bias_search_may_be_called_off():
    box = Box()
    bias(box, 15, 15, 15, 15)
    box.send(command="AutoCaliBiasCurrents", value=True)
    assert box.send(command="AutoCaliBiasCurrents", value=False)[0] == {
        "label": "StartAutoIV",
        "value": False,
    }
    box.wait(4 * S)
    assert box.label("BiasCurrent") == [15.0] * 4


def test_a_scan_shows_plateau_and_switching_current():
    box = Box()
    for label, value in (("IVScanStart", 10), ("IVScanEnd", 22), ("IVScanIncrement", 4)):
        assert box.send(label=label, value=value) == [{"label": label, "value": value}]
    box.send(command="SetMeasurementPeriod", label="InptMeasurementPeriod", value=500)
    assert {"label": "IVScanEnable", "value": True} in box.send(
        command="IVScanEnable", label="IVScanEnable", value=True
    )
    for meddling in ({"label": "IVScanEnd"}, {"command": "AutoCaliBiasCurrents"}):
        assert box.send(**meddling, value=True)[0]["label"] == "Error"
    box.wait(3 * S)
    assert {"label": "IVScanEnable", "value": False} in box.objects()
    iv, ic = box.send(request="IVHistory")
    assert (iv["label"], ic["label"]) == ("iv_scan_history", "ic_scan_history")
    assert [row["biasCurrent"] for row in ic["value"]] == [10, 14, 18, 22]
    assert [row["y2"] for row in ic["value"]] == [0, 100_000, 100_000, 0]
    assert [row["v1"] for row in iv["value"]] == [0.5, 0.7, 0.9, 220.0]
    assert box.last_counts()[0] == 50_000  # as before the scan


def test_a_scan_that_is_called_off_leaves_bias_and_settings_as_they_were():
    box = Box()
    box.send(command="IVScanEnable", value=True)
    assert box.label("BiasVoltage")[0] != 0.9
    said = box.send(command="IVScanEnable", value=False)
    assert {"label": "IVScanEnable", "value": False} in said
    assert {"label": "BiasVoltage", "value": [0.9] * 4} in said
    assert box.last_counts() == [10_000, 20_000, 30_000, 40_000]


@pytest.mark.parametrize(
    "message",
    [
        b"{}",
        b"{]}",
        b'{"request": 5}',
        b'{"request": "Everything"}',
        b'{"command": "Explode", "value": 1}',
        b'{"label": "BiasCurrent", "value": [1, 2, 3, 4]}',
        b'{"command": "SetAllBiasCurrents", "value": [1, 2, 3]}',
        b'{"command": "SetAllBiasCurrents", "value": [1, 2, 3, 91]}',
        b'{"command": "SetAllBiasCurrents", "value": [1, 2, 3, true]}',
        b'{"command": "SetAllBiasCurrents", "value": [1, 2, 3, NaN]}',
        b'{"command": "SetAllBiasCurrents", "value": [1, 2, 3, 1' + b"0" * 400 + b"]}",
        b'{"command": "SetAllTriggerLevels", "value": [1, 2, 3, -4]}',
        b'{"command": "SetMeasurementPeriod", "value": 9}',
        b'{"command": "SetMeasurementPeriod", "value": "100"}',
        b'{"command": "DetectorEnable", "value": 1}',
        b'{"command": "DarkCountsAutoIV", "value": [0, 1, 1, 1]}',
        b'{"label": "IVScanStart", "value": 91}',
        b'{"a": ' + b"[" * 20_000 + b"}",
        b'{"a": "' + b"x" * MAX_OBJECT_BYTES + b'"}',
    ],
)
def test_a_wrong_message_is_an_error_and_changes_nothing(message):
    box = Box()
    before = box.send(request="labelProps")
    box.websq.receive(message)
    errors = box.objects()
    assert [one["label"] for one in errors] == ["Error"]
    assert isinstance(errors[0]["value"], str)
    assert box.send(request="labelProps") == before


@pytest.mark.parametrize("increment_ua", [0, -1, 1e-9, 90, 5e-324])
def test_a_scan_that_is_none_is_refused(increment_ua):
    box = Box()
    box.send(label="IVScanIncrement", value=increment_ua)
    assert box.send(command="IVScanEnable", value=True)[-1]["label"] == "Error"
    assert box.label("IVScanEnable") is False


def test_without_a_client_nothing_is_kept_for_the_next_one():
    box = Box()
    box.websq.receive(b'{"request": "labelProps"}{"request')
    box.websq.disconnected()
    bias_before = box.websq.wires.bias_ua
    box.wait(S)
    box.websq.connected()
    box.websq.receive(b'{"request": "DetectorEnable"}')
    assert box.objects() == [{"label": "DetectorEnable", "value": True}]
    assert box.websq.wires.bias_ua == bias_before


OBJECTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=4,
)


@settings(max_examples=50)
@given(
    st.lists(st.dictionaries(st.text(max_size=5), OBJECTS, max_size=4), max_size=4),
    st.lists(st.integers(0, 500), max_size=5),
)
def test_any_objects_come_out_of_any_chunks_as_they_went_in(sent: list[dict], cuts: list[int]):
    data = "".join(json.dumps(one, ensure_ascii=False) for one in sent).encode()
    stream = ObjectStream()
    edges = [0, *sorted(min(cut, len(data)) for cut in cuts), len(data)]
    assert [one for a, b in pairwise(edges) for one in stream.feed(data[a:b])] == sent


KEYS = st.sampled_from(["request", "command", "label", "value"])
WORDS = st.sampled_from(
    ["labelProps", "IVHistory", "SetAllBiasCurrents", "IVScanEnable", "IVScanEnd", "StartAutoIV"]
)
VALUES = WORDS | OBJECTS | st.lists(st.floats(), min_size=4, max_size=4)


@settings(max_examples=50)
@given(st.lists(st.binary(max_size=60) | st.dictionaries(KEYS, VALUES).map(json.dumps), max_size=8))
def test_no_bytes_break_it(parts: list[bytes | str]):
    box = Box()
    for part in parts:
        box.websq.receive(part if isinstance(part, bytes) else part.encode())
        box.wait(20 * MS)
    box.websq.receive(b'"' + b"}" * 100)  # out of whatever text or object it is in
    box.websq.connected()
    box.said = b""
    box.websq.receive(b'{"request": "NumberOfDetectors"}')
    box.wait(S)
    assert b'{"label":"NumberOfDetectors","value":4}\x17' in box.said


def test_bytes_that_are_no_text_are_no_object():
    (found,) = ObjectStream().feed(b'{"\xff": 1}')
    assert isinstance(found, NoObject)
