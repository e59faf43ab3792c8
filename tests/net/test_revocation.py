"""Revocation lists: who is on one is refused; a list that cannot be used says why."""

import base64
import datetime
from pathlib import Path

import pytest
import trio
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from qkdd.base.errors import ConfigError, PeerError
from qkdd.base.ids import NodeId
from qkdd.net.pki import Authority, Issued
from qkdd.net.revocation import NONE, Revoked, read_crls, refuse_older
from qkdd.net.tls import node_of_certificate
from qkdd.net.trust import TrustFiles, TrustKeeper, check_certificate, read_trust

NOW = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
DAY = datetime.timedelta(days=1)


def authority(folder: Path) -> Authority:
    return Authority.open_or_create(folder, now=NOW, days=30)


def der(issued: Issued) -> bytes:
    return x509.load_pem_x509_certificate(issued.certificate.read_bytes()).public_bytes(
        Encoding.DER
    )


def test_who_is_on_the_list_is_refused_and_who_is_not_passes(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    a, b, c = (ours.issue_node(name, now=NOW, days=1) for name in "abc")
    path = ours.revoke([a.certificate], now=NOW, days=1)
    assert len(read_crls(path, ours.certificate).certificates) == 1
    path = ours.revoke([b.certificate], now=NOW, days=1)
    revoked = read_crls(path, ours.certificate)
    for one in (a, b):
        with pytest.raises(PeerError, match=r"peer's certificate refused: CN=[ab] is revoked"):
            revoked.check(der(one))
    revoked.check(der(c))
    NONE.check(der(a))


@given(st.binary(min_size=1, max_size=200))
def test_no_bytes_of_a_certificate_do_anything_but_refuse_it(noise: bytes) -> None:
    with pytest.raises(PeerError):
        Revoked(frozenset({(b"issuer", 1)})).check(noise)


def test_a_certificate_of_an_unknown_version_is_refused_by_name(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    true = der(ours.issue_node("a", now=NOW, days=1))
    version_3 = bytes.fromhex("a003020102")
    assert true.count(version_3) == 1
    odd = true.replace(version_3, bytes.fromhex("a003020106"))
    with pytest.raises(PeerError, match="not a valid X509 version"):
        Revoked(frozenset({(b"issuer", 1)})).check(odd)
    with pytest.raises(PeerError, match="not a valid X509 version"):
        node_of_certificate(odd)


def test_a_name_of_the_wrong_kind_of_text_is_refused_in_words(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    true = der(ours.issue_node("a", now=NOW, days=1))
    common_name_utf8 = bytes.fromhex("0603550403 0c".replace(" ", ""))
    assert common_name_utf8 in true
    odd = true.replace(common_name_utf8, bytes.fromhex("060355040303"))  # as a string of bits
    with pytest.raises(PeerError, match="cannot be understood"):
        Revoked(frozenset({(b"issuer", 1)})).check(odd)


def test_the_same_serial_number_of_another_authority_is_not_meant(tmp_path: Path) -> None:
    ours = authority(tmp_path / "ours")
    a = ours.issue_node("a", now=NOW, days=1)
    revoked = read_crls(ours.revoke([a.certificate], now=NOW, days=1), ours.certificate)
    ((_, serial),) = revoked.certificates
    assert (b"another name", serial) not in revoked.certificates


def test_a_list_that_nobody_trusted_has_signed_is_refused(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path / "ours"), authority(tmp_path / "theirs")
    path = theirs.revoke([], now=NOW, days=1)
    with pytest.raises(ConfigError, match="not signed by an authority of"):
        read_crls(path, ours.certificate)


@pytest.mark.parametrize("text", [b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----"])
def test_a_file_that_is_no_list_is_named(tmp_path: Path, text: bytes) -> None:
    ours = authority(tmp_path)
    path = tmp_path / "some.crl"
    with pytest.raises(ConfigError, match=r"cannot read the revocation list .*some\.crl"):
        read_crls(path, ours.certificate)
    path.write_bytes(text)
    with pytest.raises(ConfigError, match=r"some\.crl"):
        read_crls(path, ours.certificate)


@given(st.binary(max_size=300), st.integers(0, 600))
def test_no_bytes_in_the_file_do_anything_but_name_it(
    tmp_path_factory: pytest.TempPathFactory, noise: bytes, where: int
) -> None:
    folder = tmp_path_factory.mktemp("noise")
    ours = authority(folder)
    path = ours.revoke([], now=NOW, days=1)
    text = path.read_bytes()
    path.write_bytes(text[:where] + noise + text[where + len(noise) :])
    try:
        read_crls(path, ours.certificate)
    except ConfigError as error:
        assert "ca.crl" in str(error)


def test_a_list_whose_issuer_is_damaged_is_named(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    path = ours.revoke([], now=NOW, days=1)
    whole = x509.load_pem_x509_crl(path.read_bytes()).public_bytes(Encoding.DER)
    name = b"qkdd test authority"
    damaged = whole.replace(name, b"\xff" * len(name))
    assert damaged != whole
    text = "\n".join(("-----BEGIN X509 CRL-----", base64.encodebytes(damaged).decode().strip()))
    text += "\n-----END X509 CRL-----\n"
    path.write_text(text)
    with pytest.raises(ConfigError, match=r"ca\.crl"):
        read_crls(path, ours.certificate)


def test_a_list_that_is_overdue_says_so_and_still_counts(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    a = ours.issue_node("a", now=NOW, days=1)
    path = ours.revoke([a.certificate], now=NOW - 3 * DAY, days=1)
    revoked = read_crls(path, ours.certificate)
    assert "is due since" in (revoked.overdue(NOW) or "")
    assert revoked.overdue(NOW - 3 * DAY) is None
    with pytest.raises(PeerError, match="revoked"):
        revoked.check(der(a))


def test_an_older_list_does_not_take_the_place_of_a_newer_one(tmp_path: Path) -> None:
    ours = authority(tmp_path)
    old = read_crls(ours.revoke([], now=NOW - DAY, days=1), ours.certificate)
    new = read_crls(ours.revoke([], now=NOW, days=1), ours.certificate)
    refuse_older(old, new, None)
    refuse_older(new, new, None)
    refuse_older(NONE, old, None)
    for worse in (old, NONE):
        with pytest.raises(ConfigError, match="older than the one in use"):
            refuse_older(new, worse, None)


async def test_a_peer_whose_certificate_is_taken_back_is_told_of_while_the_session_runs(
    tmp_path: Path,
) -> None:
    ours = authority(tmp_path)
    node, peer = (ours.issue_node(name, now=NOW, days=1) for name in "ab")
    files = TrustFiles(node.certificate, node.key, ours.certificate)
    keeper = TrustKeeper(read_trust(files))
    told: list[str] = []

    async def session() -> None:
        try:
            await keeper.until_revoked(der(peer))
        except PeerError as error:
            told.append(str(error))

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(session)
            await trio.testing.wait_all_tasks_blocked()
            keeper.replace(read_trust(files))
            await trio.testing.wait_all_tasks_blocked()
            assert not told
            crl = ours.revoke([peer.certificate], now=NOW, days=1)
            keeper.replace(read_trust(TrustFiles(*plain(files), crl)))
    assert "is revoked" in told[0]


def plain(files: TrustFiles) -> tuple[Path, Path, Path]:
    return files.certificate, files.key, files.ca


def test_a_new_certificate_that_neighbours_would_refuse_is_refused_before(tmp_path: Path) -> None:
    ours, theirs = authority(tmp_path / "ours"), authority(tmp_path / "theirs")

    def refused(issued: Issued, why: str) -> None:
        files = TrustFiles(issued.certificate, issued.key, ours.certificate)
        with pytest.raises(ConfigError, match=why):
            check_certificate(files, NodeId("a"), NOW)

    good = ours.issue_node("a", now=NOW, days=1)
    check_certificate(TrustFiles(good.certificate, good.key, ours.certificate), NodeId("a"), NOW)
    refused(ours.issue_node("b", now=NOW, days=1), "names node b, this is a")
    refused(ours.issue_node("a", now=NOW - 3 * DAY, days=1), "is valid from .* only")
    refused(theirs.issue_node("a", now=NOW, days=1), "not signed by an authority")
    refused(ours.issue_sae("a", now=NOW, days=1), "names 0 nodes")
    refused(Issued(tmp_path / "none.pem", tmp_path / "none.key"), r"none\.pem cannot be used")
    other = theirs.issue_node("z", now=NOW, days=1)
    with pytest.raises(ConfigError, match="cannot be used together"):
        read_trust(TrustFiles(good.certificate, other.key, ours.certificate))
