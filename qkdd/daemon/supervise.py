"""Restart a service that failed in a way it may fail; let everything else end the daemon."""

from collections.abc import Awaitable, Callable

import structlog
import trio

from qkdd.base.errors import SecurityAlarm

log = structlog.get_logger(__name__)

FIRST_DELAY_S = 0.5
MAX_DELAY_S = 5.0
CALM_S = 3.0


async def supervise(
    name: str,
    service: Callable[[], Awaitable[None]],
    *,
    restart_on: tuple[type[Exception], ...],
    failed: Callable[[str], None] = lambda reason: None,
) -> None:
    """Run ``service`` until it returns; after a failure listed in ``restart_on`` wait and retry.

    The wait doubles from FIRST_DELAY_S to MAX_DELAY_S, and starts afresh after CALM_S without a
    failure. ``failed`` hears the reason of each failure. A bug in the same group goes up.
    """
    delay_s = FIRST_DELAY_S
    while True:
        started_s = trio.current_time()
        try:
            await service()
        except* restart_on as failures:
            reason = "; ".join(reasons(failures))
            if trio.current_time() - started_s > CALM_S:
                delay_s = FIRST_DELAY_S
            alarm = failures.subgroup(SecurityAlarm) is not None
            tell = log.error if alarm else log.warning  # an error is for somebody to act on
            tell("service failed", service=name, reason=reason, retry_in_s=delay_s)
            failed(reason)
        else:
            return
        await trio.sleep(delay_s)
        delay_s = min(2 * delay_s, MAX_DELAY_S)


def reasons(group: BaseExceptionGroup[BaseException]) -> list[str]:
    """Return what each error of a group says, once, without the group's own wrapping."""
    texts: list[str] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            texts += reasons(error)
        else:
            texts.append(str(error) or type(error).__name__)
    return list(dict.fromkeys(texts))
