"""Who is at the other end of a TLS connection: names in its certificate."""

from collections.abc import Iterator
from typing import Any, Protocol

from qkdd.net.pki import NODE_URN, SAE_URN


class ShowsCertificate(Protocol):
    """A TLS connection whose handshake is over."""

    def getpeercert(self) -> dict[str, Any] | None: ...


def _names(stream: ShowsCertificate) -> tuple[list[str], list[str], list[str]]:
    """URIs, DNS names and common names of the verified peer certificate, in that order."""
    certificate = stream.getpeercert() or {}
    alternative = certificate.get("subjectAltName", ())
    uris = [value for kind, value in alternative if kind == "URI"]
    dns = [value for kind, value in alternative if kind == "DNS"]
    subject = (pair for relative in certificate.get("subject", ()) for pair in relative)
    common = [value for name, value in subject if name == "commonName"]
    return uris, dns, common


def sae_candidates(stream: ShowsCertificate) -> Iterator[str]:
    """SAE IDs that the certificate may speak for: the URI's first, then DNS name, then CN.

    ETSI GS QKD 014 does not say which field names the SAE; the registry decides which is known.
    """
    uris, dns, common = _names(stream)
    yield from (uri.removeprefix(SAE_URN) for uri in uris if uri.startswith(SAE_URN))
    if not any(uri.startswith(("urn:qkdd:", NODE_URN)) for uri in uris):
        yield from dns
        yield from common
