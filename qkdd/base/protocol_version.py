"""The version of everything that neighbours say to each other; a mismatch is refused by name."""

PROTOCOL_VERSION = 13
