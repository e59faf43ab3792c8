"""What every entropy source must do."""

import trio

from drivers.conformance.demands import CALL_TIMEOUT_S, check_identity, demand
from drivers.entropy import EntropySource

N_BYTES = 16_384
MIN_VALUES = 128
"""Of 256 byte values, in so many bytes; one that shows fewer has less than 7 bits to give, or
sends text."""


async def check_entropy_source(source: EntropySource) -> bytes:
    """Check a source of noise; returns the noise that it gave. It ends silent."""
    with trio.fail_after(4 * CALL_TIMEOUT_S):
        await check_identity(source.identity)
        await source.start()
        first = await _gather(source)
        await source.stop()
        await check_identity(source.identity)
        await source.start()
        with trio.move_on_after(0.001):
            await source.read()
        second = await _gather(source)
        await source.stop()
        demand(first[:64] not in second, "the noise after a new start is the same")
        return first + second


async def _gather(source: EntropySource) -> bytes:
    noise = b""
    while len(noise) < N_BYTES:
        piece = await source.read()
        demand(bool(piece), "a read returned nothing")
        noise += piece
    n_values = len(set(noise))
    demand(n_values >= MIN_VALUES, f"{n_values} byte values in {len(noise)} bytes of noise")
    return noise
