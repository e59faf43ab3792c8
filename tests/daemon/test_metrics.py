"""The metrics page: its format, what rules and board may ask of it, and how it is asked for."""

import json
import re
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio

from qkdd.config import load, mistakes
from qkdd.daemon.lane_metrics import LANE_STATES
from qkdd.daemon.metrics import CONTENT_TYPE, PATH, STATES, metrics_text
from qkdd.daemon.snapshot import LinkSnapshot, RelaySnapshot
from qkdd.deliver.tally import Tally
from qkdd.net.plain_http import MAX_CONNECTIONS, REQUEST_TIMEOUT_S, serve_page
from tests.daemon.relay_files import relay_file

ROOT = Path(__file__).parent.parent.parent
RULES = ROOT / "systemd/alerts.yml"
RULE_TESTS = ROOT / "tests/systemd/alerts_test.yml"
BOARD = ROOT / "systemd/grafana-board.json"
SAMPLE = re.compile(r"([a-z_]+)(?:\{((?:[a-z_]+=\"(?:[^\"\\\n]|\\[\\\"n])*\",?)*)\})? (\S+)")
LABEL = re.compile(r"([a-z_]+)=\"((?:[^\"\\\n]|\\[\\\"n])*)\"")
ENDS = {"histogram": ("_bucket", "_sum", "_count")}
NOT_ON_THE_BOARD = {"qkdd_block_number", "qkdd_delivery_seconds"}
needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="no promtool here: apt install prometheus"
)


def filled(kind: Any) -> Any:
    """Build a value of ``kind`` in which nothing is unknown."""
    if isinstance(kind, msgspec.inspect.StructType):
        return {field.encode_name: filled(field.type) for field in kind.fields}
    if isinstance(kind, msgspec.inspect.UnionType):
        return filled(
            next(one for one in kind.types if not isinstance(one, msgspec.inspect.NoneType))
        )
    if isinstance(kind, msgspec.inspect.TupleType):
        return [filled(one) for one in kind.item_types]
    if isinstance(kind, msgspec.inspect.VarTupleType):
        return [filled(kind.item_type)]
    if isinstance(kind, msgspec.inspect.DictType):
        return {"stock": 7, "burned": 8, "delivered": 9}
    made = {
        msgspec.inspect.IntType: 7,
        msgspec.inspect.FloatType: 0.5,
        msgspec.inspect.BoolType: True,
    }
    return made.get(type(kind), "numpy")  # type: ignore[call-overload]


def snapshot(**link: object) -> RelaySnapshot:
    relay = filled(msgspec.inspect.type_info(RelaySnapshot))
    relay["kernels"] = {"ldpc": "avx2", "tdc1": "numpy"}
    relay["links"][0] |= {"name": "a-b", "peer": "b", "role": "receiver", "state": "light", **link}
    relay["lanes"][0] |= {"id": "far", "state": "up", "place": "last", "reason": None}
    return msgspec.convert(relay, RelaySnapshot)


def samples(text: str) -> dict[str, list[tuple[dict[str, str], float]]]:
    """Parse the page as its format demands, or fail."""
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    assert text.endswith("\n")
    family, sampled = "", set[str]()
    for line in text.splitlines():
        if line.startswith("# HELP "):
            family = line.split()[2]
            assert family not in found, f"the samples of {family} are not together"
            found[family] = []
        elif line.startswith("# TYPE "):
            kind = line.split()[3]
            assert line.split()[2:] == [family, kind]
            assert kind in ("gauge", "counter", "histogram")
            sampled = {family + end for end in ENDS.get(kind, ("",))}
            assert line.endswith("counter") == family.endswith("_total")
        else:
            match = SAMPLE.fullmatch(line)
            assert match is not None, line
            assert match[1] in sampled
            labels = dict(LABEL.findall(match[2] or ""))
            assert labels not in [one for one, _ in found.get(match[1], [])], line
            found.setdefault(match[1], []).append((labels, float(match[3])))
    return found


def test_the_page_holds_every_number_of_a_link_once() -> None:
    found = samples(metrics_text(snapshot(stock_bits=256, hours_of_stock=1.5)))
    assert found["qkdd_link_stock_bits"] == [({"link": "a-b"}, 256.0)]
    assert found["qkdd_link_stock_hours"] == [({"link": "a-b"}, 1.5)]
    states = {labels["state"]: value for labels, value in found["qkdd_link_state"]}
    assert states == {state: float(state == "light") for state in STATES}
    kernels = {labels["kernel"]: value for labels, value in found["qkdd_kernel_compiled"]}
    assert kernels == {"ldpc": 1.0, "tdc1": 0.0}
    blocks = {labels["result"]: value for labels, value in found["qkdd_link_blocks_total"]}
    assert blocks == {"key": 0.0, "no_key": 7.0, "void": 7.0}
    assert found["process_resident_memory_bytes"][0][1] > 1e6


