"""The doctor finds what is made wrong for it, says how bad it is, and is content otherwise."""

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from qkdd.cli.__main__ import main
from qkdd.cli.doctor import host
from qkdd.cli.doctor.files import audit_log, certificates, disk, permissions, revocation
from qkdd.cli.doctor.finding import LEVELS, Finding, ok, trouble, warning, worst
from qkdd.cli.doctor.relay import check_kernels, check_relay
from qkdd.config import Relay, load
from qkdd.daemon.audit import append_once, audit_path
from qkdd.net.pki import Authority
from tests.daemon.relay_files import NOW, install_psk, relay_file
from tests.daemon.test_metrics import snapshot

DAY = datetime.timedelta(days=1)


@pytest.fixture
def relay(tmp_path: Path) -> Relay:
    config = relay_file(tmp_path)
    install_psk(config)
    return load(config)


def not_ok(findings: object) -> list[tuple[str, str]]:
    return [(one.level, one.text) for one in findings if one.level != "ok"]  # type: ignore[attr-defined]


def test_the_worst_finding_decides() -> None:
    one, two, three = ok("a", "x"), warning("b", "x", "y"), trouble("c", "x", "y")
    assert [worst(some) for some in ([], [one], [one, two], [two, three, one])] == [
        "ok",
        "ok",
        "warning",
        "trouble",
    ]
    assert [LEVELS.index(worst([some])) for some in (one, two, three)] == [0, 1, 2]


def test_files_as_qkdd_makes_them_are_well(relay: Relay) -> None:
    assert not_ok(certificates(relay.node, NOW)) == []
    found = not_ok(permissions(relay))
    assert [text.split(":")[0] for _, text in found] == ["it is on the file system of the store"]


@pytest.mark.parametrize(
    ("after_days", "level", "text"),
    [
        (334, "ok", "for 31 days"),
        (336, "warning", "expires in 29.0 days"),
        (366, "trouble", "has expired"),
        (-1, "trouble", "is valid from"),
    ],
)
def test_a_certificate_is_held_against_the_clock(
    relay: Relay, after_days: int, level: str, text: str
) -> None:
    own, authority = list(certificates(relay.node, NOW + after_days * DAY))
    assert (own.level, authority.level) == (level, level)
    assert text in own.text


@pytest.mark.parametrize(("after_days", "level"), [(0, "ok"), (9, "trouble")])
def test_a_revocation_list_is_held_against_the_clock(
    relay: Relay, after_days: int, level: str
) -> None:
    folder = relay.node.ca.parent
    crl = Authority.open_or_create(folder, now=NOW, days=1).revoke([], now=NOW, days=7)
    assert revocation(crl, relay.node.ca, NOW + after_days * DAY).level == level
    crl.write_text("nothing")
    assert revocation(crl, relay.node.ca, NOW).level == "trouble"


def test_an_audit_log_that_was_changed_is_trouble(relay: Relay) -> None:
    path = audit_path(relay.store.path)
    assert audit_log(path).level == "ok"  # of the key that was installed
    append_once(relay.store.path, "one")
    append_once(relay.store.path, "two")
    assert "3 records" in audit_log(path).text
    path.write_bytes(path.read_bytes().replace(b'"event":"one"', b'"event":"all"'))
    assert audit_log(path).level == "trouble"
    path.unlink()
    assert audit_log(path).text == "none yet"


def other_key(folder: Path) -> None:
    Authority.open_or_create(folder, now=NOW, days=1).issue_node("b", now=NOW, days=365)
    shutil.copy(folder / "b.key", folder / "a.key")


def other_authority(folder: Path) -> None:
    Authority.open_or_create(folder / "x", now=NOW, days=365)
    shutil.copy(folder / "x/ca.pem", folder / "ca.pem")


def other_name(folder: Path) -> None:
    Authority.open_or_create(folder, now=NOW, days=1).issue_node("b", now=NOW, days=365)
    for end in ("pem", "key"):
        shutil.copy(folder / f"b.{end}", folder / f"a.{end}")


def rubbish(folder: Path) -> None:
    (folder / "a.pem").write_text("no certificate")


