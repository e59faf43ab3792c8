"""What TLS between neighbours costs, against ``trio.SSLStream`` in the same run.

    python -m benchmarks.tls_stream [--megabytes 40] [--rounds 4]

Frames as blocks bring them (half a megabyte) and as keys do (200 bytes) go one way over a pair of
sockets; CPU of both ends together, of this one thread, the best round of each; turns of the loop.
"""

import argparse
import datetime
import ssl
import tempfile
import time
from pathlib import Path

import trio

from qkdd.net.framing import KIND_TAG_BYTES, Frame, Kind
from qkdd.net.pki import Authority
from qkdd.net.tls import accepting_context, dialling_context
from qkdd.net.tls_stream import TlsStream
from qkdd.net.wire import FrameWire

Contexts = tuple[ssl.SSLContext, ssl.SSLContext]
SMALL_BYTES, LARGE_BYTES = 200, 500_000


class Turns(trio.abc.Instrument):
    """Counts how often the loop looked for news."""

    def __init__(self) -> None:
        self.n = 0

    def before_io_wait(self, _timeout: float) -> None:
        self.n += 1


def contexts(folder: Path) -> Contexts:
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(folder, now=now, days=1)
    a, b = (authority.issue_node(name, now=now, days=1) for name in "ab")
    return (
        accepting_context(a.certificate, a.key, authority.certificate),
        dialling_context(b.certificate, b.key, authority.certificate),
    )


async def carry(kind: type, both: Contexts, n_bytes: int, n_frames: int) -> tuple[float, float]:
    """Return CPU seconds and turns of the loop, each per frame."""
    here, there = map(trio.SocketStream, trio.socket.socketpair())
    accepting = kind(here, both[0], server_side=True)
    dialling = kind(there, both[1], server_side=False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(accepting.do_handshake)
        await dialling.do_handshake()
    frame = Frame(Kind.BATCH, bytes(n_bytes), bytes(KIND_TAG_BYTES[Kind.BATCH]))
    sender, receiver = FrameWire(accepting), FrameWire(dialling)
    turns = Turns()
    trio.lowlevel.add_instrument(turns)
    begin_s = time.thread_time()
    for _ in range(n_frames):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sender.send, frame)
            await receiver.receive()
    spent_s = time.thread_time() - begin_s
    trio.lowlevel.remove_instrument(turns)
    await trio.aclose_forcefully(accepting)
    await trio.aclose_forcefully(dialling)
    return spent_s / n_frames, turns.n / n_frames


async def compare(both: Contexts, n_bytes: int, n_frames: int, rounds: int) -> None:
    best: dict[type, tuple[float, float]] = {}
    for _ in range(rounds):
        for kind in (trio.SSLStream, TlsStream):
            one = await carry(kind, both, n_bytes, n_frames)
            best[kind] = min(best.get(kind, one), one)
    (theirs_s, their_turns), (ours_s, our_turns) = best[trio.SSLStream], best[TlsStream]
    print(
        f"{n_bytes:7d} bytes: {1e6 * ours_s:7.1f} us and {our_turns:5.1f} turns a frame; "
        f"trio.SSLStream {1e6 * theirs_s:7.1f} us and {their_turns:5.1f}: "
        f"{ours_s / theirs_s:.2f} of it"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--megabytes", type=float, default=40.0, help="in large frames, a round")
    parser.add_argument("--rounds", type=int, default=4)
    options = parser.parse_args()
    n_large = max(1, round(1e6 * options.megabytes / LARGE_BYTES))
    with tempfile.TemporaryDirectory() as name:
        both = contexts(Path(name))
        trio.run(compare, both, LARGE_BYTES, n_large, options.rounds)
        trio.run(compare, both, SMALL_BYTES, 10 * n_large, options.rounds)


if __name__ == "__main__":
    main()
