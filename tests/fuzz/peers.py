"""What a neighbour's bytes meet first: certificate, frames, hello, batch; and the agreement."""

import datetime
import tempfile
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from qkdd.base.agreement import agreement, check_agreement
from qkdd.base.errors import PeerError
from qkdd.base.ids import NodeId
from qkdd.base.light import Intensities, LightPlan
from qkdd.net.codec import MESSAGES, decode_batch, encode_message, join_batch
from qkdd.net.framing import Frame, FrameReader, Kind, frame_bytes
from qkdd.net.hello import Hello, check_answer, decode_hello, encode_hello
from qkdd.net.pki import Authority
from qkdd.net.revocation import Revoked
from qkdd.net.tls import node_of_certificate
from tests.fuzz.mutate import dictionary
from tests.fuzz.samples import sample_messages
from tests.fuzz.target import Target

NOW = datetime.datetime(2026, 6, 1, tzinfo=datetime.UTC)
HELLO = Hello(link="a-b", node="a", peer="b", incarnation=7, tx=640, rx=320, psk_id=b"12345678")
ANSWER = Hello(link="a-b", node="b", peer="a", incarnation=3, tx=320, rx=640, psk_id=b"12345678")
OURS = agreement(light=LightPlan(), intensities=Intensities(), codes="family")


def frames() -> Target:
    small = Frame(Kind.BATCH, b"payload", bytes(16))
    hello = frame_bytes(Frame(Kind.HELLO, encode_hello(HELLO), b""))

    def feed(data: bytes) -> bool:
        """In two pieces; the frames that come out are those that, written again, were put in."""
        reader, again = FrameReader(), b""
        try:
            for piece in (data[: len(data) // 2], data[len(data) // 2 :]):
                reader.feed(piece)
                while (frame := reader.next_frame()) is not None:
                    again += frame_bytes(frame)
        except PeerError:
            return False
        finally:
            assert data.startswith(again), "a frame came out that nobody put in"
        return bool(again)

    seeds = (hello, frame_bytes(small), hello + frame_bytes(small) * 3)
    return Target("frames", "peer", seeds, feed, words=(b"QKDD", hello[:12]))


def hello() -> Target:
    def feed(data: bytes) -> bool:
        try:
            check_answer(HELLO, decode_hello(data, peer=NodeId("b")))
        except PeerError:
            return False
        return True

    seeds = (encode_hello(ANSWER), encode_hello(HELLO))
    return Target("hello", "peer", seeds, feed, "msgpack", words=(b"Hello", b"a-b"))


def batch() -> Target:
    """Every message there is, with every field that it has."""

    def feed(data: bytes) -> bool:
        try:
            messages = decode_batch(data)
        except PeerError:
            return False
        for message in messages:
            encode_message(message)  # what is let in can be said
        return True

    samples = [encode_message(message) for message in sample_messages()]
    seeds = (*(join_batch([one]) for one in samples), join_batch(samples[:6]))
    names = dictionary([kind.__name__ for kind in MESSAGES])
    return Target("batch", "peer", seeds, feed, "msgpack", words=names)


def agreed() -> Target:
    def feed(data: bytes) -> bool:
        try:
            check_agreement(OURS, msgspec.structs.replace(OURS, text=data))
        except PeerError:
            return False
        return True

    return Target("agreement", "peer", (OURS.text,), feed, "json")


def certificate() -> Target:
    """DER of a certificate whose signature TLS has verified: who is it, and is it revoked?"""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority.open_or_create(Path(folder), now=NOW, days=30)
        issued = authority.issue_node("b", now=NOW, days=1)
        pem = issued.certificate.read_bytes()
    true = x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
    revoked = Revoked(frozenset({(b"issuer", 1)}))

    def feed(data: bytes) -> bool:
        try:
            revoked.check(data)
            return node_of_certificate(data) == "b"
        except PeerError:
            return False

    return Target("certificate", "peer", (true,), feed, words=(b"urn:qkdd:node:", b"urn:qkdd:"))


def targets() -> list[Target]:
    return [frames(), hello(), batch(), agreed(), certificate()]
