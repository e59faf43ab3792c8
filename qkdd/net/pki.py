"""A small certificate authority for tests, demonstrations and first rigs.

A relay's certificate carries the URI ``urn:qkdd:node:<id>`` and the host names it answers to; an
application's carries ``urn:qkdd:sae:<id>``. Production networks bring their own CA: the daemon only
reads PEM files and these names.
"""

import datetime
import ipaddress
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

NODE_URN = "urn:qkdd:node:"
SAE_URN = "urn:qkdd:sae:"
DEFAULT_HOSTS = ("localhost", "127.0.0.1", "::1")
CLOCK_SLACK = datetime.timedelta(minutes=10)
"""Certificates begin this much in the past: two machines' clocks differ."""


@dataclass(frozen=True, slots=True)
class Issued:
    """Where a certificate and its private key lie."""

    certificate: Path
    key: Path


class Authority:
    """A certificate authority that lives in one folder: ``ca.pem`` and ``ca.key``."""

    def __init__(
        self, folder: Path, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
    ) -> None:
        self._folder = folder
        self._certificate = certificate
        self._key = key

    @classmethod
    def open_or_create(cls, folder: Path, *, now: datetime.datetime, days: int) -> "Authority":
        """Load the authority in ``folder``, or make one valid for ``days`` from ``now`` (UTC)."""
        folder.mkdir(parents=True, exist_ok=True)
        certificate_file, key_file = folder / "ca.pem", folder / "ca.key"
        if certificate_file.exists() and key_file.exists():
            certificate = x509.load_pem_x509_certificate(certificate_file.read_bytes())
            key = serialization.load_pem_private_key(key_file.read_bytes(), password=None)
            if not isinstance(key, ec.EllipticCurvePrivateKey):
                raise ValueError(f"{key_file} is not an elliptic-curve key: use another folder")
            return cls(folder, certificate, key)
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "qkdd test authority")])
        certificate = (
            _builder(name, name, key, now, days)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_key_usage(signs_certificates=True), critical=True)
            .sign(key, hashes.SHA256())
        )
        certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(key_file, key)
        return cls(folder, certificate, key)

    @property
    def certificate(self) -> Path:
        return self._folder / "ca.pem"

    def issue_node(
        self,
        node: str,
        *,
        now: datetime.datetime,
        days: int,
        hosts: Sequence[str] = DEFAULT_HOSTS,
    ) -> Issued:
        """Issue a relay's certificate, for both server and client use."""
        names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(NODE_URN + node)]
        names += [_host_name(host) for host in hosts]
        return self._issue(node, names, now=now, days=days)

    def issue_sae(self, sae: str, *, now: datetime.datetime, days: int) -> Issued:
        """Issue an application's certificate."""
        return self._issue(sae, [x509.UniformResourceIdentifier(SAE_URN + sae)], now=now, days=days)

    def revoke(self, certificates: Iterable[Path], *, now: datetime.datetime, days: int) -> Path:
        """Take certificates back, beside all that were before; return the list, ``ca.crl``."""
        path = self._folder / "ca.crl"
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now)
            .next_update(now + datetime.timedelta(days=days))
        )
        dates = {
            x509.load_pem_x509_certificate(one.read_bytes()).serial_number: now
            for one in certificates
        }
        if path.exists():
            before = x509.load_pem_x509_crl(path.read_bytes())
            dates |= {one.serial_number: one.revocation_date_utc for one in before}
        for serial, date in dates.items():
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(date)
            builder = builder.add_revoked_certificate(revoked.build())
        path.write_bytes(
            builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        )
        return path

    def _issue(
        self, name: str, names: list[x509.GeneralName], *, now: datetime.datetime, days: int
    ) -> Issued:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        authority_id = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        certificate = (
            _builder(subject, self._certificate.subject, key, now, days)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_key_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(authority_id, critical=False)
            .sign(self._key, hashes.SHA256())
        )
        issued = Issued(self._folder / f"{name}.pem", self._folder / f"{name}.key")
        issued.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        _write_private(issued.key, key)
        return issued


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    now: datetime.datetime,
    days: int,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _host_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_private(path: Path, key: ec.EllipticCurvePrivateKey) -> None:
    """Write a private key that only its owner can read, from its first byte on."""
    text = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
