"""``qkdd optimise`` as a command: the piece of TOML, JSON, pictures, and how it says no."""

import tomllib
import xml.etree.ElementTree as ET
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from qkdd.base.toml import convert
from qkdd.cli.__main__ import main
from qkdd.cli.optimise.answer import Answer
from qkdd.cli.optimise.svg import Axis, Curve, line_plot
from qkdd.config import Relay

PAIR = [Path("configs/pair/relay-a.toml"), Path("configs/pair/relay-b.toml")]
QUICK = ("--clock-mhz", "100", "--splitter", "0.84")


def asked(*options: str) -> Result:
    return CliRunner().invoke(main, ["optimise", *options])


def test_the_piece_of_toml_fits_both_ends_of_a_pair() -> None:
    result = asked("--loss-db", "15", *QUICK)
    assert result.exit_code == 0
    piece = tomllib.loads(result.stdout)["links"]
    assert set(piece) == {"light", "intensities", "frames"}
    ends = []
    for path in PAIR:
        table = tomllib.loads(path.read_text())
        table["links"][0] |= piece
        ends.append(convert(table, Relay).links[0])
    assert ends[0].light == ends[1].light
    assert ends[0].intensities == ends[1].intensities
    assert ends[0].frames == ends[1].frames
    assert ends[0].light.pulse_rate_hz == 100_000_000


def test_json_has_the_same_settings_and_progress_is_on_stderr() -> None:
    words, result = (asked("--loss-db", "15", *QUICK, *more) for more in ((), ("--json",)))
    answer = msgspec.json.decode(result.stdout, type=Answer)
    assert answer.toml in words.stdout
    assert answer.predicted.secret_bits_per_s * 16 == answer.predicted.secret_bits
    assert f"{answer.predicted.secret_bits_per_s / 1e3:.1f} kbit/s" in words.stdout
    assert "100 MHz:" in result.stderr
    assert answer.present is None


def test_a_configuration_lends_its_proof_and_is_compared() -> None:
    result = asked("--loss-db", "15", *QUICK, "--config", str(PAIR[0]), "--json")
    answer = msgspec.json.decode(result.stdout, type=Answer)
    assert answer.present is not None
    assert 0 < answer.present.secret_bits_per_s < answer.predicted.secret_bits_per_s
    careless = msgspec.json.decode(asked("--loss-db", "15", *QUICK, "--json").stdout, type=Answer)
    # The pair's mu_uncertainty of 1 % costs key.
    assert answer.predicted.secret_bits < careless.predicted.secret_bits


def test_a_loss_without_key_says_why_and_ends_with_one() -> None:
    result = asked("--loss-db", "60", *QUICK)
    assert result.exit_code == 1
    assert "no settings make key" in result.stderr
    assert not result.stdout


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        ((), 2, "--loss-db"),
        (("--loss-db", "-1"), 2, "-1"),
        (("--loss-db", "nan"), 2, "nan"),
        (("--loss-db", "15", "--efficiency", "0"), 2, "efficiency"),
        (("--loss-db", "15", "--for", "luck"), 2, "luck"),
        (("--loss-db", "15", "--link", "a-b"), 2, "--link needs --config"),
        (("--loss-db", "15", "--config", "configs/pair/relay-a.toml", "--link", "x"), 2, "a-b"),
        (("--loss-db", "15", "--config", "nowhere.toml"), 1, "cannot read nowhere.toml"),
        (("--loss-db", "15", "--clock-mhz", "400"), 1, "three ticks"),
    ],
)
def test_a_wrong_question_is_named(options: tuple[str, ...], status: int, words: str) -> None:
    result = asked(*options)
    assert result.exit_code == status
    assert words in result.stderr


def test_an_announced_length_is_nothing_to_choose_by(tmp_path: Path) -> None:
    text = (
        PAIR[0]
        .read_text()
        .replace(
            "[links.proof]", '[links.proof]\nproof = "lim-2014"\nannounced_bits_per_pulse = 1e-3'
        )
    )
    (tmp_path / "relay.toml").write_text(text)
    result = asked("--loss-db", "15", "--config", str(tmp_path / "relay.toml"))
    assert result.exit_code == 1
    assert "announces its length" in result.stderr


def test_pictures_are_drawn_with_a_curve_for_each_choice(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "plots"
    result = asked("--loss-db", "15", *QUICK, "--plot", str(folder))
    assert result.exit_code == 0
    for name, curves in (("rate-over-loss.svg", 2), ("rate-over-block.svg", 1)):
        root = ET.fromstring((folder / name).read_text())
        lines = root.findall("{http://www.w3.org/2000/svg}polyline")
        assert len(lines) == 2 * curves  # and a sample of each in the legend
    (tmp_path / "file").write_text("")
    result = asked("--loss-db", "15", *QUICK, "--plot", str(tmp_path / "file" / "x"))
    assert result.exit_code == 1
    assert "cannot draw" in result.stderr


def test_a_plot_without_a_point_is_refused_and_zero_is_left_out_of_a_logarithm() -> None:
    axis = Axis("x")
    with pytest.raises(ValueError, match="no point"):
        line_plot("t", axis, Axis("y", log=True), [Curve("none", [(1.0, 0.0)])])
    text = line_plot("a < b", axis, Axis("y", log=True), [Curve("c", [(0, 0), (1, 10), (2, 50)])])
    points = ET.fromstring(text).findall("{http://www.w3.org/2000/svg}polyline")[0].get("points")
    assert points is not None
    assert len(points.split()) == 2
