"""The lanes that end at this relay, as key delivery sees them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from qkdd.base.ids import NodeId
from qkdd.daemon.clock import Clock
from qkdd.deliver.settings import DeliverySettings
from qkdd.relay.epochs import Epochs
from qkdd.relay.place import Place
from qkdd.relay.settings import ENDS, Lane, LaneTimes


@dataclass(frozen=True, slots=True, eq=False)
class LaneView:
    """One lane whose first or last end is here."""

    settings: Lane
    here: NodeId
    other_end: NodeId
    epochs: Epochs
    """In step with the store: whoever takes a key from there says ``epochs.gone(number)`` after
    the last SAE of this end has it."""
    clock_offset_s: Callable[[], float]
    """What ``epochs`` wants to know of the clock; NaN if nothing keeps it."""

    @property
    def generation(self) -> int:
        return self.settings.generation

    @property
    def n_relays_trusted(self) -> int:
        """Relays between the ends; each has every key of the lane in its hands for a moment."""
        return len(self.settings.route) - 2


class LaneDesk:
    """Finds the lane for a request. A lane of two SAEs is theirs alone."""

    def __init__(
        self, node: NodeId, homes: Mapping[str, str], times: LaneTimes, places: Iterable[Place]
    ) -> None:
        """``homes``: SAE ID -> node ID."""
        self._node = node
        self._homes = homes
        offset = Clock(times).offset_s
        self._views = [
            LaneView(
                settings=place.lane,
                here=node,
                other_end=NodeId(place.other_end),
                epochs=Epochs(place.lane, window=times.window_epochs),
                clock_offset_s=offset,
            )
            for place in places
            if place.other_end is not None
        ]

    @property
    def views(self) -> list[LaneView]:
        return list(self._views)

    def view(self, lane: str) -> LaneView | None:
        """The lane of this name, if one of its ends is here."""
        return next((view for view in self._views if view.settings.id == lane), None)

    def take(self, delivery: DeliverySettings) -> None:
        """Know the SAEs of these settings from now on."""
        self._homes = delivery.homes

    def lane(self, for_node: NodeId) -> LaneView | None:
        """The first lane to ``for_node`` that is for any two SAEs."""
        open_to_all = (view for view in self._views if not view.settings.saes)
        return next((view for view in open_to_all if view.other_end == for_node), None)

    def lane_of_saes(self, master: str, slave: str) -> LaneView | None:
        """The lane that is for just these two, else any lane between their two homes, of
        which one is this node."""
        for view in self._views:
            if view.settings.saes and set(view.settings.saes) == {master, slave}:
                return view
        homes = {self._homes.get(master), self._homes.get(slave)}
        if self._node not in homes or len(homes) != ENDS:
            return None
        (other,) = homes - {self._node}
        return None if other is None else self.lane(NodeId(other))
