"""Checks of a relay's files: certificates, who may read the secrets, room on the disk."""

import datetime
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from qkdd.base.audit_chain import ChainBroken, follow
from qkdd.base.errors import ConfigError
from qkdd.cli.doctor.finding import Finding, ok, trouble, warning
from qkdd.config import Node, Relay, is_credential
from qkdd.daemon.audit import audit_path
from qkdd.net.pki import NODE_URN
from qkdd.net.revocation import read_crls

WARN_DAYS = 30
WARN_FREE_BYTES, MIN_FREE_BYTES = 1 << 30, 64 << 20
RENEW = "renew it, then qkdd reload"


def check_files(relay: Relay, now: datetime.datetime) -> Iterator[Finding]:
    """Yield one finding per certificate question, per secret that is open, and for the disk."""
    yield from certificates(relay.node, now)
    if relay.node.crl is not None:
        yield revocation(relay.node.crl, relay.node.ca, now)
    yield from permissions(relay)
    yield disk(relay.store.path.parent)
    yield audit_log(audit_path(relay.store.path))


def certificates(node: Node, now: datetime.datetime) -> Iterator[Finding]:
    """Hold the relay's certificate against the clock, its key, its name and its authority."""
    try:
        own = x509.load_pem_x509_certificate(node.certificate.read_bytes())
        authorities = x509.load_pem_x509_certificates(node.ca.read_bytes())
        key = serialization.load_pem_private_key(node.key.read_bytes(), password=None)
    except (OSError, ValueError, TypeError) as error:
        yield trouble("certificate", f"cannot be read: {error}", "qkdd check; PEM, no password")
        return
    yield _validity("certificate", own, now)
    for authority in authorities:
        yield _validity("authority", authority, now)
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if own.public_key().public_bytes(*form) != key.public_key().public_bytes(*form):
        yield trouble("certificate", f"{node.key} is not its key", "bring the two that belong")
    if not any(_signed_by(own, authority) for authority in authorities):
        yield trouble(
            "certificate",
            f"not signed by an authority of {node.ca}",
            "add the authority, or the one between, to node.ca",
        )
    names = [name for name in _uris(own) if name.startswith(NODE_URN)]
    if names != [NODE_URN + node.id]:
        shown = ", ".join(names) or "no relay"
        yield trouble("certificate", f"names {shown}, not {NODE_URN}{node.id}", "issue another")


def revocation(crl: Path, ca: Path, now: datetime.datetime) -> Finding:
    """Look at the revocation list: an old one still counts, and lacks who was revoked since."""
    try:
        revoked = read_crls(crl, ca)
    except ConfigError as error:
        return trouble("revocation list", str(error), "bring the authority's list, PEM")
    if (overdue := revoked.overdue(now)) is not None:
        return trouble("revocation list", overdue, "bring it, then qkdd reload")
    return ok("revocation list", f"{len(revoked.certificates)} certificates are revoked")


def _validity(check: str, certificate: x509.Certificate, now: datetime.datetime) -> Finding:
    name = certificate.subject.rfc4514_string()
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < begins:
        return trouble(check, f"{name} is valid from {begins:%Y-%m-%d} only", "this host's clock?")
    days = (ends - now).total_seconds() / 86_400
    if days <= 0:
        return trouble(check, f"{name} has expired on {ends:%Y-%m-%d}", RENEW)
    if days < WARN_DAYS:
        return warning(check, f"{name} expires in {days:.1f} days", RENEW)
    return ok(check, f"{name} is valid for {days:.0f} days")


def _signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError):
        return False
    return True


def _uris(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)


def permissions(relay: Relay) -> Iterator[Finding]:
    """Yield what is readable, or replaceable, by others than its owner."""
    found = 0
    for path in _secrets(relay):
        if is_credential(path):
            yield ok("permissions", f"{path.name} is a credential, which only the service sees")
        elif (line := _exposed(path)) is not None:
            found += 1
            yield line
    try:
        same = relay.store.master_key.stat().st_dev == relay.store.path.parent.stat().st_dev
    except OSError:
        same = False  # whoever may not look is told above, or by the configuration
    if same:
        yield warning(
            "master key",
            "it is on the file system of the store: whoever has the disk has the stock",
            'a systemd credential (docs/operating.md, "As a service")',
        )
    if not found:
        yield ok("permissions", "no secret is open to others")


def _secrets(relay: Relay) -> Iterator[Path]:
    yield relay.node.key
    yield relay.store.master_key
    for suffix in ("", "-wal", "-shm"):
        store = relay.store.path
        file = store.with_name(store.name + suffix)
        if file.exists():
            yield file
    for link in relay.links:
        if link.transmitter is not None:
            yield link.transmitter.encoder.key_file


def _exposed(path: Path) -> Finding | None:
    try:
        mode = path.stat().st_mode
        folder = path.parent.stat().st_mode
    except OSError as error:
        return trouble("permissions", f"{path}: {error.strerror}", "as whom do you ask?")
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        return trouble(
            "permissions", f"{path} has mode {stat.S_IMODE(mode):04o}", f"chmod 600 {path}"
        )
    if folder & (stat.S_IWGRP | stat.S_IWOTH) and not folder & stat.S_ISVTX:
        return trouble(
            "permissions", f"others can replace files in {path.parent}", f"chmod go-w {path.parent}"
        )
    return None


def audit_log(path: Path) -> Finding:
    """Follow the chain of security events."""
    try:
        with path.open("rb") as file:
            head = follow(file)
    except FileNotFoundError:
        return ok("audit log", "none yet")
    except OSError as error:
        return trouble("audit log", f"{path}: {error.strerror}", "as whom do you ask?")
    except ChainBroken as error:
        return trouble("audit log", f"{path}: {error}", "find out who changed it; keep the file")
    return ok("audit log", f"{head.n} records, the last {head.hash[:16]}...")


def disk(folder: Path) -> Finding:
    """Look at the room for the store: a full disk stops key, not light."""
    try:
        room = os.statvfs(folder)
    except OSError as error:
        return trouble("disk", f"{folder}: {error.strerror}", "make the folder of store.path")
    if room.f_flag & os.ST_RDONLY:
        return trouble("disk", f"{folder} is read-only", "remount it; look for a failing disk")
    free = room.f_bavail * room.f_frsize
    text = f"{free / 1e9:.1f} GB free for the store"
    if free < MIN_FREE_BYTES:
        return trouble("disk", text, "make room")
    return warning("disk", text, "make room") if free < WARN_FREE_BYTES else ok("disk", text)