def test_every_state_of_a_lane_that_the_status_knows_has_its_series() -> None:
    text = (ROOT / "qkdd/daemon/lane_status.py").read_text()
    documented = re.search(r'"""(up \| [a-z| ]+)"""', text)
    assert documented is not None
    assert tuple(documented[1].split(" | ")) == LANE_STATES
    found = samples(metrics_text(snapshot()))
    states = {labels["state"]: value for labels, value in found["qkdd_lane_state"]}
    assert states == {state: float(state == "up") for state in LANE_STATES}


def test_a_relay_between_the_ends_has_no_samples_of_what_only_they_know() -> None:
    relay = snapshot()
    between = msgspec.structs.replace(
        relay.lanes[0], n_ready=None, hours_ready=None, n_missed=None, n_pads=None
    )
    found = samples(metrics_text(msgspec.structs.replace(relay, lanes=(between,))))
    assert not {"qkdd_lane_ready_keys", "qkdd_lane_missed_total", "qkdd_lane_pads"} & found.keys()
    assert {labels["entry"] for labels, _ in found["qkdd_lane_account_bits"]} == {
        "cut",
        "relayed",
        "burned",
        "under_way",
    }


def test_what_is_unknown_is_left_out_and_not_said_to_be_0() -> None:
    found = samples(
        metrics_text(
            snapshot(hours_of_stock=None, qber_calibration_key=None, last_block=None, click_rate=0)
        )
    )
    assert "qkdd_link_stock_hours" not in found
    assert [labels["basis"] for labels, _ in found["qkdd_link_calibration_qber"]] == ["test"]
    assert not [name for name in found if name.startswith("qkdd_block")]
    assert found["qkdd_link_clicks_per_second"][0][1] == 0.0


def test_every_state_that_the_status_knows_has_its_series() -> None:
    text = (ROOT / "qkdd/daemon/snapshot.py").read_text()
    documented = re.search(r'"""(down \| [a-z| ]+)"""', text)
    assert documented is not None
    assert tuple(documented[1].split(" | ")) == STATES
    assert "state" in LinkSnapshot.__struct_fields__


def test_no_reason_or_name_breaks_the_page() -> None:
    relay = snapshot(peer='b"} 1\nqkdd_up 1\\')
    assert samples(metrics_text(relay))["qkdd_link_info"][0][0]["peer"] == (
        r"b\"} 1\nqkdd_up 1" + "\\\\"
    )


def asked_for(expression: str) -> list[tuple[str, dict[str, tuple[str, str]]]]:
    """Find each metric of a PromQL expression, with its label matchers."""
    found = []
    for name, matchers in re.findall(r"\b((?:qkdd|process)_[a-z_]+)(?:\{([^}]*)\})?", expression):
        pairs = re.findall(r'([a-z_]+)(=~|=)"([^"]*)"', matchers)
        found.append((name, {label: (how, value) for label, how, value in pairs}))
    return found


