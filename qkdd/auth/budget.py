"""How much trust the tags of a link have cost: forgery bounds summed, bad tags counted."""

from qkdd.base.errors import PeerError, SecurityAlarm

MAX_BAD_TAGS = 3
"""The third bad tag of a link stops it: tags do not go wrong by accident under TLS."""

BLOCK_BYTES = 16


def forgery_bound(n_bytes: int) -> float:
    """Bound the chance that one forged message of ``n_bytes`` passes.

    8 ceil(L/16) / 2^106 for one try (Bernstein 2005, "The Poly1305-AES message-authentication
    code", theorem 3.3, with the one-time pad in the place of AES).
    """
    return 8 * -(-n_bytes // BLOCK_BYTES) * 2.0**-106


class BadTag(PeerError):
    """A frame was not written by the peer, or not for this place in this session."""


class AuthBudget:
    """Of one link, kept across its sessions: an attacker gets no fresh tries by reconnecting.

    By the union bound, ``forgery_bound`` bounds the chance that *any* frame that this end has ever
    accepted was forged.
    """

    def __init__(self, whose: str = "the link") -> None:
        self._whose = whose
        self.n_tags = 0
        self.n_bad_tags = 0
        self.forgery_bound = 0.0

    def tried(self, n_bytes: int) -> None:
        """Count one verification of a message of ``n_bytes``, before its outcome is known."""
        self.n_tags += 1
        self.forgery_bound += forgery_bound(n_bytes)

    def refuse_if_spent(self) -> None:
        """Raise SecurityAlarm if this link has seen its last bad tag."""
        if self.n_bad_tags >= MAX_BAD_TAGS:
            raise SecurityAlarm(
                f"{self.n_bad_tags} frames failed authentication, limit {MAX_BAD_TAGS}: "
                f"{self._whose} stays stopped until an operator clears it"
            )

    def failed(self, what: str) -> BadTag:
        """Count a bad tag and return the error to raise.

        Raises
        ------
        SecurityAlarm
            If it is one too many.
        """
        self.n_bad_tags += 1
        self.refuse_if_spent()
        return BadTag(f"{what}: bad tag {self.n_bad_tags} of {MAX_BAD_TAGS}")

    def clear(self) -> None:
        """Forget the bad tags: an operator has looked. The summed bound stays."""
        self.n_bad_tags = 0
