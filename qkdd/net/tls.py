"""TLS between neighbours: 1.3, certificates both ways, the node's name in the certificate."""

import ssl
from pathlib import Path

import trio
from cryptography import x509

from qkdd.base.errors import LinkLost, PeerError
from qkdd.base.ids import NodeId
from qkdd.net.pki import NODE_URN
from qkdd.net.revocation import NO_CERTIFICATE, NONE, Revoked
from qkdd.net.tls_stream import TlsStream

UNREADABLE = (
    *NO_CERTIFICATE,
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
)
"""What comes of reading a certificate that is none."""


def accepting_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """Return the context of the end that listens. Session tickets are off: a resumed session
    would not look at the certificate again."""
    context = _context(ssl.PROTOCOL_TLS_SERVER, certificate, key, ca)
    context.num_tickets = 0
    return context


def dialling_context(certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    """Return the context of the end that dials. The peer is known by its node name, not by its
    host name, so that relays may move."""
    return _context(ssl.PROTOCOL_TLS_CLIENT, certificate, key, ca)


def _context(protocol: int, certificate: Path, key: Path, ca: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_cert_chain(certificate, key)
    context.load_verify_locations(cafile=ca)
    return context


async def dial_tls(
    stream: trio.abc.Stream,
    context: ssl.SSLContext,
    *,
    expected: NodeId,
    revoked: Revoked = NONE,
) -> TlsStream:
    """Shake hands as the dialling end, with ``expected`` and nobody else.

    Error handling: PeerError if the certificate is refused, ``revoked`` or names another node,
    LinkLost if the connection breaks; the stream is closed then. Time limits are the caller's.
    """
    tls = TlsStream(stream, context, server_side=False)
    found = await _shake_hands(tls, revoked)
    if found != expected:
        await trio.aclose_forcefully(stream)
        raise PeerError(f"certificate of node {found!r}, dialled {expected!r}")
    return tls


async def accept_tls(
    stream: trio.abc.Stream, context: ssl.SSLContext, revoked: Revoked = NONE
) -> tuple[TlsStream, NodeId]:
    """Shake hands as the listening end; return who came. Errors as in :func:`dial_tls`."""
    tls = TlsStream(stream, context, server_side=True)
    return tls, await _shake_hands(tls, revoked)


async def _shake_hands(tls: TlsStream, revoked: Revoked) -> NodeId:
    try:
        await tls.do_handshake()
        der = tls.getpeercert(binary_form=True)
        revoked.check(der)
        return node_of_certificate(der)
    except trio.BrokenResourceError as error:
        await trio.aclose_forcefully(tls.transport_stream)
        if isinstance(error.__cause__, ssl.SSLCertVerificationError):
            raise PeerError(f"peer's certificate refused: {error.__cause__}") from error
        raise LinkLost(f"TLS handshake failed: {error.__cause__ or error}") from error
    except PeerError:
        await trio.aclose_forcefully(tls.transport_stream)
        raise


def node_of_certificate(der: bytes | None) -> NodeId:
    """Return the one node that a verified certificate names: URI ``urn:qkdd:node:<id>``.

    Raises
    ------
    PeerError
        If there is none, or more than one.
    """
    if not der:
        raise PeerError("peer showed no certificate")
    try:
        extensions = x509.load_der_x509_certificate(der).extensions
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    except UNREADABLE as error:
        raise PeerError(f"peer's certificate names no node: {error}") from error
    nodes = [uri.removeprefix(NODE_URN) for uri in uris if uri.startswith(NODE_URN)]
    if len(nodes) != 1 or not nodes[0]:
        raise PeerError(f"peer's certificate names {len(nodes)} nodes, must be one {NODE_URN}<id>")
    return NodeId(nodes[0])
