"""The snapshot of a relay in the text format that Prometheus reads (version 0.0.4).

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format". What is
unknown now is left out, so that a rule can tell "unknown" from 0.
"""

import os
import resource
from pathlib import Path

from qkdd.daemon.delivery_metrics import add_delivery
from qkdd.daemon.lane_metrics import add_lane
from qkdd.daemon.metrics_page import Page
from qkdd.daemon.snapshot import BlockFacts, LinkSnapshot, RelaySnapshot
from qkdd.station.detectors import WELL, DetectorFacts
from qkdd.station.polarization import HOLDING

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
PATH = "/metrics"
STATES = ("down", "session", "dark", "searching", "light")
DETECTORS = ("key0", "key1", "test0", "test1")


def metrics_text(relay: RelaySnapshot) -> str:
    """Say the snapshot, and what this process uses, as one page."""
    page = Page()
    page.gauge("qkdd_relay_info", "Which relay this is.", 1, node=relay.node)
    page.gauge("qkdd_uptime_seconds", "Since the daemon's start.", relay.uptime_s)
    for kernel, variant in sorted(relay.kernels.items()):
        page.gauge(
            "qkdd_kernel_compiled",
            "1 if the compiled kernel serves, 0 if its NumPy twin does.",
            int(variant != "numpy"),
            kernel=kernel,
            variant=variant,
        )
    page.gauge(
        "qkdd_entropy_failed",
        "1 if the source of randomness failed its health tests: no link works.",
        int(relay.entropy_failure is not None),
    )
    _process(page)
    for link in relay.links:
        _link(page, link)
        if link.last_block is not None:
            _block(page, link.name, link.last_block)
    for lane in relay.lanes:
        add_lane(page, lane)
    for call in relay.delivery:
        add_delivery(page, call)
    return "\n".join(page.lines()) + "\n"


def _process(page: Page) -> None:
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu_s = used.ru_utime + used.ru_stime
    page.counter("process_cpu_seconds_total", "CPU time of this process.", cpu_s)
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:
        return
    bytes_now = pages * os.sysconf("SC_PAGE_SIZE")
    page.gauge("process_resident_memory_bytes", "Memory of this process.", bytes_now)


def _link(page: Page, link: LinkSnapshot) -> None:
    name = {"link": link.name}
    page.gauge("qkdd_link_info", "Which link this is.", 1, **name, peer=link.peer, role=link.role)
    for state in STATES:
        page.gauge(
            "qkdd_link_state",
            "1 for the state that the link is in.",
            int(link.state == state),
            **name,
            state=state,
        )
    page.gauge("qkdd_link_stock_bits", "Key left for applications.", link.stock_bits, **name)
    page.gauge(
        "qkdd_link_stock_hours",
        "Stock over what is promised and what authentication uses.",
        link.hours_of_stock,
        **name,
    )
    page.gauge(
        "qkdd_link_auth_key_bits",
        "Authentication key left, both directions.",
        link.auth_left_bits,
        **name,
    )
    _light(page, link)
    _blocks(page, link)
    _authentication(page, link)
    for entry, bits in link.account.items():
        page.gauge("qkdd_link_account_bits", "The key account.", bits, **name, entry=entry)


def _light(page: Page, link: LinkSnapshot) -> None:
    name = {"link": link.name}
    page.gauge(
        "qkdd_link_clock_offset_ppm",
        "The neighbour's clock against ours.",
        link.clock_offset_ppm,
        **name,
    )
    page.gauge(
        "qkdd_link_tap_ratio",
        "Power at the transmitter's tap over its calibration.",
        link.tap_ratio,
        **name,
    )
    for intensity, level in (link.tap_levels or {}).items():
        page.gauge(
            "qkdd_link_tap_level",
            "The tap before the run: the signal over its calibration, the others over the signal.",
            level,
            **name,
            intensity=intensity,
        )
    if link.polarization is not None:
        page.gauge(
            "qkdd_link_polarization_held",
            "1 if the polarisation controller's feedback loop holds it.",
            int(link.polarization.state == HOLDING),
            **name,
        )
        for channel, voltage_mv in enumerate(link.polarization.voltages_mv, 1):
            page.gauge(
                "qkdd_link_polarization_mv",
                "Of the polarisation controller's channels.",
                voltage_mv,
                **name,
                channel=str(channel),
            )
    if link.detectors is not None:
        _detectors(page, link.name, link.detectors)
    for basis, qber in (
        ("key", link.qber_calibration_key),
        ("test", link.qber_calibration_test),
    ):
        page.gauge(
            "qkdd_link_calibration_qber",
            "QBER of the last second's calibration segments.",
            qber,
            **name,
            basis=basis,
        )
    page.gauge(
        "qkdd_link_clicks_per_second",
        "Over the blocks of the last 64 s of pulses.",
        link.click_rate,
        **name,
    )
    for kind, rate in (
        ("sifted", link.sifted_bits_per_s),
        ("disclosed", link.disclosed_bits_per_s),
        ("secret", link.secret_bits_per_s),
    ):
        page.gauge(
            "qkdd_link_bits_per_second",
            "Over the blocks of the last 64 s of pulses.",
            rate,
            **name,
            kind=kind,
        )


