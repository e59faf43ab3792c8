"""Errors, named for who is at fault. A bug is an AssertionError or a RuntimeError."""


class QkdError(Exception):
    """Anything that can go wrong in operation."""


class ConfigError(QkdError):
    """The operator's configuration is wrong; the message has path, value and limit."""


class PeerError(QkdError):
    """The peer broke the protocol: drop the session."""


class LinkLost(QkdError):
    """The peer or the light is gone for now: retry."""


class RecordSpoilt(LinkLost):
    """What came is not what the peer has sent: somebody, or the network, changed it on the way."""


class SecurityAlarm(QkdError):
    """Something an attacker might have done: discard the block, wipe, tell the operator."""


class EntropyFailed(SecurityAlarm):
    """A source of randomness failed its health tests: no light and no key until it passes them."""


class OutOfKey(QkdError):
    """There is not enough key for what was asked: say so to the caller."""


class StoreError(QkdError):
    """The key store cannot keep its promises (disk full, damaged, restored from an old image)."""