@pytest.mark.parametrize(
    ("spoil", "text"),
    [
        (other_key, "a.key is not its key"),
        (other_authority, "not signed by an authority of"),
        (other_name, "names urn:qkdd:node:b, not urn:qkdd:node:a"),
        (rubbish, "cannot be read"),
    ],
)
def test_a_certificate_that_neighbours_would_refuse_is_trouble(
    relay: Relay, tmp_path: Path, spoil: Callable[[Path], None], text: str
) -> None:
    spoil(tmp_path)
    ((level, found),) = not_ok(certificates(relay.node, NOW))
    assert level == "trouble"
    assert text in found


@pytest.mark.parametrize("name", ["a.key", "master.key", "a.db"])
@pytest.mark.parametrize("mode", [0o640, 0o604])
def test_a_secret_that_others_may_read_is_trouble(
    relay: Relay, tmp_path: Path, name: str, mode: int
) -> None:
    (tmp_path / name).chmod(mode)
    assert ("trouble", f"{tmp_path / name} has mode {mode:04o}") in not_ok(permissions(relay))


def test_a_folder_in_which_others_may_replace_secrets_is_trouble(
    relay: Relay, tmp_path: Path
) -> None:
    tmp_path.chmod(0o777)
    assert ("trouble", f"others can replace files in {tmp_path}") in not_ok(permissions(relay))
    tmp_path.chmod(0o1777)
    assert not any("replace" in text for _, text in not_ok(permissions(relay)))


def test_a_secret_that_is_missing_is_trouble_and_a_credential_is_not(
    relay: Relay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "master.key").unlink()
    assert any(str(tmp_path / "master.key") in text for _, text in not_ok(permissions(relay)))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    config = tmp_path / "a.toml"
    text = config.read_text().replace('"master.key"', '"$CREDENTIALS_DIRECTORY/master.key"')
    config.write_text(text)
    assert not_ok(permissions(load(config))) == []


def test_room_on_the_disk_is_told_and_a_folder_that_is_missing_is_trouble(tmp_path: Path) -> None:
    assert "GB free" in disk(tmp_path).text
    assert disk(tmp_path / "nowhere").level == "trouble"


