"""``qkdd optimise``: settings for a link whose loss and detectors were measured."""

import math
import sys
from pathlib import Path

import click
import msgspec

from qkdd import config as configuration
from qkdd.amplify.settings import ProofSettings
from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed
from qkdd.cli.optimise import plots
from qkdd.cli.optimise.answer import (
    Answer,
    below_db,
    in_words,
    piece_of_toml,
    prediction,
    prediction_of,
)
from qkdd.cli.optimise.model import Choice, Measured
from qkdd.cli.optimise.search import Best, Space, climb, longest_block_s


class Number(click.FloatRange):
    """A range that NaN is not in: click compares, and NaN is neither above nor below."""

    def convert(
        self, value: float, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        number = super().convert(value, param, ctx)
        if math.isnan(number):
            self.fail(f"{value} is not a number", param, ctx)
        return float(number)


TELL_EVERY = 200
"""Tries between two lines of progress on a terminal."""


@click.command(short_help="Choose the settings of a link that was measured.")
@click.option(
    "--loss-db",
    type=Number(0, 100),
    required=True,
    help="From the transmitter's output to the detectors, optics included.",
)
@click.option(
    "--efficiency",
    type=Number(0, 1, min_open=True),
    default=0.8,
    show_default=True,
    help="Of a detector.",
)
@click.option(
    "--dark-hz",
    type=Number(0, 1e7),
    default=100.0,
    show_default=True,
    help="Of one detector, background light included.",
)
@click.option(
    "--recovery-ns",
    type=Number(0, 1e5),
    default=30.0,
    show_default=True,
    help="Until the slowest detector is fully sensitive again.",
)
@click.option(
    "--jitter-ps",
    type=Number(0, 1e5),
    default=50.0,
    show_default=True,
    help="Laser to tagger, full width at half maximum.",
)
@click.option(
    "--tick-ps",
    type=click.IntRange(1, 100_000),
    default=2000,
    show_default=True,
    help="Resolution of the tagger.",
)
@click.option(
    "--misalignment",
    type=Number(0, 0.5),
    default=0.01,
    show_default=True,
    help="Photons of the right basis that leave by the wrong port.",
)
@click.option(
    "--afterpulse",
    type=Number(0, 0.5),
    default=0.0,
    show_default=True,
    help="Chance that a click is followed by another in a gate, after the dead time.",
)
@click.option(
    "--splitter",
    type=Number(0, 1, min_open=True, max_open=True),
    help="Share of the light for the key basis at the receiver; chosen, too, if left out.",
)
@click.option(
    "--extinction-db",
    type=Number(5, 80),
    default=27.0,
    show_default=True,
    help="How much darker than the signal the encoder's vacuum is.",
)
@click.option(
    "--clock-mhz",
    type=Number(1, 10_000),
    multiple=True,
    default=(25.0, 50.0, 100.0),
    show_default=True,
    help="A pulse rate that may be chosen; may be repeated.",
)
@click.option(
    "--block-seconds",
    type=Number(0.1, 6000),
    default=16.0,
    show_default=True,
    help="The longest block that may be chosen.",
)
@click.option(
    "--max-clicks",
    type=Number(1, 1e9),
    default=1e9,
    help="Clicks a second that tagger and processor may have.",
)
@click.option(
    "--for",
    "aim",
    type=click.Choice(["rate", "click"]),
    default="rate",
    show_default=True,
    help="Most key a second, or most key a click.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A relay's configuration: its proof is used, its settings are compared.",
)
@click.option("--link", help="Which link of --config, if it has several.")
@click.option(
    "--plot",
    type=click.Path(file_okay=False, path_type=Path),
    help="Draw two pictures (SVG) into this folder.",
)
@click.option("--json", "as_json", is_flag=True, help="The answer as one JSON object.")
def optimise(
    splitter: float | None,
    extinction_db: float,
    clock_mhz: tuple[float, ...],
    block_seconds: float,
    max_clicks: float,
    aim: str,
    config: Path | None,
    link: str | None,
    plot: Path | None,
    *,
    as_json: bool,
    **measured: float,
) -> None:
    """Choose intensities, probabilities, basis bias, clock, gate and block length for a link.

    The answer is a piece of TOML for both ends, with the rate that the daemons' own proof gives for
    the counts that a model of an honest link expects. The same question has the same answer.

    Exit status: 0 settings were found, 1 none of them makes key, 2 usage.
    """
    proof, present = _configured(config, link, splitter)
    spaces = [
        Space(
            _measured(**measured),
            proof,
            round(mhz * 1e6),
            longest_block_s(round(mhz * 1e6), block_seconds),
            extinction_db,
            splitter,
            per_click=aim == "click",
            max_click_hz=max_clicks,
        )
        for mhz in sorted(set(clock_mhz))
    ]
    space, best, tried = _search(spaces)
    if not best.expected.length.n_out:
        raise click.ClickException(f"no settings make key: {best.expected.length.reason}")
    if plot is not None:
        _draw(plot, space, best, present)
    answer = _answer(space, best, tried, present)
    click.echo(msgspec.json.encode(answer) if as_json else in_words(answer), nl=as_json)


def _measured(*, recovery_ns: float, tick_ps: float, **others: float) -> Measured:
    return Measured(recovery_ps=round(recovery_ns * 1e3), tick_ps=int(tick_ps), **others)


def _draw(folder: Path, space: Space, best: Best, present: Choice | None) -> None:
    try:
        written = plots.write(folder, space, best.choice, present)
    except OSError as error:
        raise click.ClickException(f"cannot draw: {error}") from error
    click.echo(f"drawn: {', '.join(map(str, written))}", err=True)


def _configured(
    path: Path | None, name: str | None, splitter: float | None
) -> tuple[ProofSettings, Choice | None]:
    """The proof and the present settings of a link in a relay's file; without one the defaults."""
    if path is None:
        if name is not None:
            raise click.UsageError("--link needs --config")
        return ProofSettings(), None
    try:
        links = configuration.load(path, files=False).links
    except ConfigError as error:
        raise failed(error) from error
    wanted = [one for one in links if name in (None, one.name)]
    if len(wanted) != 1:
        names = ", ".join(one.name for one in links)
        raise click.UsageError(f"--link must be one of {names}")
    link = wanted[0]
    if link.proof.announced_bits_per_pulse is not None:
        raise click.ClickException(
            f"proof {link.proof.proof} announces its length beforehand: there is nothing to choose "
            "by. Choose with variable-length or certified, and announce what that gives"
        )
    share = splitter if splitter is not None else link.intensities.key_basis_probability
    return link.proof, Choice(link.light, link.intensities, link.frames, share)


def _search(spaces: list[Space]) -> tuple[Space, Best, int]:
    """The best over all pulse rates; progress on stderr."""
    found: list[tuple[Space, Best]] = []
    tried = 0
    for space in spaces:
        best = None
        for best in climb(space):
            if sys.stderr.isatty() and best.tried % TELL_EVERY == 0:
                click.echo(f"\r{_progress(space, best)}", err=True, nl=False)
        if best is None:
            click.echo(f"{space.pulse_rate_hz / 1e6:g} MHz: not possible here", err=True)
            continue
        click.echo(f"{_progress(space, best)}", err=True)
        found.append((space, best))
        tried += best.tried
    if not found:
        raise click.ClickException(
            "no pulse rate can be received: the period must exceed three ticks, and a block holds "
            "at least one frame of a tenth of a second"
        )
    space, best = max(found, key=lambda one: one[1].value)
    return space, best, tried


def _progress(space: Space, best: Best) -> str:
    length = best.expected.length
    told = f"{length.n_out / best.expected.seconds / 1e3:.1f} kbit/s"
    return f"{space.pulse_rate_hz / 1e6:g} MHz: {told} after {best.tried} tries"


def _answer(space: Space, best: Best, tried: int, present: Choice | None) -> Answer:
    light = best.choice.intensities
    return Answer(
        pulse_rate_hz=space.pulse_rate_hz,
        block_s=best.expected.seconds,
        key_splitter=best.choice.key_splitter,
        weak_db=below_db(light.weak_mu, light.signal_mu),
        vacuum_db=below_db(light.vacuum_mu, light.signal_mu),
        tried=tried,
        predicted=prediction_of(best.expected),
        present=prediction(space.measured, present, space.proof) if present else None,
        toml=piece_of_toml(best.choice),
    )
