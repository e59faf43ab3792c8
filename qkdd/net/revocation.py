"""Certificates that their authority has taken back: certificate revocation lists (RFC 5280, 5).

Looked at after each handshake and not inside of it: OpenSSL refuses every certificate once a list
is past its next update, which would let whoever holds back the new list stop all delivery. A list
that is overdue still counts here; docs/decisions/0026.
"""

import datetime
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from qkdd.base.errors import ConfigError, PeerError

PEM_LIST = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)
MAX_LIST_BYTES = 16 << 20
NO_CERTIFICATE = (ValueError, TypeError, x509.InvalidVersion)
"""What cryptography raises for one that is none: TypeError for a name of the wrong kind of text."""


@dataclass(frozen=True, slots=True)
class Revoked:
    """What all lists of one file say together."""

    certificates: frozenset[tuple[bytes, int]] = frozenset()
    """Issuer's name (DER) and serial number."""
    made: datetime.datetime | None = None
    """The oldest list's date; None without lists."""
    next_update: datetime.datetime | None = None
    """When the first of the lists should have been replaced; None if none says."""

    def check(self, der: bytes | None) -> None:
        """Raise PeerError if the certificate is on a list, or cannot be held against one."""
        if not self.certificates or not der:
            return  # no certificate at all is refused elsewhere
        try:
            certificate = x509.load_der_x509_certificate(der)
            serial, issuer = certificate.serial_number, _name(certificate.issuer)
            name = certificate.subject.rfc4514_string()
        except NO_CERTIFICATE as error:
            raise PeerError(f"peer's certificate cannot be understood: {error}") from error
        if (issuer, serial) in self.certificates:
            raise PeerError(
                f"peer's certificate refused: {name} is revoked (serial number {serial:x})"
            )

    def overdue(self, now: datetime.datetime) -> str | None:
        """Say since when a newer list is due; None while it is not."""
        if self.next_update is None or now <= self.next_update:
            return None
        return f"a newer revocation list is due since {self.next_update:%Y-%m-%d %H:%M} UTC"


NONE = Revoked()
"""Without a list."""


def read_crls(path: Path, ca: Path) -> Revoked:
    """Read every list in the PEM file ``path``; each must be signed by an authority of ``ca``.

    Raises
    ------
    ConfigError
        Naming the file and what is wrong with it.
    """
    try:
        text = path.read_bytes()
        authorities = x509.load_pem_x509_certificates(ca.read_bytes())
        lists = [x509.load_pem_x509_crl(one) for one in PEM_LIST.findall(text[:MAX_LIST_BYTES])]
    except OSError as error:
        raise ConfigError(f"cannot read the revocation list {path}: {error.strerror}") from error
    except NO_CERTIFICATE as error:
        raise ConfigError(f"the revocation list {path} cannot be understood: {error}") from error
    if not lists:
        raise ConfigError(f"{path} holds no revocation list: PEM, '-----BEGIN X509 CRL-----'")
    try:  # names and dates of a damaged list are read only here
        return _revoked_by(lists, authorities, f"the revocation list {path}", ca)
    except NO_CERTIFICATE as error:
        raise ConfigError(f"the revocation list {path} cannot be understood: {error}") from error


def _revoked_by(
    lists: list[x509.CertificateRevocationList],
    authorities: list[x509.Certificate],
    what: str,
    ca: Path,
) -> Revoked:
    for one in lists:
        if not any(_signed_by(one, authority) for authority in authorities):
            issuer = one.issuer.rfc4514_string()
            raise ConfigError(f"{what} of {issuer} is not signed by an authority of {ca}")
    due = [one.next_update_utc for one in lists if one.next_update_utc is not None]
    return Revoked(
        frozenset(
            (_name(one.issuer), certificate.serial_number) for one in lists for certificate in one
        ),
        min(one.last_update_utc for one in lists),
        min(due, default=None),
    )


def refuse_older(now: Revoked, new: Revoked, path: Path | None) -> None:
    """Raise ConfigError if ``new`` would take back what has been revoked since it was made."""
    if now.made is not None and (new.made is None or new.made < now.made):
        made = "no list" if new.made is None else f"of {new.made:%Y-%m-%d %H:%M:%S} UTC"
        raise ConfigError(
            f"the revocation list {path or 'node.crl'} is {made}, older than the one in use of "
            f"{now.made:%Y-%m-%d %H:%M:%S} UTC: bring the newest, or restart"
        )


def _signed_by(one: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if one.issuer != authority.subject:
        return False
    try:
        return one.is_signature_valid(authority.public_key())  # type: ignore[arg-type]  # refused below
    except (InvalidSignature, UnsupportedAlgorithm, TypeError, ValueError):
        return False


def _name(name: x509.Name) -> bytes:
    return name.public_bytes()
