"""What a relay's lanes add to its page of metrics."""

from qkdd.daemon.lane_status import LaneSnapshot
from qkdd.daemon.metrics_page import Page

LANE_STATES = ("up", "waiting", "unkeyed", "stopped")


def add_lane(page: Page, lane: LaneSnapshot) -> None:
    """Add one lane; what only an end knows has no sample at a relay."""
    name = {"lane": lane.id}
    page.gauge(
        "qkdd_lane_info",
        "Which lane this is, and which part of it is here.",
        1,
        **name,
        first=lane.route[0],
        last=lane.route[-1],
        place=lane.place,
        generation=str(lane.generation),
    )
    for state in LANE_STATES:
        page.gauge(
            "qkdd_lane_state",
            "1 for the state that the lane is in here.",
            int(lane.state == state),
            **name,
            state=state,
        )
    page.gauge("qkdd_lane_ready_keys", "READY keys of epochs to come.", lane.n_ready, **name)
    page.gauge(
        "qkdd_lane_ready_hours",
        "How long they last at a key for each epoch.",
        lane.hours_ready,
        **name,
    )
    page.gauge(
        "qkdd_lane_pads", "Pairs of pads that are left to confirm keys.", lane.n_pads, **name
    )
    _counters(page, lane)
    for one in lane.lane_account:
        for entry in ("cut", "relayed", "burned", "under_way"):
            page.gauge(
                "qkdd_lane_account_bits",
                "What the link gave to the lane since the start, and what became of it.",
                getattr(one, entry),
                **name,
                link=one.link,
                entry=entry,
            )


def _counters(page: Page, lane: LaneSnapshot) -> None:
    name = {"lane": lane.id}
    for result, count in (("ready", lane.n_came), ("void", lane.n_void)):
        page.counter(
            "qkdd_lane_numbers_total",
            "Numbers since the start, by what became of them.",
            count,
            **name,
            result=result,
        )
    page.counter(
        "qkdd_lane_missed_total", "Epochs that began without a key.", lane.n_missed, **name
    )
    page.counter(
        "qkdd_lane_mismatches_total",
        "Confirmations and verdicts that did not verify.",
        lane.n_mismatches,
        **name,
    )
    page.counter(
        "qkdd_lane_short_units_total",
        "Units that blocks were too short for.",
        lane.n_short_units,
        **name,
    )
