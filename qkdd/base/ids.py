"""Names of things, each with a type of its own."""

from typing import NewType

NodeId = NewType("NodeId", str)
"""A relay of the network; its KME ID in ETSI GS QKD 014."""

LinkId = NewType("LinkId", str)
"""A quantum link between two neighbours; both ends know it by the same name."""

SaeId = NewType("SaeId", str)
"""A secure application entity (ETSI GS QKD 014, clause 3)."""

RunNo = NewType("RunNo", int)
"""One uninterrupted emission of the transmitter; rises for ever on a link."""

BlockNo = NewType("BlockNo", int)
"""One distillation block of a link. Numbers rise; one that either store has prepared is never used
again (docs/decisions/0007)."""