class Proc:
    """A /proc of files: what a host with this or that fault would show."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.write("sys/kernel/random/entropy_avail", "256\n")
        self.write("swaps", "Filename\tType\tSize\tUsed\tPriority\n")
        self.write("sys/kernel/core_pattern", "core\n")
        self.limits(core="0", locked="8388608")

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def limits(self, *, core: str, locked: str) -> None:
        self.write(
            "7/limits",
            "Limit                     Soft Limit           Hard Limit           Units     \n"
            f"Max core file size        {core:<20} unlimited            bytes     \n"
            f"Max locked memory         {locked:<20} {locked:<20} bytes     \n",
        )


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def test_a_sound_host_is_well(proc: Proc) -> None:
    checks = (host.entropy(proc.folder), host.swap(7, proc.folder), host.core_dumps(7, proc.folder))
    assert not_ok(checks) == []


def test_an_unseeded_or_unknown_pool_is_a_warning(proc: Proc, tmp_path: Path) -> None:
    proc.write("sys/kernel/random/entropy_avail", "63\n")
    assert host.entropy(proc.folder).level == "warning"
    assert host.entropy(tmp_path / "nowhere").level == "warning"


def test_swap_is_a_warning_unless_the_daemon_may_lock_its_keys(proc: Proc) -> None:
    proc.write("swaps", "Filename Type Size Used Priority\n/dev/sda2 partition 1 0 -2\n")
    found = host.swap(7, proc.folder)
    assert (found.level, "/dev/sda2" in found.text) == ("warning", True)
    assert host.swap(None, proc.folder).level == "warning"
    for enough in ("67108864", "unlimited"):
        proc.limits(core="0", locked=enough)
        assert host.swap(7, proc.folder).level == "ok"


def test_core_dumps_that_the_daemon_cannot_stop_are_found(proc: Proc) -> None:
    proc.limits(core="unlimited", locked="0")
    assert host.core_dumps(7, proc.folder).level == "trouble"
    proc.limits(core="0", locked="0")
    for pattern, level in (
        ("|/usr/lib/systemd/systemd-coredump %P", "ok"),
        ("|/opt/catcher %p", "warning"),
        ("|", "warning"),
        ("/var/core.%p", "ok"),
    ):
        proc.write("sys/kernel/core_pattern", pattern + "\n")
        assert host.core_dumps(7, proc.folder).level == level, pattern


TRACKING = "C0248F97,192.36.143.151,2,1763902392.1,{},0.0,0.0,-3.2,0.0,0.0,0.01,0.001,64.4,{}\n"


@pytest.mark.parametrize(
    ("said", "level"),
    [
        (TRACKING.format("0.000012", "Normal"), "ok"),
        (TRACKING.format("-0.1", "Normal"), "warning"),
        (TRACKING.format("-0.31", "Normal"), "trouble"),
        (TRACKING.format("0.0", "Not synchronised"), "trouble"),
        ("506 Cannot talk to daemon\n", "warning"),
    ],
)
def test_the_clock_is_as_chrony_says(said: str, level: str) -> None:
    assert host.clock(chrony=lambda: said).level == level


def test_without_chrony_the_kernel_is_asked() -> None:
    assert host.clock(chrony=lambda: None, kernel=lambda: 0).level == "ok"
    assert host.clock(chrony=lambda: None, kernel=lambda: host.TIME_ERROR).level == "warning"
    assert host.clock().check == "clock"


def test_a_relay_that_makes_key_is_well_and_one_that_does_not_is_not() -> None:
    def levels(**link: object) -> dict[str, str]:
        sound = {"reason": None, "hours_of_stock": 3.0, "auth_left_bits": 10**6, "auth_bad_tags": 0}
        found = check_relay(snapshot(**(sound | link)), 4096)
        return {one.check: one.level for one in found if one.level != "ok"}

    assert levels() == {}
    assert levels(state="dark") == {"link": "warning"}
    assert levels(state="down", reason="TLS") == {"link": "trouble"}
    assert levels(hours_of_stock=1.9) == {"stock": "warning"}
    assert levels(hours_of_stock=0.2) == {"stock": "trouble"}
    assert levels(hours_of_stock=None) == {}
    assert levels(auth_left_bits=2 * 8 * 4096) == {"authentication key": "trouble"}
    assert levels(auth_left_bits=2 * 8 * 4097) == {"authentication key": "warning"}
    assert levels(auth_bad_tags=1) == {"authentication": "trouble"}
    assert check_kernels({"ldpc": "avx2"}).level == "ok"
    assert check_kernels({"ldpc": "numpy", "tdc1": "c"}).text == "NumPy serves for ldpc"


def doctor(config: Path) -> tuple[int, list[Finding], str]:
    done = CliRunner().invoke(main, ["doctor", str(config), "--json"])
    said = json.loads(done.stdout)
    return done.exit_code, said["findings"], said["worst"]


def test_the_exit_status_is_that_of_the_worst_finding(relay: Relay, tmp_path: Path) -> None:
    config = tmp_path / "a.toml"
    code, findings, verdict = doctor(config)
    assert (code, verdict) in [(1, "warning"), (2, "trouble")]  # the second: this host's own
    assert code >= LEVELS.index(verdict)
    assert all(one["cure"] for one in findings if one["level"] != "ok")  # type: ignore[index]
    (tmp_path / "master.key").chmod(0o644)
    assert doctor(config)[0] == 2
    shown = CliRunner().invoke(main, ["doctor", str(config)])
    assert shown.exit_code == 2
    assert "trouble  permissions: " in shown.stdout
    assert f"-> chmod 600 {tmp_path / 'master.key'}" in shown.stdout


def test_a_configuration_that_cannot_be_read_is_trouble_and_the_host_is_still_examined(
    tmp_path: Path,
) -> None:
    (tmp_path / "a.toml").write_text("[node]\nid = 3\n")
    code, findings, _ = doctor(tmp_path / "a.toml")
    assert code == 2
    checks = {one["check"] for one in findings}  # type: ignore[index]
    assert {"configuration", "entropy", "clock", "kernels"} <= checks
