"""Who a relay is and whom it trusts, read from its files, and replaced while it runs."""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

import trio
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.serialization import Encoding

from qkdd.base.errors import ConfigError, PeerError
from qkdd.base.ids import NodeId
from qkdd.net.https import server_context
from qkdd.net.revocation import NONE, Revoked, read_crls, refuse_older
from qkdd.net.tls import UNREADABLE, accepting_context, dialling_context, node_of_certificate


@dataclass(frozen=True, slots=True)
class TrustFiles:
    """PEM files."""

    certificate: Path
    key: Path
    ca: Path
    crl: Path | None = None


@dataclass(frozen=True, slots=True)
class Trust:
    """Everything that is made of one reading of the files."""

    dialling: ssl.SSLContext
    accepting: ssl.SSLContext
    serving: ssl.SSLContext
    revoked: Revoked


def read_trust(files: TrustFiles) -> Trust:
    """Read the files.

    Raises
    ------
    ConfigError
        Naming the one that is wrong.
    """
    plain = (files.certificate, files.key, files.ca)
    revoked = NONE if files.crl is None else read_crls(files.crl, files.ca)
    try:
        return Trust(
            dialling_context(*plain), accepting_context(*plain), server_context(*plain), revoked
        )
    except OSError as error:  # ssl.SSLError as well
        raise ConfigError(
            f"certificate {files.certificate}, its key {files.key} and authority {files.ca} "
            f"cannot be used together: {error}"
        ) from error


def check_certificate(files: TrustFiles, node: NodeId, now: datetime.datetime) -> None:
    """Refuse a new certificate that every neighbour would refuse.

    Raises
    ------
    ConfigError
        If it is not valid now, names another relay, or none of the authorities has signed it.
    """
    where = f"the new certificate {files.certificate}"
    try:
        own = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        authorities = x509.load_pem_x509_certificates(files.ca.read_bytes())
        named = node_of_certificate(own.public_bytes(Encoding.DER))
    except (OSError, *UNREADABLE, PeerError) as error:
        raise ConfigError(f"{where} cannot be used: {error}") from error
    if named != node:
        raise ConfigError(f"{where} names node {named}, this is {node}")
    begins, ends = own.not_valid_before_utc, own.not_valid_after_utc
    if not begins <= now <= ends:
        raise ConfigError(
            f"{where} is valid from {begins:%Y-%m-%d %H:%M} to {ends:%Y-%m-%d %H:%M} UTC only"
        )
    if not any(_issued(own, authority) for authority in authorities):
        raise ConfigError(f"{where} is not signed by an authority of {files.ca}")


def _issued(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


class TrustKeeper:
    """Holds what is trusted now; every new connection asks it, and open ones hear of a change."""

    def __init__(self, trust: Trust) -> None:
        self.now = trust
        self._changed = trio.Event()

    def replace(self, trust: Trust) -> None:
        """Trust this from now on.

        Raises
        ------
        ConfigError
            If its revocation list is older than the one in use.
        """
        refuse_older(self.now.revoked, trust.revoked, None)
        self.now = trust
        self._changed.set()
        self._changed = trio.Event()

    async def until_revoked(self, der: bytes | None) -> None:
        """Wait for the peer's certificate to be taken back: then raise PeerError."""
        while True:
            self.now.revoked.check(der)
            await self._changed.wait()
