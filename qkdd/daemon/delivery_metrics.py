"""How applications were answered, as metrics."""

from qkdd.daemon.metrics_page import Page
from qkdd.deliver.tally import BOUNDS_S, CallFacts


def add_delivery(page: Page, call: CallFacts) -> None:
    """Add one call of the interface."""
    for status, count in call.answers.items():
        page.counter(
            "qkdd_delivery_answers_total",
            "Answers to applications, by HTTP status.",
            count,
            call=call.call,
            status=status,
        )
    page.histogram(
        "qkdd_delivery_seconds",
        "From a request read to its answer made.",
        dict(zip(BOUNDS_S, call.within, strict=False)),
        sum(call.answers.values()),
        call.seconds,
        call=call.call,
    )
