"""What must hold of two relays whose power was cut at one moment, whatever their disks had kept."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

from qkdd.base.audit_chain import follow
from qkdd.base.ids import SaeId
from qkdd.cli.demo.files import ALICE, BOB, SAE_A, SAE_B, RelayFiles
from qkdd.daemon.audit import AuditFile, audit_path, utc
from qkdd.keys.account import Account
from qkdd.keys.errors import KeyNotEntitled, KeyNotFound
from qkdd.keys.store import KeyStore
from tests.chaos.power_log import LOSSES, Entry, Loss, after_a_cut
from tests.chaos.recorded_disk import mounted
from tests.whole.applications import OTHER
from tests.whole.site import Site
from tests.whole.stock import NAME, NOW_S, open_store, talk

LETTERS = {"a": ALICE, "b": BOB}
MASTERS = {ALICE: SAE_A, BOB: SAE_B}
SIZES_BITS = (4096, 64)
"""All key that is left is drawn as keys of these sizes."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was known outside of the relays when the power was cut."""

    keys: dict[tuple[str, str], bytes]
    """(SAE, key ID) -> key, of all that reached their application."""
    pads: dict[str, list[bytes]]
    records: dict[str, list[str]]
    """Hashes of the audit log's records that were said to be on disk."""

    @classmethod
    def of(cls, marks: Sequence[bytes]) -> "Seen":
        seen = cls({}, {letter: [] for letter in LETTERS}, {letter: [] for letter in LETTERS})
        for mark in marks:
            kind, _, rest = mark.partition(b" ")
            if kind == b"key":
                sae, key_id, text = rest.decode().split()
                seen.keys[sae, key_id] = bytes.fromhex(text)
            elif kind == b"pad":
                seen.pads[rest[:1].decode()].append(rest[1:])
            elif kind == b"audit":
                seen.records[rest[:1].decode()].append(rest[1:].decode())
        return seen


@dataclass(frozen=True, slots=True)
class Cut:
    """The power fails before ``place``, and each disk loses in its own way."""

    place: int
    losses: dict[str, Loss]

    def __str__(self) -> str:
        ways = ", ".join(f"{LETTERS[letter]} loses {loss}" for letter, loss in self.losses.items())
        return f"cut at {self.place}: {ways}"


def some_cuts(
    entries: Sequence[Entry], first: int, number: int, dice: random.Random
) -> Iterator[Cut]:
    """Choose moments: half of them anywhere, half within a few steps behind a mark."""
    marks = [at for at, one in enumerate(entries) if one.kind == b"m" and at >= first]
    for n in range(number):
        place = dice.randint(first, len(entries))
        if n % 2:
            place = min(dice.choice(marks) + dice.randint(1, 4), len(entries))
        yield Cut(place, {letter: dice.choice(LOSSES) for letter in LETTERS})


@contextmanager
def site_after(
    site: Site, folder: Path, bases: dict[str, bytes], entries: Sequence[Entry], cut: Cut
) -> Iterator[tuple[Site, int]]:
    """Mount what the disks hold after a cut, as the relays of a site like ``site``; yield that,
    and how many file systems had to be repaired."""
    dice = random.Random(repr(cut))
    folder.mkdir(exist_ok=True)
    if not (folder / "pki").exists():
        (folder / "pki").symlink_to(site.folder / "pki")
    relays, n_repaired = {}, 0
    with ExitStack() as stack:
        for letter, name in LETTERS.items():
            image = folder / f"{letter}.image"
            loss = cut.losses[letter]
            image.write_bytes(after_a_cut(bases[letter], entries, letter, cut.place, loss, dice))
            n_repaired += stack.enter_context(mounted(image, folder / name))
            port = site.relays[name].delivery_port
            relays[name] = RelayFiles(name, folder / name / "relay.toml", port)
        yield Site(folder, relays, site.resources, None), n_repaired


@dataclass
class Findings:
    """What was found over all cuts."""

    n_cuts: int = 0
    n_repaired: int = 0
    """File systems that the kernel refused before ``e2fsck``."""
    n_keys: int = 0
    """Keys in hand at the cuts, summed over the cuts."""
    n_pads: int = 0
    lost: Counter[str] = field(default_factory=Counter)
    """Keys that one application had and the other never got (burned), by way of loss."""
    faults: list[str] = field(default_factory=list)


