"""What ``qkdd optimise`` answers: the settings as a piece of TOML, and what they should give."""

import math

import msgspec

from qkdd.amplify.settings import ProofSettings
from qkdd.cli.optimise.model import Choice, Expected, Measured, expect


class Prediction(msgspec.Struct, frozen=True, kw_only=True):
    """One block of the longest kind, as the model expects it and the daemon would bound it."""

    clicks_per_s: float
    sifted_bits_per_s: float
    qber: float
    phase_error: float
    disclosed_bits: int
    secret_bits: int
    secret_bits_per_s: float
    secret_bits_per_click: float
    reason: str | None


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """The whole answer, as ``--json`` prints it."""

    pulse_rate_hz: int
    block_s: float
    key_splitter: float
    weak_db: float
    """The encoder's weak state below its signal."""
    vacuum_db: float
    tried: int
    predicted: Prediction
    present: Prediction | None
    """The same of the settings in the configuration that was given, if any."""
    toml: str


def prediction(measured: Measured, choice: Choice, proof: ProofSettings) -> Prediction:
    return prediction_of(expect(measured, choice, proof))


def prediction_of(expected: Expected) -> Prediction:
    bits = expected.length.n_out
    return Prediction(
        clicks_per_s=expected.clicks / expected.seconds,
        sifted_bits_per_s=expected.counts.n_key / expected.seconds,
        qber=expected.qber,
        phase_error=expected.length.phi,
        disclosed_bits=expected.disclosed_bits,
        secret_bits=bits,
        secret_bits_per_s=bits / expected.seconds,
        secret_bits_per_click=bits / expected.clicks if expected.clicks else 0.0,
        reason=expected.length.reason,
    )


def below_db(mu: float, signal_mu: float) -> float:
    return 10.0 * math.log10(signal_mu / mu) if mu else math.inf


def piece_of_toml(choice: Choice) -> str:
    """Every setting that both ends must say alike, to be put below ``[[links]]`` at each."""
    light, plan, frames = choice.intensities, choice.light, choice.frames
    ramp = ", ".join(str(frames_) for frames_ in plan.ramp_frames)
    return f"""[links.light]
pulse_rate_hz = {plan.pulse_rate_hz}
preamble_pulses = {plan.preamble_pulses}
frame_pulses = {plan.frame_pulses}
calibration_pulses = {plan.calibration_pulses}
ramp_frames = [{ramp}]

[links.intensities]
signal_mu = {light.signal_mu}
weak_mu = {light.weak_mu}
vacuum_mu = {light.vacuum_mu}
signal_probability = {light.signal_probability}
weak_probability = {light.weak_probability}
key_basis_probability = {light.key_basis_probability}

[links.frames]
gate_ps = {frames.gate_ps}
dead_time_ps = {frames.dead_time_ps}
detector_recovery_ps = {frames.detector_recovery_ps}
tick_ps = {frames.tick_ps}
"""


def in_words(answer: Answer) -> str:
    """The answer as a file that TOML reads: what is not a setting is a comment."""
    it = answer.predicted
    lines = [
        f"{it.secret_bits_per_s / 1e3:.1f} kbit/s of secret key, {it.secret_bits_per_click:.3f} "
        f"bit a click: blocks of {answer.block_s:g} s, {it.clicks_per_s:.0f} clicks/s, QBER "
        f"{it.qber:.2%}, phase error {it.phase_error:.2%}",
        f"encoder: weak {answer.weak_db:.2f} dB, vacuum {answer.vacuum_db:.2f} dB below signal",
        f"receiver: {answer.key_splitter:.1%} of the light to the key basis",
    ]
    if answer.present is not None:
        told = answer.present.reason or f"{answer.present.secret_bits_per_s / 1e3:.1f} kbit/s"
        lines.append(f"the configuration as it stands: {told}")
    return "".join(f"# {line}\n" for line in lines) + "\n" + answer.toml
