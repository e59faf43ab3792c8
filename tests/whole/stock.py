"""Key in both stores of a site without light: laid in before the relays are started."""

import os
from collections import deque

from qkdd.base.ids import LinkId, NodeId
from qkdd.base.secret import Secret
from qkdd.cli.demo.files import ALICE, BOB, LINK
from qkdd.config import load
from qkdd.keys.digest import DigestRow, read_digests
from qkdd.keys.layout import Role
from qkdd.keys.messages import Message
from qkdd.keys.store import KeyStore
from tests.whole.site import Site

NOW_S = 1_000
PSK_BYTES = 64 * 1024
ROLES: dict[str, Role] = {ALICE: "alice", BOB: "bob"}
NAME = LinkId(LINK)


def open_store(site: Site, relay: str) -> KeyStore:
    settings = load(site.config(relay)).store
    with Secret.from_bytes(settings.master_key.read_bytes()) as master_key:
        return KeyStore.open(settings.path, master_key, NodeId(relay), os.urandom, settings)


def install_psk(site: Site, *, alike: bool = True) -> bytes:
    """Install a pre-shared key at both ends and return it; with ``alike=False`` each end gets
    another."""
    psk = os.urandom(PSK_BYTES)
    for relay, role in ROLES.items():
        store = open_store(site, relay)
        store.install_psk(NAME, role, Secret.from_bytes(psk if alike else os.urandom(PSK_BYTES)))
        store.close()
    return psk


def lay_stock(site: Site, n_bytes: int, *, auth_bytes: int = 64 * 1024) -> bytes:
    """Install a pre-shared key and one live block, equal at both ends, by the stores' own talk;
    return the pre-shared key."""
    psk = install_psk(site)
    stores = {relay: open_store(site, relay) for relay in ROLES}
    try:
        alice, bob = stores[ALICE], stores[BOB]
        lay_block(NAME, alice, bob, n_bytes, auth_bytes=auth_bytes)
        assert alice.account(NAME) == bob.account(NAME)
        assert alice.account(NAME).stock > 8 * (n_bytes - 2 * auth_bytes) - 64
    finally:
        for store in stores.values():
            store.close()
    return psk


def lay_block(
    link: LinkId, alice: KeyStore, bob: KeyStore, n_bytes: int, *, auth_bytes: int
) -> None:
    """Have the stores of both ends of a link agree, and commit one block of random key."""
    marks = [store.auth_marks(link) for store in (alice, bob)]
    states = alice.begin_session(link, marks[1]), bob.begin_session(link, marks[0])
    talk(link, alice, bob, [states[0]], [states[1]])
    key = os.urandom(n_bytes)
    number = alice.next_block_no(link)
    prepared = [
        store.prepare_block(
            link, number, Secret.from_bytes(key), n_bits=8 * n_bytes, auth_bytes=auth_bytes
        )
        for store in (alice, bob)
    ]
    talk(link, alice, bob, list(prepared[0]), list(prepared[1]))


def talk(
    link: LinkId,
    alice: KeyStore,
    bob: KeyStore,
    from_alice: list[Message],
    from_bob: list[Message],
) -> None:
    """Carry messages between the stores until nobody has more to say."""
    to_bob, to_alice = deque(from_alice), deque(from_bob)
    while to_bob or to_alice:
        if to_bob:
            to_alice += bob.receive(link, to_bob.popleft(), NOW_S)
        if to_alice:
            to_bob += alice.receive(link, to_alice.popleft(), NOW_S)


def digests(site: Site, relay: str) -> list[DigestRow]:
    """Digests of what is left in a relay's store, read beside the running daemon."""
    settings = load(site.config(relay)).store
    with Secret.from_bytes(settings.master_key.read_bytes()) as master_key:
        return read_digests(settings.path, master_key, NodeId(relay))
