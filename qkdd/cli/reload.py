"""``qkdd reload``: a running relay takes new certificates, revocation list and SAEs."""

from pathlib import Path

import click
import msgspec

from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed
from qkdd.cli.status import ask
from qkdd.config import load
from qkdd.daemon.status_socket import read_answer

TIMEOUT_S = 20.0


@click.command(short_help="Take over new certificates, lists and settings.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The relay's answer as one JSON object.")
def reload(config: Path, *, as_json: bool) -> None:
    """Have the running relay of CONFIG take over certificates, key, authority, revocation list
    and all of [delivery] but its address; links and light go on. New settings of a link's light
    are taken over with the next session that both ends have them in.

    Exit status: 0 taken over, 1 refused: all stays as it was (the reason is on stderr), 2 usage.
    """
    try:
        text = ask(load(config, files=False).node.status_socket, "reload", timeout_s=TIMEOUT_S)
        answer = read_answer(text)
    except (ConfigError, OSError) as error:
        raise failed(error) from error
    except msgspec.DecodeError as error:
        raise click.ClickException(
            f"the relay ended in the middle of its answer: {error}"
        ) from error
    if as_json:
        click.echo(msgspec.json.encode({"taken_over": answer.ok, "text": answer.text}))
    if not answer.ok:
        raise click.ClickException(f"refused, all stays as it was: {answer.text}")
    if not as_json:
        click.echo(answer.text)
