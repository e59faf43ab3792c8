"""Run a relay under a witness, with blocks that come from files and not from light.

For what lanes leave behind: that takes many blocks and no photon. Both ends of a link read the same
file, ``KEYS/LINK.BLOCK``, straight into a :class:`Secret`. A program of the tests only.
"""

import os
from pathlib import Path

import trio

from qkdd.base.ids import LinkId
from qkdd.base.secret import Secret
from qkdd.daemon import session
from qkdd.daemon.distil import Committer, Work
from qkdd.daemon.link_end import LinkEnd
from qkdd.daemon.mailbox import Mailbox
from qkdd.daemon.silence import Silence
from qkdd.net.peer import PeerSession
from tests.secrecy import witness

BLOCK_BYTES = 16 * 1024
AUTH_BYTES = 1024
EVERY_S = 0.5
ROOT = Path(__file__).parent.parent.parent
START = (
    "import sys; sys.path.insert(0, sys.argv[1]); from tests.secrecy.injected import run; "
    "run(*sys.argv[2:])"
)


STAY = (
    "import sys, signal, pathlib; sys.path.insert(0, sys.argv[1]); "
    "from tests.secrecy.injected import run\n"
    "try: run(*sys.argv[2:])\n"
    "finally: (pathlib.Path(sys.argv[3]) / 'over').touch(); signal.pause()"
)


def python(mode: str, notes: Path, keys: Path, config: Path, *, stay: bool = False) -> list[str]:
    """What to give to Python; ``stay`` to be searched, once NOTES/over is there."""
    code = STAY if stay else START
    return ["-P", "-c", code, str(ROOT), mode, str(notes), str(keys), str(config)]


def write_blocks(keys: Path, links: list[str], n_blocks: int) -> None:
    keys.mkdir()
    for link in links:
        for number in range(n_blocks):
            (keys / f"{link}.{number}").write_bytes(os.urandom(BLOCK_BYTES))


def run(mode: str, notes: str, keys: str, config: str) -> None:
    async def blocks(
        end: LinkEnd,
        _session: PeerSession,
        commit: Committer,
        _runs: Mailbox,
        _blocks: Mailbox,
        _silence: Silence,
    ) -> None:
        link = LinkId(end.config.name)
        index = 0
        while True:
            block_no = await end.store.do(lambda store: store.next_block_no(link))
            file = Path(keys) / f"{link}.{block_no}"
            if not file.exists():
                await trio.sleep_forever()
            key = Secret(BLOCK_BYTES)
            with file.open("rb", buffering=0) as source:
                source.readinto(key.reveal())
            await commit.commit_block(Work(block_no, index, 0), key, AUTH_BYTES)
            index += 1
            await trio.sleep(EVERY_S)

    session.run_alice = session.run_bob = blocks
    witness.run(mode, Path(notes), config)
