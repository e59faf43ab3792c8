"""Privacy amplification: Mbit of block hashed per CPU second, each backend and a textbook FFT.

Run as `python -m benchmarks.amplify`. The textbook way is one real FFT over the whole block with
numpy; its speed is the ratio's 1. Results are compared bit by bit in the same run.
"""

import resource
import time
from collections.abc import Callable

import numpy as np

from qkdd.amplify.toeplitz import seed_bytes, toeplitz_hash
from qkdd.base.bits import Bits, packed_bytes
from qkdd.kernels import toeplitz as kernel

SIZES = (100_000, 1_000_000, 10_800_000, 60_000_000)
OUT_SHARE = 0.37
SLOW_LIMIT = 11_000_000
"""Above this the textbook way takes over half a gigabyte and the twin half a minute."""


def textbook(bits: Bits, seed: bytes, n_out: int) -> bytes:
    """Hash by one FFT as long as the whole product."""
    m = bits.size - n_out
    size = 1 << (2 * m + n_out).bit_length()
    matrix = np.unpackbits(np.frombuffer(seed, np.uint8), count=bits.size - 1, bitorder="little")
    counts = np.fft.irfft(np.fft.rfft(bits[:m], size) * np.fft.rfft(matrix, size), size)
    parity = np.rint(counts[m - 1 : m - 1 + n_out]).astype(np.int64) & 1
    return np.packbits(parity.astype(np.uint8) ^ bits[m:], bitorder="little").tobytes()


def cpu_seconds(call: Callable[[], bytes]) -> tuple[float, bytes]:
    """Return the best of up to three runs, and what they returned."""
    best = float("inf")
    result = b""
    for _ in range(3):
        start = time.process_time()
        result = call()
        best = min(best, time.process_time() - start)
        if best > 2.0:
            break
    return best, result


def main() -> None:
    rng = np.random.default_rng(1)
    for n in SIZES:
        n_out = round(OUT_SHARE * n)
        bits = rng.integers(0, 2, n, np.uint8)
        seed = rng.bytes(seed_bytes(n))
        results = {}

        def tiled(bits: Bits = bits, seed: bytes = seed, n_out: int = n_out) -> bytes:
            out = bytearray(packed_bytes(n_out))
            toeplitz_hash(bits, seed, n_out, out)
            return bytes(out)

        for name in kernel.backends():
            if name == kernel.TWIN and n > SLOW_LIMIT:
                continue
            kernel.force(name)
            results[name] = cpu_seconds(tiled)
        kernel.force(None)
        if n <= SLOW_LIMIT:
            results["textbook"] = cpu_seconds(lambda b=bits, s=seed, k=n_out: textbook(b, s, k))
        assert len({result for _, result in results.values()}) == 1, "the backends disagree"
        unit = results["textbook"][0] if "textbook" in results else results["generic"][0]
        print(
            f"{n:>10} bits to {n_out}, relative to {'textbook' if n <= SLOW_LIMIT else 'generic'}"
        )
        for name, (seconds, _) in results.items():
            print(f"    {name:>9} {n / seconds / 1e6:8.1f} Mbit/s  {unit / seconds:7.1f} x")
    print(f"peak RSS {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB in all")


if __name__ == "__main__":
    main()
