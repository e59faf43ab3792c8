"""What a person sees while the demonstration runs."""

import sys
from collections.abc import Sequence

from rich.console import Console

from qkdd.cli.demo.refresh import Refreshes
from qkdd.cli.demo.summary import Summary
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot

KEY_LINE_EVERY = 10


class Teller:
    """Prints changes, not states; one line each, with the seconds since the relays started."""

    def __init__(self, *, to_stderr: bool) -> None:
        self._console = Console(file=sys.stderr if to_stderr else sys.stdout, highlight=False)
        self._states: list[str] = []

    def say(self, text: str, now_s: float | None = None) -> None:
        stamp = "        " if now_s is None else f"{now_s:7.1f}s"
        self._console.print(f"{stamp} {text}", markup=False, soft_wrap=True)

    def links(self, ends: Sequence[LinkSnapshot | None], now_s: float) -> None:
        states = [_state(end) for end in ends]
        if states != self._states:
            self._states = states
            self.say(f"link: transmitter {states[0]}; receiver {states[1]}", now_s)

    def block(self, block: BlockFacts, now_s: float) -> None:
        rate = block.n_secret_bits / block.pulse_seconds
        text = (
            f"block {block.block_no}: {block.pulse_seconds:g} s of pulses, "
            f"{block.n_clicks} clicks, {block.n_sifted_bits} sifted, "
            f"QBER {100 * (block.qber_key or 0):.2f} %, f {block.f_both_ways or 0:.3f}, "
            f"{block.n_secret_bits} secret bits = {rate:.0f} bit/s"
        )
        self.say(text + (f" - {block.reason}" if block.reason else ""), now_s)

    def key(self, refreshes: Refreshes) -> None:
        n_keys = refreshes.compared
        if n_keys <= 3 or n_keys % KEY_LINE_EVERY == 0:
            verdict = "equal at both relays" if not refreshes.unequal else "UNEQUAL"
            self.say(
                f"key {n_keys}: fingerprint {refreshes.fingerprint}, {verdict}, "
                f"{refreshes.missed} missed"
            )

    def summary(self, summary: Summary) -> None:
        def number(value: float | None, form: str = ".3f") -> str:
            return "-" if value is None else format(value, form)

        lines = [
            f"{'ok' if summary.ok else 'FAILED: ' + str(summary.reason)}",
            f"keys      {summary.keys_compared} compared, {summary.keys_unequal} unequal, "
            f"{summary.refresh_missed} missed; first after {number(summary.first_key_s, '.1f')} s",
            f"secret    {number(summary.secret_bits_per_s, '.0f')} bit/s net, "
            f"{number(summary.secret_bits_per_s_gross, '.0f')} gross, {summary.blocks} blocks, "
            f"{summary.blocks_without_key} without key",
            f"link      {summary.distance_km:g} km, {number(summary.click_rate, '.0f')} clicks/s, "
            f"QBER {number(summary.qber, '.4f')}, f {number(summary.f_ec_one_way)} one way, "
            f"{number(summary.f_ec_both_ways)} both ways",
            "cost      "
            + ", ".join(
                f"{name} {cpu:.1f} s CPU, {summary.rss_mb[name]:.0f} MB"
                for name, cpu in summary.cpu_s.items()
            ),
        ]
        for line in lines:
            self._console.print(line, markup=False, soft_wrap=True)


def _state(end: LinkSnapshot | None) -> str:
    if end is None:
        return "starting"
    clock = ""
    if end.state == "light" and end.clock_offset_ppm is not None:
        clock = f" (clock {end.clock_offset_ppm:+.2f} ppm)"
    return end.state + clock + (f" - {end.reason}" if end.reason else "")
