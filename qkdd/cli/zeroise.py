"""``qkdd zeroise``: destroy every key of a relay, now."""

import os
import select
import signal
import socket
import struct
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed, reason
from qkdd.cli.status import ask
from qkdd.config import Relay, load
from qkdd.daemon.audit import append_once
from qkdd.daemon.status_socket import read_answer
from qkdd.daemon.zeroise import Destroyed, destroy_keys, destroyed

UCRED = struct.Struct("3i")
LISTENING = "00010000"
"""__SO_ACCEPTCON among the flags of /proc/net/unix."""
ANSWER_TIMEOUT_S, END_TIMEOUT_S = 5.0, 10.0


@click.command(short_help="Destroy every key of a relay for ever.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--also",
    multiple=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="Another file to destroy, as the sealed credential; repeatable.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="What was done as one JSON object.")
def zeroise(config: Path, *, also: tuple[Path, ...], yes: bool, as_json: bool) -> None:
    """Destroy every key of the relay of CONFIG: master key, key store, board key, private key.

    A running relay destroys them itself, wipes its memory and ends; one that does not answer is
    killed. There is no way back: afterwards the relay is set up anew, and every link re-keyed.
    Exit status: 0 all is destroyed, 1 not all (what is left is on stderr), 2 usage.
    """
    try:
        relay = load(config, files=False)
    except (ConfigError, OSError) as error:
        raise failed(error) from error
    if not yes:
        _confirm(relay.node.id)
    told, trouble = None, None
    try:
        told = _end_relay(relay)
    except OSError as error:
        trouble = f"the keys in the relay's memory ({reason(error)})"
    if told is not None and not as_json:
        click.echo(told)
    done = [*destroy_keys(relay), *(destroyed(path) for path in also)]
    left = [trouble] if trouble is not None else []
    left += [f"{one.path} ({one.trouble})" for one in done if one.trouble is not None]
    if as_json:
        click.echo(msgspec.json.encode({"relay": told, "files": done, "left": left}))
    else:
        for one in done:
            click.echo(f"{one.path}: {_word(one)}")
    if left:
        raise click.ClickException(f"not destroyed: {', '.join(left)}")


def _confirm(node: str) -> None:
    try:
        sure = click.confirm(f"Destroy all keys of relay {node} for ever?", err=True)
    except click.Abort as error:  # no terminal: whoever scripts this says --yes
        raise click.ClickException("not confirmed, nothing is destroyed; --yes does it") from error
    if not sure:
        raise click.ClickException("not confirmed, nothing is destroyed")


def _word(one: Destroyed) -> str:
    if one.trouble is not None:
        return f"NOT DESTROYED: {one.trouble}"
    return "destroyed" if one.was_there else "not there any more"


def _end_relay(relay: Relay) -> str:
    """Have a running relay destroy its keys and end, or kill it; say what was done.

    Raises
    ------
    OSError
        If a relay may run that could not be reached: nothing is known of its memory then.
    """
    path = relay.node.status_socket
    try:
        process = os.pidfd_open(_listener(path))
    except (FileNotFoundError, ConnectionRefusedError, ProcessLookupError):
        with suppress(OSError):
            append_once(relay.store.path, "zeroise", what="no relay runs here")
        return "no relay runs here"
    try:
        told = read_answer(ask(path, "zeroise", timeout_s=ANSWER_TIMEOUT_S)).text
        if select.select([process], [], [], END_TIMEOUT_S)[0]:
            return f"{told}; it has ended"
        told += f"; it did not end within {END_TIMEOUT_S:g} s"
    except (OSError, msgspec.DecodeError) as error:
        told = f"the relay does not answer ({error})"
    with suppress(ProcessLookupError):
        signal.pidfd_send_signal(process, signal.SIGKILL)
    return f"{told}, and was killed"


def _listener(path: Path) -> int:
    """Process ID of whoever listens at a Unix socket, also of one that hangs (unix(7))."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(ANSWER_TIMEOUT_S)
        try:
            asking.connect(str(path))
        except BlockingIOError:  # it hangs, and others have asked until no more can wait
            return _holder(path)
        credentials = asking.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, UCRED.size)
        pid: int = UCRED.unpack(credentials)[0]
        return pid


def _holder(path: Path) -> int:
    """Process ID of who has the listening socket open, by /proc (unix(7), proc(5))."""
    inodes = {
        words[6]
        for words in map(str.split, Path("/proc/net/unix").read_text().splitlines()[1:])
        if words[7:] == [str(path)] and words[3] == LISTENING
    }
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for folder in Path("/proc").glob("[0-9]*/fd"):
        with suppress(OSError):  # another user's, or ended in this moment
            if any(os.readlink(one) in wanted for one in folder.iterdir()):
                return int(folder.parent.name)
    raise PermissionError(f"whoever listens at {path} hangs, and is not ours: ask as root")
