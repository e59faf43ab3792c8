"""The dice of key material; simulators throw ``numpy.random.Generator``, a type apart."""

from collections.abc import Callable
from typing import TypeAlias

Entropy: TypeAlias = Callable[[int], bytes]
"""``entropy(n)`` returns ``n`` fresh bytes fit for key material (at the edge: ``os.urandom``).
Each call returns an object of its own: :meth:`qkdd.base.secret.Secret.absorb` zeroes it."""
