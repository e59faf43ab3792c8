"""A relay that says at once, in the log of the recorded disks, what must survive a power cut.

Marks: ``pad LETTER`` and the bytes of every pad that was handed out to tag with, ``audit LETTER``
and the hash of every record of the audit log. If it is told not to ``sync``, the store does not
wait for its disk: the fault that the test must find.
"""

import os
import sqlite3
import sys
from pathlib import Path

from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.cli.__main__ import main
from qkdd.daemon.audit import AuditFile
from qkdd.keys.database import Database
from qkdd.keys.layout import Direction
from qkdd.keys.store import KeyStore
from tests.chaos.recorded_disk import Marker

ROOT = Path(__file__).parent.parent.parent


def command(letter: str, marks: Path, config: Path, *, sync: bool = True) -> list[str]:
    """What to give to Python so that it runs the relay of ``config`` so."""
    path = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    start = f"{path}; import tests.whole.marked_relay as relay; relay.go()"
    return ["-P", "-c", start, letter, str(marks), "sync" if sync else "no", str(config)]


def mark_pads(marker: Marker, letter: str) -> None:
    take_tx, take_ready = KeyStore.take_tx, KeyStore.take_ready

    def marked(pad: Secret | None) -> None:
        if pad is not None:
            marker.mark(b"pad " + letter.encode() + bytes(pad.reveal()))

    def tx(store: KeyStore, link: LinkId, n_bytes: int) -> Secret:
        pad = take_tx(store, link, n_bytes)
        marked(pad)
        return pad

    def ready(store: KeyStore, link: LinkId, direction: Direction, n_bytes: int) -> Secret | None:
        pad = take_ready(store, link, direction, n_bytes)
        marked(pad if direction == "tx" else None)
        return pad

    KeyStore.take_tx, KeyStore.take_ready = tx, ready  # type: ignore[method-assign]


def mark_records(marker: Marker, letter: str) -> None:
    append = AuditFile.append

    def marked(file: AuditFile, event: str, fields: dict[str, str], time: str) -> None:
        append(file, event, fields, time)
        marker.mark(f"audit {letter}{file.head.hash}".encode())

    AuditFile.append = marked  # type: ignore[method-assign]


def wait_for_no_disk() -> None:
    connect = Database._connect

    def careless(database: Database) -> sqlite3.Connection:
        connection = connect(database)
        connection.execute("PRAGMA synchronous=OFF")
        return connection

    Database._connect = careless  # type: ignore[method-assign]


def go() -> None:
    letter, marks, sync, config = sys.argv[1:]
    marker = Marker(Path(marks))
    mark_pads(marker, letter)
    mark_records(marker, letter)
    if sync != "sync":
        wait_for_no_disk()
    os.chdir(Path(config).parent)
    sys.argv = ["qkdd", "run", config]
    main()
