"""``qkdd run``: the daemon of one relay."""

import os
import socket
import sys
from pathlib import Path

import click

from qkdd.base.errors import ConfigError, StoreError


@click.command()
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
def run(config: Path) -> None:
    """Run the relay that CONFIG describes, until SIGTERM or SIGINT.

    Logs go to stderr: JSON lines under journald or in a file, plain text on a terminal.
    Exit status: 0 stopped as asked, 1 wrong configuration or a fault (the reason is on stderr).
    """
    # One thread per process: its cores belong to the links, and a pool would cost memory.
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    _check_packages()
    import trio

    from qkdd.config import load
    from qkdd.daemon.app import run_relay
    from qkdd.daemon.logs import configure_logs
    from qkdd.daemon.supervise import reasons

    configure_logs()
    try:
        trio.run(lambda: run_relay(load(config), ready=lambda: tell_systemd("READY=1")))
    except* (ConfigError, StoreError, OSError) as errors:
        raise click.ClickException("; ".join(reasons(errors))) from errors


def _check_packages() -> None:
    """Refuse to start when ``drivers`` is not the package that belongs to this ``qkdd``."""
    import drivers
    import qkdd

    ours, theirs = Path(qkdd.__file__).parent.parent, Path(drivers.__file__).parent.parent
    if ours != theirs:
        raise click.ClickException(
            f"package drivers is in {theirs}, qkdd is in {ours}: install them together, in an "
            "environment of their own"
        )


def tell_systemd(text: str) -> None:
    """Notify the service manager, if there is one (sd_notify(3))."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address or sys.platform != "linux":
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        notify.connect(address)
        notify.sendall(text.encode())
