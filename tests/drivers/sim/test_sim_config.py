"""LAB.toml: every mistake is reported with its file and its place."""

from pathlib import Path

import pytest

from drivers.sim.config import LabConfigError, read_lab

LAB = """
seed = 7
[[links]]
name = "a-b"
[links.fibre]
length_km = 50
[links.instruments]
laser = { model = "koheron-ctl200", listen = "pty:laser" }
attenuator = { model = "agilent-8156a", listen = "tcp:127.0.0.1:0" }
encoder = { model = "qmse-1", listen = "tcp:127.0.0.1:0", key_file = "board.key" }
tagger = { model = "s15-tdc1", listen = "tcp:127.0.0.1:0" }
"""


def read(tmp_path: Path, text: str):
    path = tmp_path / "lab.toml"
    path.write_text(text)
    return read_lab(path)


def test_what_is_not_said_has_a_default(tmp_path):
    link = read(tmp_path, LAB).links[0]
    assert (link.fibre.length_km, link.fibre.loss_db, link.attack) == (50.0, 12.0, None)
    assert link.source.power_mw(150.0) == pytest.approx(14.0)
    assert link.source.power_mw(5.0) == 0.0


@pytest.mark.parametrize(
    ("wrong", "right", "complaint"),
    [
        ('length_km = "far"', "length_km = 50", "$.links[0].fibre.length_km"),
        ("length_kn = 50", "length_km = 50", "length_kn"),
        ('model = "s15-tdc9"', 'model = "s15-tdc1"', "s15-tdc9"),
        ('listen = "udp:1"', 'listen = "pty:laser"', "$.links[0].instruments.laser.listen"),
        ("seed = -1", "seed = 7", "$.seed"),
        ("seed = ", "seed = 7", "lab.toml"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path, wrong, right, complaint):
    with pytest.raises(LabConfigError) as caught:
        read(tmp_path, LAB.replace(right, wrong))
    assert complaint in str(caught.value)
    assert str(tmp_path / "lab.toml") in str(caught.value)


def test_two_links_cannot_share_a_name_or_a_serial_line(tmp_path):
    second = LAB[LAB.index("[[links]]") :]
    with pytest.raises(LabConfigError, match="unique"):
        read(tmp_path, LAB + second)
    with pytest.raises(LabConfigError, match="pty:laser"):
        read(tmp_path, LAB + second.replace("a-b", "b-c"))


def test_a_board_that_cannot_hear_a_hang_up_is_refused(tmp_path):
    wrong = LAB.replace(
        'model = "qmse-1", listen = "tcp:127.0.0.1:0"', 'model = "qmse-1", listen = "pty:x"'
    )
    with pytest.raises(LabConfigError, match="hear its host"):
        read(tmp_path, wrong)


@pytest.mark.parametrize("text", ["a = " + "[" * 20_000, "a = " + "1" * 5_000])
def test_toml_that_is_nested_or_counted_without_an_end_is_no_lab(tmp_path, text):
    with pytest.raises(LabConfigError, match=r"lab\.toml"):
        read(tmp_path, text)
