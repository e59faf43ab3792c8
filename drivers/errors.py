"""What can go wrong with an instrument. Messages name the instrument, the value and the cure."""


class InstrumentError(Exception):
    """Anything that an instrument, or the way to it, can do wrong."""


class NoReply(InstrumentError):
    """It said nothing in time, or the connection is gone."""


class BadReply(InstrumentError):
    """It said something that its manual does not allow, or it is another device."""


class Refused(InstrumentError):
    """It understood and declined (out of range, interlock, wrong state)."""


class Fault(InstrumentError):
    """It reports a fault of its own (overflow, over-temperature, lost reference)."""
