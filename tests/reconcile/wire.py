"""A wire between the two ends of reconciliation that loses nothing."""

from qkdd.reconcile.alice import AliceReconciler
from qkdd.reconcile.bob import BobReconciler
from qkdd.reconcile.cascade_alice import CascadeAlice
from qkdd.reconcile.cascade_bob import CascadeBob
from qkdd.reconcile.outcome import Reconciled


def run(
    alice: AliceReconciler | CascadeAlice, bob: BobReconciler | CascadeBob
) -> tuple[Reconciled, Reconciled]:
    """Carry every message across until both ends have a result."""
    for syndromes in alice.start():
        to_bob = [syndromes]
        while to_bob:
            answers = [answer for message in to_bob for answer in bob.receive(message)]
            to_bob = [reply for answer in answers for reply in alice.receive(answer)]
    assert alice.result is not None
    assert bob.result is not None
    return alice.result, bob.result
