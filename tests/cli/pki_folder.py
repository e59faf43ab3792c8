"""A folder of certificates for tests."""

import datetime
from collections.abc import Sequence
from pathlib import Path

from qkdd.net.pki import Authority


def make_pki(folder: Path, *, nodes: Sequence[str], saes: Sequence[str]) -> None:
    now = datetime.datetime.now(datetime.UTC)
    authority = Authority.open_or_create(folder, now=now, days=1)
    for node in nodes:
        authority.issue_node(node, now=now, days=1)
    for sae in saes:
        authority.issue_sae(sae, now=now, days=1)
