"""Counts of answers: each in the class of its time, whose bound belongs to it."""

from qkdd.deliver.tally import BOUNDS_S, Tally, within_s


def test_an_answer_is_counted_by_call_status_and_time() -> None:
    tally = Tally()
    assert tally.facts() == ()
    for seconds in (0.0, BOUNDS_S[0], BOUNDS_S[0] + 1e-9, BOUNDS_S[-1], 60.0):
        tally.answered("enc_keys", 200, seconds)
    tally.answered("enc_keys", 503, 0.0)
    tally.answered("dec_keys", 400, 0.0)
    dec, enc = tally.facts()
    assert (dec.call, dec.answers) == ("dec_keys", {"400": 1})
    assert enc.answers == {"200": 5, "503": 1}
    assert enc.within == (3, *[4] * (len(BOUNDS_S) - 2), 5)
    assert enc.seconds == 2 * BOUNDS_S[0] + 1e-9 + BOUNDS_S[-1] + 60.0


def test_the_bound_that_a_share_of_the_answers_kept() -> None:
    tally = Tally()
    for _ in range(99):
        tally.answered("enc_keys", 200, 0.004)
    tally.answered("enc_keys", 200, 9.0)
    (facts,) = tally.facts()
    assert within_s(facts, 0.99) == 0.005
    assert within_s(facts, 0.995) is None