EXPRESSIONS = [
    *re.findall(r"expr: (.*)", RULES.read_text()),
    *[
        target["expr"]
        for panel in json.loads(BOARD.read_text())["panels"]
        for target in panel["targets"]
    ],
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_rules_and_board_ask_only_for_what_the_page_has(expression: str) -> None:
    found = samples(metrics_text(snapshot()))
    asked = asked_for(expression)
    assert asked or expression == 'up{job="qkdd"} == 0'
    for name, matchers in asked:
        assert name in found, name
        ours = {  # job and instance are the scraper's; $variables are the board's
            label: rule
            for label, rule in matchers.items()
            if label not in ("job", "instance") and not rule[1].startswith("$")
        }
        for label, (how, value) in ours.items():
            wanted = value.split("|") if how == "=~" else [value]
            present = {labels.get(label) for labels, _ in found[name]}
            assert set(wanted) <= present, (name, label, value)


def test_the_board_shows_every_metric_there_is() -> None:
    board = json.loads(BOARD.read_text())
    asked = {name for one in EXPRESSIONS for name, _ in asked_for(one)}
    queries = [one["query"] for one in board["templating"]["list"] if one["type"] == "query"]
    asked |= {name for one in queries for name, _ in asked_for(one["query"])}
    families = {
        name.removesuffix("_bucket").removesuffix("_sum").removesuffix("_count")
        if name.startswith("qkdd_delivery_seconds")
        else name
        for name in samples(metrics_text(snapshot()))
    }
    assert families - asked == NOT_ON_THE_BOARD


def test_panels_of_the_board_do_not_overlap_and_have_numbers_of_their_own() -> None:
    panels = json.loads(BOARD.read_text())["panels"]
    cells = [
        (x, y)
        for at in (one["gridPos"] for one in panels)
        for x in range(at["x"], at["x"] + at["w"])
        for y in range(at["y"], at["y"] + at["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24
    assert len({one["id"] for one in panels}) == len(panels)


def test_times_of_answers_are_a_histogram_that_ends_with_all_of_them() -> None:
    tally = Tally()
    tally.answered("enc_keys", 200, 0.004)
    tally.answered("enc_keys", 503, 9.0)
    relay = msgspec.structs.replace(snapshot(), delivery=tally.facts())
    found = samples(metrics_text(relay))
    buckets = {one["le"]: count for one, count in found["qkdd_delivery_seconds_bucket"]}
    assert (buckets["0.002"], buckets["0.005"], buckets["5.0"], buckets["+Inf"]) == (0, 1, 1, 2)
    assert found["qkdd_delivery_seconds_count"] == [({"call": "enc_keys"}, 2.0)]
    assert found["qkdd_delivery_seconds_sum"][0][1] == 9.004


@pytest.mark.parametrize("alert", re.findall(r"alert: (\w+)", RULES.read_text()))
def test_every_alert_has_its_cure_in_the_operators_document(alert: str) -> None:
    assert f"`{alert}`" in (ROOT / "docs/operating.md").read_text()


@asynccontextmanager
async def serving(page: str = "x 1\n") -> AsyncIterator[tuple[str, int]]:
    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(
            partial(serve_page, "127.0.0.1", 0, PATH, CONTENT_TYPE, lambda: page)
        )
        yield listeners[0].socket.getsockname()[:2]
        nursery.cancel_scope.cancel()


async def ask(address: tuple[str, int], request: bytes) -> bytes:
    stream = await trio.open_tcp_stream(*address)
    answer = b""
    with trio.fail_after(5):
        async with stream:
            await stream.send_all(request)
            while received := await stream.receive_some():
                answer += received
    return answer


@pytest.mark.parametrize(
    ("request_line", "status", "body"),
    [
        (b"GET /metrics HTTP/1.1", b"200", b"x 1\n"),
        (b"GET /metrics?name=x HTTP/1.1", b"200", b"x 1\n"),
        (b"HEAD /metrics HTTP/1.1", b"200", b""),
        (b"GET / HTTP/1.1", b"404", b""),
        (b"POST /metrics HTTP/1.1", b"405", b""),
        (b"GET /metrics HTTP/9", b"400", b""),
        (b"\x16\x03\x01 nonsense", b"400", b""),
    ],
)
async def test_only_get_of_the_page_is_answered_with_it(
    request_line: bytes, status: bytes, body: bytes
) -> None:
    async with serving() as address:
        head, _, rest = (await ask(address, request_line + b"\r\nHost: x\r\n\r\n")).partition(
            b"\r\n\r\n"
        )
    assert head.startswith(b"HTTP/1.1 " + status)
    assert rest == body
    assert b"Connection: close" in head
    if body:
        assert CONTENT_TYPE.encode() in head


async def test_readers_that_stall_make_room_again(autojump_clock: trio.testing.MockClock) -> None:
    async with serving() as address:
        stalled = [await trio.open_tcp_stream(*address) for _ in range(MAX_CONNECTIONS)]
        start_s = trio.current_time()
        stream = await trio.open_tcp_stream(*address)
        await stream.send_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        answer = await stream.receive_some()
        assert answer.startswith(b"HTTP/1.1 200")
        assert trio.current_time() - start_s == pytest.approx(REQUEST_TIMEOUT_S, abs=0.1)
        for one in (*stalled, stream):
            await one.aclose()


def test_nothing_listens_unless_the_table_is_there(tmp_path: Path) -> None:
    assert load(relay_file(tmp_path)).metrics is None
    assert load(relay_file(tmp_path, more="[metrics]\n")).metrics is not None
    wrong = mistakes(relay_file(tmp_path, more='[metrics]\nlisten = "127.0.0.1:70000"\n'))
    assert any("70000" in line for line in wrong)


@needs_promtool
def test_promtool_finds_no_mistake_in_page_and_rules(tmp_path: Path) -> None:
    page = metrics_text(snapshot()).encode()
    done = subprocess.run(["promtool", "check", "metrics"], input=page, capture_output=True)
    # Its style wants bytes and seconds; key is counted in bits and stock in hours on every screen.
    complaints = [line for line in done.stderr.splitlines() if b"use base unit" not in line]
    assert done.returncode in (0, 3), done
    assert not complaints, done
    done = subprocess.run(["promtool", "check", "rules", str(RULES)], capture_output=True)
    assert done.returncode == 0, done


@needs_promtool
def test_each_alert_comes_when_it_should(tmp_path: Path) -> None:
    for file in (RULES, RULE_TESTS):
        shutil.copy(file, tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", RULE_TESTS.name], cwd=tmp_path, capture_output=True
    )
    assert done.returncode == 0, done
