"""The control socket: orders to a running lab, and what is no order."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from drivers.sim.config import Attack, read_lab
from drivers.sim.control import (
    Answer,
    AttackOrder,
    ControlRefused,
    ControlSocket,
    DarkOrder,
    StatusOrder,
    answer_to,
    ask,
    control_path,
)
from drivers.sim.lab import RunningLab
from tests.drivers.sim.test_sim_bench import BRIGHT, clicks, lit, wait
from tests.drivers.sim.test_sim_lab import ROOT, start, write_lab

EVE = Attack(kind="intercept-resend", fraction=0.25)


def a_lab(folder: Path) -> RunningLab:
    return RunningLab(read_lab(write_lab(folder)), folder, entropy=bytes, clock_ns=lambda: 0)


def order(lab: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "drivers.sim", *words, "--lab", str(lab)],
        capture_output=True,
        text=True,
        cwd="/",
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def test_a_running_lab_takes_orders_and_tells_what_is_done_to_each_link(tmp_path):
    path = write_lab(tmp_path)
    with start(path) as lab:
        lab.stdout.readline()
        done = order(path, "dark", "b-c", "--seconds", "60")
        assert (done.returncode, done.stderr) == (0, "")
        first, second = json.loads(done.stdout)["links"]
        assert first == {"name": "a-b", "dark_s": 0.0, "attack": None, "faults": []}
        assert 59.0 < second["dark_s"] <= 60.0
        order(path, "attack", "intercept-resend", "--strength", "0.25", "--link", "a-b")
        told = ask(path, StatusOrder())
        assert [link.attack for link in told.links] == [EVE, None]
        assert told.cpu_s > 0.0
        order(path, "attack", "intercept-resend", "--strength", "0")
        assert [link.attack for link in ask(path, StatusOrder()).links] == [None, None]
        assert control_path(path).stat().st_mode & 0o777 == 0o600
        refused = order(path, "dark", "x-y", "--seconds", "1")
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "no link 'x-y' here; there are a-b, b-c" in refused.stderr
        too_long = order(path, "dark", "a-b", "--seconds", "86401")
        assert too_long.returncode == 1
        assert "<= 86400" in too_long.stderr
        lab.terminate()
        assert (lab.wait(timeout=10), lab.stderr.read()) == (0, b"")
    assert not control_path(path).exists()
    nobody = order(path, "status")
    assert nobody.returncode == 1
    assert f"no lab answers at {path}.control" in nobody.stderr


def test_a_cut_fibre_is_dark_from_the_order_on_until_its_time_has_passed():
    bench, host = lit()
    assert clicks(bench) > BRIGHT
    bench.cut_fibre(155_000_000)
    wait(bench, 5_000_000)  # what was in the fibre arrives
    assert clicks(bench) < 200
    assert bench.done_to_it().dark_s == pytest.approx(0.05)
    host.now_ns = bench.now_ns
    host.status()  # keeps the board's watchdog quiet
    cut = clicks(bench)  # half of its 100 ms
    whole = clicks(bench)
    assert 0.4 < cut / whole < 0.6
    assert bench.done_to_it().dark_s == 0.0


def test_a_cut_fibre_can_be_mended_before_its_time():
    bench, _ = lit()
    bench.cut_fibre(10**12)
    wait(bench, 20_000_000)
    bench.cut_fibre(0)
    wait(bench, 5_000_000)
    assert clicks(bench) > BRIGHT


def test_an_order_for_an_unknown_link_changes_nothing(tmp_path):
    lab = a_lab(tmp_path)
    with pytest.raises(ControlRefused, match="no link 'c-d' here"):
        lab.obey(AttackOrder(EVE, ("a-b", "c-d")))
    assert [link.attack for link in lab.obey(StatusOrder()).links] == [None, None]
    lab.obey(AttackOrder(EVE))
    assert [link.attack for link in lab.obey(StatusOrder()).links] == [EVE, EVE]
    lab._take_down()


def obey_never(order: object) -> Answer:
    raise AssertionError(f"{order} was taken for an order")


@given(st.binary(max_size=200).filter(lambda line: b'"type"' not in line))
def test_what_is_no_order_is_refused_by_name(line):
    assert json.loads(answer_to(line, obey_never))["error"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        (b'{"type": "dark", "link": "a-b", "seconds": -1}', "seconds"),
        (b'{"type": "dark", "link": "a-b", "seconds": NaN}', "JSON is malformed"),
        (b'{"type": "dark", "link": "a-b", "second": 1}', "second"),
        (b'{"type": "attack", "attack": {"kind": "x", "fraction": 1}}', "kind"),
        (b'{"type": "burn"}', "burn"),
        (b"", "Input data was truncated"),
    ],
)
def test_a_mistake_in_an_order_is_named(line, complaint):
    assert complaint in json.loads(answer_to(line, obey_never))["error"]


async def test_a_socket_in_a_deep_folder_has_a_short_name_and_endless_orders_end(
    tmp_path, monkeypatch
):
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    told = Answer(lab_s=1.0, cpu_s=0.5, links=())
    control = ControlSocket(control_path(deep / "lab.toml"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run, lambda _: told)
        got = await trio.to_thread.run_sync(ask, deep / "lab.toml", DarkOrder("a-b", 1.0))
        assert got == told
        monkeypatch.chdir(deep)
        monkeypatch.chdir(deep)
        async with await trio.open_unix_socket("lab.toml.control") as stream:
            await stream.send_all(b"x" * 5000)
            assert b"error" in await stream.receive_some(1000)
        nursery.cancel_scope.cancel()
    control.close()
    assert not list(deep.iterdir())


def test_an_order_that_is_nested_without_an_end_is_answered_with_a_refusal():
    def obey(_order: object) -> Answer:
        raise AssertionError("it is no order")

    answer = json.loads(answer_to(b'{"x":' + b"[" * 100_000, obey))
    assert list(answer) == ["error"]
