"""The audit log: what is written, in which order, and what a full disk or a flood does to it."""

import os
from pathlib import Path

import msgspec
import pytest
import trio
from click.testing import CliRunner

from qkdd.base.audit_chain import Record, follow
from qkdd.cli.__main__ import main
from qkdd.daemon import audit
from qkdd.daemon.audit import (
    MAX_PER_MINUTE,
    AuditFile,
    AuditLog,
    append_once,
    audit_path,
    audited,
    utc,
)
from qkdd.daemon.logs import listeners
from tests.daemon.relay_files import install_psk, relay_file


def records(path: Path) -> list[Record]:
    with path.open("rb") as file:
        follow(file)
    return [msgspec.json.decode(line, type=Record) for line in path.read_bytes().splitlines()]


async def test_events_of_the_log_are_recorded_in_order_and_plain_lines_are_not(
    tmp_path: Path,
) -> None:
    store = tmp_path / "a.db"
    async with audited(store):
        for method, text, fields in (
            ("info", "relay ready", {"node": "a"}),
            ("info", "key request", {"sae": "x"}),
            ("warning", "stranger turned away", {"link": "a-b", "reason": "no TLS"}),
            ("error", "anything grave", {"n": 3}),
            ("error", "audit log cannot be written", {}),
        ):
            listeners(None, method, {"event": text, "level": method, **fields})
    found = [(one.event, one.fields) for one in records(audit_path(store))]
    assert found == [
        ("start", {"node": "a"}),
        ("refused", {"link": "a-b", "reason": "no TLS"}),
        ("alarm", {"what": "anything grave", "n": "3"}),
    ]
    assert audit_path(store).stat().st_mode & 0o777 == 0o600
    assert listeners.hear is None


async def test_a_flood_is_counted_and_an_alarm_in_it_is_still_recorded(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    async with audited(store):
        assert listeners.hear is not None
        for _ in range(10 * MAX_PER_MINUTE):
            listeners(None, "warning", {"event": "stranger turned away"})
        listeners(None, "error", {"event": "alarm"})
    found = records(audit_path(store))
    assert MAX_PER_MINUTE < len(found) <= 2 * MAX_PER_MINUTE + 2  # a minute may have ended inside
    told = sum(int(one.fields.get("not_recorded_before", 0)) for one in found)
    assert told + len(found) == 10 * MAX_PER_MINUTE + 1
    assert found[-1].event == "alarm"


async def test_while_the_disk_is_full_events_wait_and_are_written_when_there_is_room(
    tmp_path: Path, patient_clock: trio.testing.MockClock
) -> None:
    file = AuditFile(tmp_path / "audit")
    right, wrong = file._descriptor, os.open("/dev/full", os.O_RDWR)
    file._descriptor = wrong
    log = AuditLog(file)
    async with trio.open_nursery() as nursery:
        await nursery.start(log.run)
        log.note("one", {})
        log.note("two", {})
        await trio.sleep(audit.RETRY_S / 2)
        assert not (tmp_path / "audit").read_bytes()
        file._descriptor = right
        await trio.sleep(2 * audit.RETRY_S)
        assert [one.event for one in records(tmp_path / "audit")] == ["one", "two"]
        nursery.cancel_scope.cancel()
    os.close(wrong)


def test_a_line_that_was_cut_short_is_followed_by_a_record_that_says_so(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    append_once(store, "one")
    path = audit_path(store)
    with path.open("ab") as file:
        file.write(b'{"n":2,"time"')
    append_once(store, "two")
    append_once(store, "three")
    with path.open("rb") as file:
        assert follow(file).n == 4
    assert b'"event":"torn"' in path.read_bytes()


class Watched(AuditFile):
    """Remembers what was synced together."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.synced: list[bytes] = []

    def _write(self, text: bytes) -> None:
        super()._write(text)
        self.synced.append(text)


def test_the_record_of_a_torn_line_is_on_disk_before_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "audit"
    path.write_bytes(b'{"n":1,"time"')
    file = Watched(path)
    file.append("one", {}, utc())
    file.append("two", {}, utc())
    file.close()
    assert [text.strip().count(b"\n") for text in file.synced] == [0, 0, 0]
    assert [b'"event":"torn"' in text for text in file.synced] == [True, False, False]
    with path.open("rb") as lines:
        assert follow(lines).n == 3


def test_a_log_that_was_changed_is_not_written_on(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    append_once(store, "one", who="x")
    append_once(store, "two")
    path = audit_path(store)
    path.write_bytes(path.read_bytes().replace(b'"who":"x"', b'"who":"y"'))
    with pytest.raises(OSError, match="has been changed"):
        AuditFile(path)


def test_the_command_follows_the_chain_and_finds_what_is_missing(tmp_path: Path) -> None:
    config = relay_file(tmp_path)
    install_psk(config)
    path = audit_path(tmp_path / "a.db")

    def verify(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["audit", "verify", str(config), *options])
        return done.exit_code, done.output

    (first,) = records(path)
    assert (first.event, first.fields) == ("key installed", {"link": "a-b"})
    append_once(tmp_path / "a.db", "last")
    code, said = verify("--head", first.hash)
    assert (code, "2 records" in said) == (0, True), said
    last = records(path)[-1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0])
    assert verify()[0] == 0
    code, said = verify("--head", last.hash)
    assert (code, "lines are missing" in said) == (1, True), said
    path.write_bytes(lines[1])
    code, said = verify()
    assert (code, "line 1: record 2 follows record 0" in said) == (1, True), said
    path.unlink()
    assert verify()[0] == 1


def test_the_time_is_utc_to_the_millisecond() -> None:
    assert utc().endswith("+00:00")
    assert len(utc()) == len("2026-01-01T00:00:00.000+00:00")


def test_a_log_that_a_crash_has_cut_by_its_last_byte_alone_goes_on(tmp_path: Path) -> None:
    store = tmp_path / "a.db"
    append_once(store, "one", who="a")
    append_once(store, "two", who="b")
    path = audit_path(store)
    path.write_bytes(path.read_bytes()[:-1])
    append_once(store, "three", who="c")
    assert [one.event for one in records(path)] == ["one", "two", "three"]