def _detectors(page: Page, link: str, facts: DetectorFacts) -> None:
    page.gauge(
        "qkdd_link_detectors_well",
        "1 if the detectors' controller finds nothing wrong with them.",
        int(facts.state == WELL),
        link=link,
    )
    page.gauge("qkdd_link_detector_kelvin", "Of the nanowires.", facts.temperature_k, link=link)
    each = [
        ("qkdd_link_detector_bias_ua", "Set points.", {}, facts.bias_ua),
        ("qkdd_link_detector_voltage", "In the controller's own unit.", {}, facts.voltage),
        ("qkdd_link_detector_hz", "Counts a second.", {"by": "controller"}, facts.rates_hz),
        ("qkdd_link_detector_hz", "Counts a second.", {"by": "tagger"}, facts.tagged_hz),
    ]
    for name, what, more, values in each:
        for detector, value in zip(DETECTORS, values, strict=False):
            page.gauge(name, what, value, link=link, detector=detector, **more)


def _blocks(page: Page, link: LinkSnapshot) -> None:
    name = {"link": link.name}
    for result, count in (
        ("key", link.n_blocks - link.n_blocks_without_key),
        ("no_key", link.n_blocks_without_key),
        ("void", link.n_blocks_void),
    ):
        page.counter(
            "qkdd_link_blocks_total",
            "Blocks since the start, by what became of them.",
            count,
            **name,
            result=result,
        )
    page.counter(
        "qkdd_link_monitor_alarms_total",
        "Blocks that a monitor of the receiver threw away.",
        link.n_alarms,
        **name,
    )
    for kind, spent in (("secrecy", link.eps_sec_total), ("correctness", link.eps_cor_total)):
        page.counter(
            "qkdd_link_epsilon_total", "Epsilon spent since the start.", spent, **name, kind=kind
        )

    page.gauge("qkdd_link_epsilon_year_limit", "Epsilon of a year.", link.eps_year_limit, **name)
    if link.eps_year is not None:
        for kind, spent in (
            ("secrecy", link.eps_year_secrecy),
            ("correctness", link.eps_year_correctness),
        ):
            page.gauge(
                "qkdd_link_epsilon_year", "Epsilon spent this year.", spent, **name, kind=kind
            )


def _authentication(page: Page, link: LinkSnapshot) -> None:
    name = {"link": link.name}
    for result, count in (
        ("good", link.auth_tags),
        ("bad", link.auth_bad_tags),
    ):
        page.counter(
            "qkdd_link_frames_total",
            "Frames between neighbours, by their tag.",
            count,
            **name,
            result=result,
        )
    page.counter(
        "qkdd_link_spoilt_records_total",
        "Sessions that ended because a TLS record came other than it was sent.",
        link.n_spoilt_records,
        **name,
    )
    page.gauge(
        "qkdd_link_forgery_bound",
        "Chance, at most, that an accepted frame was forged.",
        link.auth_forgery_bound,
        **name,
    )


def _block(page: Page, link: str, block: BlockFacts) -> None:
    page.gauge("qkdd_block_number", "The last block distilled.", block.block_no, link=link)
    page.gauge("qkdd_block_secret_bits", "Key of the last block.", block.n_secret_bits, link=link)
    for basis, qber in (("key", block.qber_key), ("test", block.qber_test)):
        page.gauge("qkdd_block_qber", "QBER of the last block.", qber, link=link, basis=basis)
    page.gauge(
        "qkdd_block_phase_error_bound",
        "Of the last block's single photons.",
        block.phase_error_bound,
        link=link,
    )
    for ways, f in (("one", block.f_one_way), ("both", block.f_both_ways)):
        page.gauge(
            "qkdd_block_f",
            "Disclosed bits over Shannon's limit, last block.",
            f,
            link=link,
            ways=ways,
        )
