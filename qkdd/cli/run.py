"""``qkdd run``: the daemon of one relay."""

import faulthandler
import os
from pathlib import Path

import click

from qkdd.base.errors import ConfigError, EntropyFailed, StoreError


@click.command(short_help="Run a relay until SIGTERM or SIGINT.")
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
    from qkdd.daemon.service_manager import ServiceManager
    from qkdd.daemon.supervise import reasons

    configure_logs()
    manager = ServiceManager.named_by(os.environ, os.getpid())
    faulthandler.enable(all_threads=True)  # SIGABRT of the watchdog shows where; no variables
    try:
        trio.run(lambda: run_relay(load(config), manager, lambda: load(config)))
    except* (ConfigError, EntropyFailed, StoreError, OSError) as errors:
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
