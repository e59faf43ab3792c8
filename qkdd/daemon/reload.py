"""New certificates, revocation list and delivery settings for a relay that goes on shining.

All or nothing: whatever is wrong with a file, everything stays as it was.
"""

import datetime
import re
from collections.abc import Callable, Iterable, Iterator

import msgspec
import structlog

from qkdd.base.errors import ConfigError
from qkdd.base.ids import NodeId
from qkdd.config import Node, Relay
from qkdd.deliver.settings import DeliverySettings
from qkdd.net.trust import TrustFiles, TrustKeeper, check_certificate, read_trust

log = structlog.get_logger(__name__)

NEW_NAMES_OF_FILES = ("node.certificate", "node.key", "node.ca", "node.crl")
FIXED_DELIVERY = ("delivery.listen",)
OF_A_LINK = re.compile(
    r"links\[\d+\]\.((light|intensities|frames|reconcile|proof)\..*|transmitter\.attenuator\.loss_db)"
)
"""What a link goes over to once both ends have it (qkdd/daemon/turnover.py)."""


class Reloader:
    """Takes over what may change, from the files that ``reread`` reads again."""

    def __init__(
        self,
        relay: Relay,
        reread: Callable[[], Relay],
        trust: TrustKeeper,
        takers: Iterable[Callable[[DeliverySettings], None]],
        offer: Callable[[Relay], int] = lambda relay: 0,
    ) -> None:
        self._relay = relay
        self._reread = reread
        self._trust = trust
        self._takers = tuple(takers)
        self._offer = offer

    def reload(self) -> str:
        """Take over the new files; return what to tell the operator.

        Raises
        ------
        ConfigError
            Naming what is wrong, or what only a restart can change; nothing has changed then.
        """
        try:
            told = self._take()
        except ConfigError as error:
            log.error("reload refused: all stays as it was", reason=str(error))
            raise
        log.info("reloaded", now=told)
        return told

    def _take(self) -> str:
        new = self._reread()
        if fixed := [name for name in differences(self._relay, new) if not may_change(name)]:
            raise ConfigError(f"only a restart can change {', '.join(fixed)}")
        files, now = trust_files(new.node), datetime.datetime.now(datetime.UTC)
        trust = read_trust(files)
        check_certificate(files, NodeId(new.node.id), now)
        self._trust.replace(trust)  # the last step that can be refused
        for take in self._takers:
            take(new.delivery)
        going_over = self._offer(new)
        self._relay = new
        told = f"certificates, {len(new.delivery.saes)} SAEs"
        if files.crl is not None:
            told += f", {len(trust.revoked.certificates)} revoked"
        if going_over:
            told += f", {going_over} link(s) go over to new settings once the neighbour has them"
        if (overdue := trust.revoked.overdue(now)) is not None:
            log.error("revocation list overdue", reason=overdue)
            told += f"; {overdue}"
        return told


def trust_files(node: Node) -> TrustFiles:
    return TrustFiles(node.certificate, node.key, node.ca, node.crl)


def may_change(name: str) -> bool:
    """Tell whether a setting may change while the relay runs."""
    if name in NEW_NAMES_OF_FILES:
        return True
    if OF_A_LINK.fullmatch(name):
        return True
    return name.startswith("delivery.") and name not in FIXED_DELIVERY


def differences(old: object, new: object, name: str = "") -> Iterator[str]:
    """Name every setting that is not the same, as the documents do."""
    if type(old) is not type(new):
        yield name
    elif isinstance(old, msgspec.Struct):
        for field in old.__struct_fields__:
            inner = f"{name}.{field}" if name else field
            yield from differences(getattr(old, field), getattr(new, field), inner)
    elif isinstance(old, tuple) and isinstance(new, tuple) and len(old) == len(new):
        for number, (left, right) in enumerate(zip(old, new, strict=True)):
            yield from differences(left, right, f"{name}[{number}]")
    elif old != new:
        yield name
