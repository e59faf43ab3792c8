"""How an ID1000 is reached and set: its resource string.

``zmq://HOST[:PORT][?OPTION=VALUE&...]``, for example
``zmq://169.254.99.100?threshold_v=0.2&edge=rising``. Unknown options are refused.
"""

import ipaddress
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

SCPI_PORT = 5555
DLT_PORT = 6060
STREAM_PORT = 4241
N_INPUTS = 4

RECORD_MS = (200, 10_000)
"""The vendor's example allows no less than 0.2 s; longer than 10 s, 100 million events fill a
message before its record ends."""
GAP_NS = (40, 1_000_000)
LEVELS = {"nim": (-0.4, "falling"), "ttl": (1.0, "rising")}
"""Threshold in V and edge: the middle of NIM's 0 and -0.8 V; into 50 ohm many TTL outputs reach
only 2 V, and 1 V is half of it."""


@dataclass(frozen=True, slots=True)
class Id1000Settings:
    host: str
    port: int = SCPI_PORT
    dlt_host: str = "localhost"
    """Where the DataLinkTargetService runs; it must be running already."""
    dlt_port: int = DLT_PORT
    streams: int | None = None
    """Input n streams on this port plus n. None: free ones, chosen at each start; 4241, as in the
    vendor's examples, if the service runs on another host."""
    inputs: tuple[int, ...] = (1, 2, 3, 4)
    threshold_v: float = LEVELS["nim"][0]
    edge: str = LEVELS["nim"][1]
    resolution: str = "hires"
    record_ms: int = 200
    """Length of a record: events come this late, at most."""
    gap_ns: int = 400
    """Dead time between records: the manual wants 40 ns, the vendor's example takes 400."""
    stop: str = ""
    """Block that feeds RAWn, to be followed by n (``INPU``, ``TSCO``). Empty: the routing stays as
    the operator left it, since the blocks' tables are not public."""

    @property
    def width_ps(self) -> int:
        return self.record_ms * 10**9

    @property
    def period_ps(self) -> int:
        return self.width_ps + self.gap_ns * 1000

    @property
    def dlt_is_local(self) -> bool:
        if self.dlt_host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.dlt_host).is_loopback
        except ValueError:
            return False


def parse_resource(resource: str, *, inputs: str = "nim") -> Id1000Settings:
    """Read a resource string; ``inputs`` gives threshold and edge where it does not.

    Raises
    ------
    ValueError
        If it is of another form, has an unknown option, or a value outside its range.
    """
    parts = urlsplit(resource)
    if parts.scheme != "zmq" or not parts.hostname or parts.path or parts.fragment:
        raise ValueError(f"resource {resource!r} is not zmq://HOST[:PORT][?OPTION=VALUE&...]")
    threshold_v, edge = LEVELS[inputs]
    options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
    dlt = urlsplit("//" + options.pop("dlt", f"localhost:{DLT_PORT}"))
    streams = options.pop("streams", "")
    settings = Id1000Settings(
        host=parts.hostname,
        port=parts.port or SCPI_PORT,
        dlt_host=dlt.hostname or "localhost",
        dlt_port=dlt.port or DLT_PORT,
        streams=int(streams) if streams else None,
        inputs=tuple(int(one) for one in options.pop("inputs", "1,2,3,4").split(",")),
        threshold_v=float(options.pop("threshold_v", threshold_v)),
        edge=options.pop("edge", edge),
        resolution=options.pop("resolution", "hires"),
        record_ms=int(options.pop("record_ms", 200)),
        gap_ns=int(options.pop("gap_ns", 400)),
        stop=options.pop("stop", "").upper(),
    )
    if options:
        raise ValueError(f"resource {resource!r}: unknown option {', '.join(sorted(options))}")
    _require_ranges(settings)
    return settings


def _require_ranges(settings: Id1000Settings) -> None:
    streams = STREAM_PORT if settings.streams is None else settings.streams
    numbers = settings.inputs
    rules = {
        f"inputs {numbers}": len(set(numbers)) == len(numbers)
        and all(1 <= one <= N_INPUTS for one in numbers),
        f"threshold_v {settings.threshold_v}": -5.0 <= settings.threshold_v <= 5.0,
        f"edge {settings.edge!r}": settings.edge in ("rising", "falling"),
        f"resolution {settings.resolution!r}": settings.resolution in ("hires", "lowres"),
        f"record_ms {settings.record_ms}": RECORD_MS[0] <= settings.record_ms <= RECORD_MS[1],
        f"gap_ns {settings.gap_ns}": GAP_NS[0] <= settings.gap_ns <= GAP_NS[1],
        f"streams {streams}": 1024 <= streams <= 65535 - N_INPUTS,
        f"stop {settings.stop!r}": not settings.stop or settings.stop.isalnum(),
    }
    for what, fine in rules.items():
        if not fine:
            raise ValueError(f"ID1000: {what} is out of range")
