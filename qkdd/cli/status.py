"""``qkdd status``: what a running relay says about its links."""

import socket
from contextlib import suppress
from pathlib import Path

import click
import msgspec

from qkdd.base.errors import ConfigError
from qkdd.cli.failure import failed, reason
from qkdd.config import load
from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot, read_snapshot
from qkdd.deliver.tally import CallFacts, within_s
from qkdd.station.detectors import DetectorFacts

TIMEOUT_S = 5.0
USUAL_SHARE = 0.99


@click.command(short_help="Ask a running relay how its links are.")
@click.argument("config", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="The whole snapshot as one JSON object.")
def status(config: Path, *, as_json: bool) -> None:
    """Ask the relay of CONFIG how its links are.

    Exit status: 0 answered, 1 the relay does not run or does not answer, 2 usage.
    """
    try:
        text = ask(load(config, files=False).node.status_socket)
        relay = read_snapshot(text)
    except (ConfigError, OSError) as error:
        raise failed(error) from error
    except msgspec.DecodeError as error:
        raise click.ClickException(
            f"the relay ended in the middle of its answer, or is of another version: {error}"
        ) from error
    if as_json:
        click.echo(text)
        return
    click.echo(f"relay {relay.node}, pid {relay.pid}, up {relay.uptime_s:.0f} s")
    if relay.entropy_failure is not None:
        click.echo(f"NO RANDOMNESS: {relay.entropy_failure}")
    for link in relay.links:
        click.echo(describe(link))
    for lane in relay.lanes:
        click.echo(describe_lane(lane))
    for call in relay.delivery:
        click.echo(describe_call(call))


def ask(path: Path, word: str = "", *, timeout_s: float = TIMEOUT_S) -> bytes:
    """Read one snapshot from a relay's status socket, or what becomes of a command."""
    text = b""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as asking:
        asking.settimeout(timeout_s)
        try:
            asking.connect(str(path))
        except OSError as error:
            raise OSError(f"no relay answers at {path}: {reason(error)}") from error
        try:
            with suppress(BrokenPipeError, ConnectionResetError):  # then the answer is cut short
                asking.sendall(word.encode())
                asking.shutdown(socket.SHUT_WR)
            while received := asking.recv(65_536):
                text += received
        except TimeoutError as error:
            raise OSError(
                f"the relay at {path} has not answered for {timeout_s:g} s: is it stopped or "
                "overloaded? systemctl status, and the journal"
            ) from error
    return text


def describe(link: LinkSnapshot) -> str:
    """Say one link in a few lines; hours of stock first."""
    hours = link.hours_of_stock
    lines = [
        f"link {link.name} to {link.peer} ({link.role}): {link.state}"
        + (f" - {link.reason}" if link.reason else ""),
        f"  stock      {'-' if hours is None else f'{hours:.2f} h'}, {link.stock_bits} bit; "
        f"authentication key {link.auth_left_bits} bit",
        f"  rates      clicks {_rate(link.click_rate)}/s, sifted {_rate(link.sifted_bits_per_s)}, "
        f"disclosed {_rate(link.disclosed_bits_per_s)}, "
        f"secret {_rate(link.secret_bits_per_s)} bit/s",
        f"  QBER now   key basis {_share(link.qber_calibration_key)}, "
        f"test basis {_share(link.qber_calibration_test)} (calibration segments)",
        f"  blocks     {link.n_blocks} distilled, {link.n_blocks_without_key} without key, "
        f"{link.n_blocks_void} void; epsilon spent: secrecy {link.eps_sec_total:.3g}, "
        f"correctness {link.eps_cor_total:.3g}",
        f"  this year  {_epsilon(link)}",
        f"  frames     {link.auth_tags} authenticated, {link.auth_bad_tags} bad; forgery bound "
        f"{link.auth_forgery_bound:.2g} in all; "
        f"{link.n_spoilt_records} TLS records changed on the way",
    ]
    if link.tap_ratio is not None:
        lines.append(f"  tap        {link.tap_ratio:.4f} of its calibration")
    if (levels := link.tap_levels) is not None:
        lines.append(
            f"  levels     signal {levels['signal']:.4f} of its calibration; of the signal: "
            f"weak {levels['weak']:.5f}, vacuum {levels['vacuum']:.5f}"
        )
    if (held := link.polarization) is not None:
        voltages = ", ".join(f"{mv / 1000:+.3f}" for mv in held.voltages_mv)
        lines.append(
            f"  polarised  {held.state}{f' - {held.reason}' if held.reason else ''}; "
            f"{held.n_steps} steps, now {voltages or '-'} V"
        )
    if link.detectors is not None:
        lines.append(f"  detectors  {_describe_detectors(link.detectors)}")
    if link.role == "receiver":
        odd = ", ".join(f"{n} {kind.replace('_', ' ')}" for kind, n in link.odd_clicks.items())
        lines.append(f"  odd clicks {odd}")
        lines.append(f"  monitors   {link.alarm or 'quiet'}; {link.n_alarms} blocks thrown away")
    if link.last_block is not None:
        lines.append(_describe_block(link.last_block))
    return "\n".join(lines)