def examine(site: Site, seen: Seen, cut: Cut, findings: Findings) -> None:
    """Open both stores, have them agree, and draw all that is left; note every fault."""
    findings.n_cuts += 1
    findings.n_keys += len(seen.keys)
    findings.n_pads += sum(map(len, seen.pads.values()))
    try:
        for letter, name in LETTERS.items():
            audit_goes_on(site.config(name).parent / "keys.sqlite", seen.records[letter])
        with ExitStack() as stack:
            stores = {name: open_store(site, name) for name in LETTERS.values()}
            for store in stores.values():
                stack.callback(store.close)
            findings.lost["keys"] += agree_and_draw(stores, seen)
    except Exception as fault:
        findings.faults.append(f"{cut}: {type(fault).__name__}: {fault}")


def audit_goes_on(store: Path, records: Sequence[str]) -> None:
    """Nothing that was on disk is missing, and the chain goes on behind whatever was torn."""
    path = audit_path(store)
    text = path.read_bytes() if path.exists() else b""
    missing = [one for one in records if one.encode() not in text]
    assert not missing, f"{len(missing)} audit records are gone"
    file = AuditFile(path)
    file.append("start", {}, utc())
    file.close()
    with path.open("rb") as lines:
        assert not follow(lines).torn


def agree_and_draw(stores: dict[str, KeyStore], seen: Seen) -> int:
    """Return how many keys one application had and the other never will."""
    agree(stores)
    n_lost = fetch_again(stores, seen)
    accounts = [store.account(NAME) for store in stores.values()]
    assert accounts[0] == accounts[1], f"the accounts differ: {accounts}"
    before = accounts[0]
    rest = b"".join(draw_all(stores, name) for name in stores)
    for (sae, key_id), key in seen.keys.items():
        assert key not in rest, f"key {key_id}, which {sae} has, was given again"
    assert_drawn(before, stores[ALICE].account(NAME), len(rest))
    for letter, name in LETTERS.items():
        store = stores[name]
        with store.take_tx(NAME, store.auth_left(NAME).tx) as window:
            left = bytes(window.reveal())
        again = [pad for pad in seen.pads[letter] if pad in left]
        assert not again, f"{len(again)} pads of {name} would be used again"
    return n_lost


def agree(stores: dict[str, KeyStore]) -> None:
    alice, bob = stores[ALICE], stores[BOB]
    marks = [store.auth_marks(NAME) for store in (alice, bob)]
    states = alice.begin_session(NAME, marks[1]), bob.begin_session(NAME, marks[0])
    talk(NAME, alice, bob, [states[0]], [states[1]])


def fetch_again(stores: dict[str, KeyStore], seen: Seen) -> int:
    """Nobody gets a key that he has; who has not got his yet gets the same one, or none."""
    n_lost = 0
    for (sae, key_id), key in seen.keys.items():
        other = OTHER[sae]
        for slave, master in ((sae, other), (other, sae)):
            home = next(name for name, one in MASTERS.items() if one == slave)
            try:
                (copy,) = stores[home].fetch_keys([UUID(key_id)], SaeId(slave), SaeId(master))
            except (KeyNotFound, KeyNotEntitled):
                continue
            had = (slave, key_id) in seen.keys
            assert not had, f"key {key_id} was given to {slave} a second time"
            assert copy.reveal() == key, f"key {key_id} is another one for {slave}"
            break
        else:
            n_lost += (other, key_id) not in seen.keys
    return n_lost


def draw_all(stores: dict[str, KeyStore], owner: str) -> bytes:
    """Draw all of one relay's half for both applications, and return it: equal at both."""
    master, holder = stores[owner], next(stores[name] for name in stores if name != owner)
    sae, slave = SaeId(MASTERS[owner]), SaeId(OTHER[MASTERS[owner]])
    drawn = []
    for size in SIZES_BITS:
        while number := min(master.available_keys(NAME, size), 128):
            order = master.reserve_keys(NAME, number, size, sae, [slave], NOW_S)
            talk(NAME, master, holder, [order.announcement], [])
            ids = [record.key_id for record in order.records]
            keys = master.deliver_to_master(NAME, ids)
            copies = holder.fetch_keys(ids, slave, sae)
            for key, copy in zip(keys, copies, strict=True):
                assert key == copy, "a fresh key differs at the two ends"
                drawn.append(bytes(key.reveal()))
    return b"".join(drawn)


def assert_drawn(before: Account, after: Account, n_bytes: int) -> None:
    """All stock of the account was drawn, but for the rests that are shorter than a key."""
    rests = after.burned - before.burned + after.stock
    assert before.stock == 8 * n_bytes + rests, f"{before.stock} bits gave {8 * n_bytes}, {after}"
    assert rests <= before.stock / 100, f"{rests} of {before.stock} bits are rests"
