"""What an application may draw, what of the stock is kept for others, and when to ask again.

A quota is a bucket of bits that fills at ``quota_bits_per_s``, up to ``quota_burst_s`` of it. A
reserved rate is one as well: while it has enough, its application may use the last of the stock;
everybody else leaves what all reserved rates of others may draw in ``reserve_s``.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from qkdd.deliver.errors import HttpError
from qkdd.deliver.settings import DeliverySettings

MAX_RETRY_S = 3_600


@dataclass(slots=True)
class Bucket:
    """Bits that are there to be drawn; full at first."""

    bits_per_s: float
    most_bits: float
    bits: float
    at_s: float

    @classmethod
    def full(cls, bits_per_s: float, span_s: float, now_s: float) -> "Bucket":
        return cls(bits_per_s, bits_per_s * span_s, bits_per_s * span_s, now_s)

    def level(self, now_s: float) -> float:
        """Fill up to ``now_s``; return what there is."""
        self.bits = min(self.most_bits, self.bits + self.bits_per_s * max(0.0, now_s - self.at_s))
        self.at_s = now_s
        return self.bits


class Quotas:
    """Counts what each application draws as a master; time is an argument, of any clock that
    does not go back."""

    def __init__(self, settings: DeliverySettings, now_s: float) -> None:
        self._quotas: dict[str, Bucket] = {}
        self._reserved: dict[str, Bucket] = {}
        self._reserve_s = settings.reserve_s
        self.take(settings, now_s)

    def take(self, settings: DeliverySettings, now_s: float) -> None:
        """Go by these settings from now on; whose rate is as before keeps what it has left."""
        quotas = {one.id: one.quota_bits_per_s or 0.0 for one in settings.saes}
        reserved = {one.id: one.reserved_bits_per_s for one in settings.saes}
        self._quotas = _buckets(self._quotas, quotas, settings.quota_burst_s, now_s)
        self._reserved = _buckets(self._reserved, reserved, settings.reserve_s, now_s)
        self._reserve_s = settings.reserve_s

    @property
    def keep_stock(self) -> bool:
        """Whether anything is reserved, so that the stock has to be looked at."""
        return bool(self._reserved)

    def draw(self, sae: str, n_bits: int, now_s: float) -> None:
        """Take bits from the quota of ``sae``.

        Raises
        ------
        HttpError
            400 if it never gets so many at once, 503 with the time to wait if not now.
        """
        bucket = self._quotas.get(sae)
        if bucket is None:
            return
        if n_bits > bucket.most_bits:
            raise HttpError(
                400,
                f"{n_bits} bits at once: the quota of {sae} allows {bucket.most_bits:.0f}",
            )
        missing = n_bits - bucket.level(now_s)
        if missing > 0:
            raise HttpError(
                503,
                f"the quota of {sae}, {bucket.bits_per_s:g} bit/s, is used up",
                retry_after_s=forecast_s(missing, bucket.bits_per_s),
            )
        bucket.bits -= n_bits

    def give_back(self, sae: str, n_bits: int, *, reserved_bits: int) -> None:
        """Undo a draw of which nothing came; ``reserved_bits``: what :meth:`check_stock` took."""
        for buckets, back in ((self._quotas, n_bits), (self._reserved, reserved_bits)):
            bucket = buckets.get(sae)
            if bucket is not None:
                bucket.bits = min(bucket.most_bits, bucket.bits + back)

    def check_stock(
        self, sae: str, n_bits: int, stock_bits: int, now_s: float, bits_per_s: float | None
    ) -> int:
        """Return if ``sae`` may draw from a stock, of which others have reserved a part: how many
        bits of its own reserved rate that took, all or none.

        ``bits_per_s`` is what the stock is known to grow by.

        Raises
        ------
        HttpError
            503: what is left is kept for others.
        """
        own = self._reserved.get(sae)
        if own is not None and own.level(now_s) >= n_bits:
            own.bits -= n_bits
            return n_bits
        kept = sum(bucket.most_bits for name, bucket in self._reserved.items() if name != sae)
        missing = n_bits + kept - stock_bits
        if missing > 0:
            raise HttpError(
                503,
                f"{stock_bits} bits are left, {kept:.0f} are reserved for other applications",
                retry_after_s=forecast_s(missing, bits_per_s),
            )
        return 0

    def rate_of(self, sae: str) -> float | None:
        """Return the quota of ``sae`` in bit/s, if it has one."""
        bucket = self._quotas.get(sae)
        return None if bucket is None else bucket.bits_per_s


def _buckets(
    old: Mapping[str, Bucket], rates: Mapping[str, float], span_s: float, now_s: float
) -> dict[str, Bucket]:
    found = {}
    for name, bits_per_s in rates.items():
        if bits_per_s <= 0:
            continue
        bucket, known = Bucket.full(bits_per_s, span_s, now_s), old.get(name)
        if known is not None and known.bits_per_s == bits_per_s:
            bucket.bits = min(bucket.most_bits, known.level(now_s))
        found[name] = bucket
    return found


def forecast_s(missing_bits: float, bits_per_s: float | None) -> int | None:
    """Return in how many whole seconds so many bits will have come; None if nobody can say."""
    if not bits_per_s or bits_per_s <= 0:
        return None
    return max(1, min(MAX_RETRY_S, math.ceil(missing_bits / bits_per_s)))
