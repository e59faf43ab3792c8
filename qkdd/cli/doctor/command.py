"""``qkdd doctor``: whether host, files and relay are as an operator wants them."""

import datetime
from pathlib import Path

import click
import msgspec

from qkdd.base.errors import ConfigError
from qkdd.cli.doctor.files import check_files
from qkdd.cli.doctor.finding import LEVELS, Finding, ok, trouble, warning, worst
from qkdd.cli.doctor.host import check_host
from qkdd.cli.doctor.relay import check_kernels, check_relay
from qkdd.cli.failure import reason
from qkdd.cli.status import ask
from qkdd.config import Relay, load, mistakes
from qkdd.daemon.kernels import kernel_backends
from qkdd.daemon.snapshot import RelaySnapshot, read_snapshot


@click.command(short_help="Examine relay, files and host; each fault with its cure.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="All findings as one JSON object.")
@click.pass_context
def doctor(context: click.Context, config: Path, *, as_json: bool) -> None:
    """Examine the relay of CONFIG, its files and this host; change nothing.

    Run it as the relay's user, or root. The relay may run or not.
    Exit status: 0 all is well, 1 at least a warning, 2 trouble (or wrong usage).
    """
    findings = examine(config)
    verdict = worst(findings)
    if as_json:
        click.echo(msgspec.json.encode({"worst": verdict, "findings": findings}))
    else:
        for one in findings:
            click.echo(_line(one))
    context.exit(LEVELS.index(verdict))


def examine(config: Path) -> list[Finding]:
    """Make every check; one that cannot be made is itself a finding."""
    found: list[Finding] = [
        trouble("configuration", line, "docs/operating.md")
        for line in mistakes(config, files=False)
    ]
    if not found:
        found.append(ok("configuration", "no mistake"))
    try:
        relay = load(config, files=False)
    except ConfigError:
        return [*found, *check_host(None), check_kernels(kernel_backends())]
    snapshot, silence = _snapshot(relay)
    backends = kernel_backends() if snapshot is None else snapshot.kernels
    return [
        *found,
        *check_files(relay, datetime.datetime.now(datetime.UTC)),
        *check_host(None if snapshot is None else snapshot.pid),
        check_kernels(backends),
        *((silence,) if silence is not None else ()),
        *(() if snapshot is None else check_relay(snapshot, relay.store.auth_floor_bytes)),
    ]


def _snapshot(relay: Relay) -> tuple[RelaySnapshot | None, Finding | None]:
    """Ask the relay; or say why it does not answer, which may be right: it need not run."""
    try:
        return read_snapshot(ask(relay.node.status_socket)), None
    except OSError as error:
        cure = "systemctl status; ask as the relay's user, or root"
        return None, warning("relay", reason(error), cure)
    except msgspec.DecodeError as error:
        return None, trouble("relay", f"its answer is not ours: {error}", "the same release?")


def _line(one: Finding) -> str:
    text = f"{one.level:8} {one.check}: {one.text}"
    return text if one.cure is None else f"{text}\n         -> {one.cure}"
