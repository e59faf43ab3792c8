"""Checks of the running relay: its links, stock, authentication key and kernels."""

from collections.abc import Iterator

from qkdd.cli.doctor.finding import Finding, ok, trouble, warning
from qkdd.daemon.kernels import TWIN
from qkdd.daemon.snapshot import LinkSnapshot, RelaySnapshot

WARN_HOURS, MIN_HOURS = 2.0, 0.25
REASONS = 'docs/operating.md, "States of a link"'
REKEY = 'light, or docs/operating.md, "Re-keying a link"'


def check_relay(relay: RelaySnapshot, auth_floor_bytes: int) -> Iterator[Finding]:
    """Yield what the relay says of itself."""
    yield ok("relay", f"pid {relay.pid}, up {relay.uptime_s:.0f} s")
    for link in relay.links:
        yield _state(link)
        yield _stock(link)
        yield from _authentication(link, auth_floor_bytes)


def check_kernels(backends: dict[str, str]) -> Finding:
    """NumPy twins give the same results, too slowly for a fast link."""
    twins = sorted(name for name, backend in backends.items() if backend == TWIN)
    if twins:
        cure = "apt install gcc python3-dev, then pip install again"
        return warning("kernels", f"NumPy serves for {', '.join(twins)}", cure)
    return ok("kernels", ", ".join(f"{name} {one}" for name, one in sorted(backends.items())))


def _state(link: LinkSnapshot) -> Finding:
    text = f"{link.name} is {link.state}" + (f": {link.reason}" if link.reason else "")
    if link.state == "down":
        return trouble("link", text, REASONS)
    return ok("link", text) if link.state == "light" else warning("link", text, REASONS)


def _stock(link: LinkSnapshot) -> Finding:
    if link.hours_of_stock is None:
        return ok("stock", f"{link.name}: {link.stock_bits} bit, nothing is promised")
    text = f"{link.name}: {link.hours_of_stock:.2f} h"
    if link.hours_of_stock < MIN_HOURS:
        return trouble("stock", text, REKEY)
    return warning("stock", text, REKEY) if link.hours_of_stock < WARN_HOURS else ok("stock", text)


def _authentication(link: LinkSnapshot, floor_bytes: int) -> Iterator[Finding]:
    floor_bits = 2 * 8 * floor_bytes
    text = f"{link.name}: {link.auth_left_bits} bit left, {floor_bits} are kept"
    if link.auth_left_bits <= floor_bits:
        yield trouble("authentication key", text, REKEY)
    elif link.auth_left_bits < 2 * floor_bits:
        yield warning("authentication key", text, REKEY)
    else:
        yield ok("authentication key", text)
    if link.auth_bad_tags:
        yield trouble(
            "authentication",
            f"{link.name}: {link.auth_bad_tags} frames did not verify",
            "find out who sits on the line",
        )