def describe_call(call: CallFacts) -> str:
    """Say how applications were answered since the start, in one line."""
    answers = ", ".join(f"{n} with {status}" for status, n in call.answers.items())
    bound_s = within_s(call, USUAL_SHARE)
    quick = "slower than 5 s" if bound_s is None else f"within {1000 * bound_s:g} ms"
    return f"delivery {call.call}: {answers}; {100 * USUAL_SHARE:g} % {quick}"


def _describe_detectors(facts: DetectorFacts) -> str:
    kelvin = "-" if facts.temperature_k is None else f"{facts.temperature_k:.2f} K"
    rates = ", ".join(f"{hz:,.0f}" for hz in facts.rates_hz)
    bias = ", ".join(f"{ua:g}" for ua in facts.bias_ua)
    return (
        f"{facts.state}{f' - {facts.reason}' if facts.reason else ''}; {rates or '-'} counts/s, "
        f"{bias or '-'} uA, {kelvin}; {facts.n_troubles} troubles, bias set {facts.n_restored} "
        "times"
    )


def describe_lane(lane: LaneSnapshot) -> str:
    """Say one lane in a few lines; what only its ends know is left out at a relay."""
    lines = [
        f"lane {lane.id} generation {lane.generation}, {lane.route[0]} to {lane.route[-1]} over "
        f"{len(lane.route) - 2} relays ({lane.place}): {lane.state}"
        + (f" - {lane.reason}" if lane.reason else "")
    ]
    if lane.n_ready is not None and lane.hours_ready is not None:
        lines.append(
            f"  ready      {lane.hours_ready:.2f} h, {lane.n_ready} keys, up to epoch "
            f"{'-' if lane.newest_ready is None else lane.newest_ready}; pads {lane.n_pads}"
        )
        lines.append(
            f"  keys       {lane.n_came} came, {lane.n_missed} epochs missed, {lane.n_void} "
            f"numbers void, {lane.n_mismatches} mismatches"
        )
    lines += [
        f"  {one.link:<10} {one.cut} bit cut, {one.relayed} relayed, {one.burned} burned, "
        f"{one.under_way} under way"
        for one in lane.lane_account
    ]
    if lane.n_short_units:
        lines.append(f"  short      {lane.n_short_units} units that its blocks did not have")
    return "\n".join(lines)


def _describe_block(block: BlockFacts) -> str:
    def three(values: tuple[float | None, float | None, float | None]) -> str:
        return "/".join(_share(value) for value in values)

    return (
        f"  block {block.block_no}: {block.n_secret_bits} bit of {block.n_sifted_bits} sifted, "
        f"{block.pulse_seconds:g} s of pulses, phase error <= {_share(block.phase_error_bound)}\n"
        f"    QBER key {_share(block.qber_key)} ({three(block.qber_key_by_intensity)} by "
        f"intensity), test {_share(block.qber_test)} ({three(block.qber_test_by_intensity)})\n"
        f"    f {_number(block.f_one_way)} one way, {_number(block.f_both_ways)} both ways "
        f"({block.correction}); eps_sec {block.eps_sec:g}, eps_cor {block.eps_cor:g}"
        + (f"\n    no key: {block.reason}" if block.reason else "")
    )


def _epsilon(link: LinkSnapshot) -> str:
    if link.eps_year is None:
        return "-"
    return (
        f"{link.eps_year}: {link.eps_year_blocks} blocks, epsilon spent: secrecy "
        f"{link.eps_year_secrecy:.3g}, correctness {link.eps_year_correctness:.3g}, "
        f"of {link.eps_year_limit:.3g}"
    )


def _rate(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
