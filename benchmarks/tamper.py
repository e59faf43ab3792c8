"""Tamper with a million frames of an authenticated session: none may open.

    python -m benchmarks.tamper [--frames 1000000] [--seed 1]

Under test are the machines of a session (``tests/auth/tampering.py`` says which) at the receiving
end, without TLS: the wire turns bits of header, payload and tag, cuts, lengthens, splices and swaps
frames, says them again, early, in the other direction, in another session and on another link.
After each round the true frame comes and must open: an attacker costs the session nothing but what
PeerSession itself decides, which ends it at the first bad tag, and the link at the third.

Printed is, for each kind of tampering, how often by which word it was refused. Exit status: 1 if a
frame was accepted.
"""

import argparse
import sys
import time

from qkdd.auth.budget import forgery_bound
from tests.auth.tampering import Tamperer


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--frames", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    tamperer = Tamperer(given.seed)
    start_s = time.thread_time()
    tamperer.run(given.frames)
    spent_s = time.thread_time() - start_s
    for (kind, why), n_frames in sorted(tamperer.refused.items()):
        print(f"{kind:34} {why:26} {n_frames:9}")
    print(
        f"{tamperer.n_tampered} frames tampered with, {len(tamperer.accepted)} accepted; "
        f"{tamperer.n_true} true ones opened; {spent_s:.0f} s of processor time. One guess at a "
        f"tag of 100 bytes is right with probability {forgery_bound(100):.1e} at most."
    )
    for kind, data in tamperer.accepted:
        print(f"ACCEPTED {kind}: {data.hex()}")
    return 1 if tamperer.accepted else 0


if __name__ == "__main__":
    sys.exit(main())
