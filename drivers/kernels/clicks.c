/* From candidate photons to detector clicks (drivers/sim/optics).
 *
 * All dice are thrown by the caller, so that the NumPy twin agrees bit for bit. A click travels as
 * a key, time << 2 | detector: keys sort by time, and equal times by detector.
 */
#include <stdint.h>

#define BASIS_BIT 2
#define RESENDS 1
#define ONE_EACH 2
#define EVE_FRACTION 0x3fffffffu /* bits 0..29 of a draw decide whether she attacks */

/* What the eavesdropper sends on in place of a state: her basis is bit 30 of the draw; in the
 * transmitter's basis she reads the bit, in the other one she gets an even one, bit 31. */
static inline uint8_t resent(uint8_t state, uint32_t draw) {
    uint8_t basis = (uint8_t)((draw >> 30 & 1) << 1);
    if ((state & BASIS_BIT) == basis)
        return state;
    return (uint8_t)((state & ~3) | basis | draw >> 31);
}

/* clicks_split where nothing is attacked, without a branch: first which of them click, as most do
 * not, and then where. */
static int64_t split_quiet(const int64_t *pulse, const uint8_t *state, const uint64_t *word,
                           int64_t n, const uint64_t *rungs, int64_t *out_pulse,
                           uint8_t *out_detector) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        out_pulse[kept] = i;
        kept += (word[i] & 0xffffffffu) < rungs[4 * (state[i] & 15) + 3];
    }
    for (int64_t k = 0; k < kept; k++) {
        int64_t i = out_pulse[k];
        uint64_t dart = word[i] & 0xffffffffu;
        const uint64_t *rung = rungs + 4 * (state[i] & 15);
        out_pulse[k] = pulse[i];
        out_detector[k] = (uint8_t)((dart >= rung[0]) + (dart >= rung[1]) + (dart >= rung[2]));
    }
    return kept;
}

/* Thin candidates and choose their detectors; returns how many clicks are left.
 *
 * rungs[16][4]: for each state the rising ends, in 1/2^32, of the ranges of the lower half of a
 * word that mean detector 0, 1, 2, 3; above the last one the candidate is no click. Events of one
 * pulse stand side by side: the attack is decided by the draw of the first of them. eve may be
 * NULL if nothing is attacked.
 *
 * Attacked pulses have rungs of their own, after the state that she sends on where how has
 * RESENDS; where it has ONE_EACH, they have one click at most, also beside *spent, the last
 * attacked pulse with a click. Their detectors are told with bit 2 set. */
int64_t clicks_split(const int64_t *pulse, const uint8_t *state, const uint64_t *word, int64_t n,
                     const uint64_t *rungs, const uint32_t *eve, uint32_t attacked_below, int how,
                     const uint64_t *her_rungs, int64_t *spent, int64_t *out_pulse,
                     uint8_t *out_detector) {
    if (!eve)
        return split_quiet(pulse, state, word, n, rungs, out_pulse, out_detector);
    int64_t kept = 0;
    uint32_t draw = 0;
    for (int64_t i = 0; i < n; i++) {
        uint8_t sent = state[i] & 15;
        int attacked = 0;
        if (eve) {
            if (i == 0 || pulse[i] != pulse[i - 1])
                draw = eve[i];
            attacked = (draw & EVE_FRACTION) < attacked_below;
            if (attacked && how & RESENDS)
                sent = resent(sent, draw);
        }
        uint64_t dart = word[i] & 0xffffffffu;
        const uint64_t *rung = (attacked ? her_rungs : rungs) + 4 * sent;
        int detector =
            (dart >= rung[0]) + (dart >= rung[1]) + (dart >= rung[2]) + (dart >= rung[3]);
        int seen = detector < 4;
        if (attacked && how & ONE_EACH) {
            seen &= pulse[i] != *spent;
            *spent = seen ? pulse[i] : *spent;
        }
        out_pulse[kept] = pulse[i];
        out_detector[kept] = (uint8_t)(detector | attacked << 2);
        kept += seen;
    }
    return kept;
}

/* Round to the nearest integer, ties to even, as rint() does, for |x| < 2^51. */
static inline int64_t nearest(double x) {
    const double big = 6755399441055744.0; /* 1.5 * 2^52 */
    return (int64_t)((x + big) - big);
}

/* Jitter by the alias method: a word's top 10 bits are a bin, the next 22 choose between the bin
 * and its alias, the lower half is the place inside. BINS bins lie side by side over 16 sigma. */
void clicks_stamp(const int64_t *pulse, const uint8_t *detector, const uint64_t *word, int64_t n,
                  double period_ps, double origin_ps, double her_shift_ps, double sigma_ps,
                  const uint32_t *own_below, const uint16_t *alias, int64_t *key) {
    for (int64_t i = 0; i < n; i++) {
        uint32_t bin = (uint32_t)(word[i] >> 54);
        uint32_t dart = (uint32_t)(word[i] >> 32) & 0x3fffffu;
        uint32_t other = alias[bin]; /* read in any case: half of the bins would be a wrong guess */
        bin = dart < own_below[bin] ? bin : other;
        double place = (double)bin + (double)(int64_t)(word[i] & 0xffffffffu) * 0x1p-32;
        double jitter = (place * 0x1p-6 - 8.0) * sigma_ps;
        double time = (double)pulse[i] * period_ps + origin_ps;
        time += detector[i] & 4 ? her_shift_ps : 0.0;
        key[i] = nearest(time + jitter) * 4 + (detector[i] & 3);
    }
}

/* Clicks in the time of a clock that is base + t + t (fast + t half_drift) at t, from floor on. */
void clicks_tell(const int64_t *key, int64_t n, double fast, double half_drift, int64_t base_ps,
                 int64_t floor_ps, int64_t *time_ps, uint8_t *channel) {
    for (int64_t i = 0; i < n; i++) {
        int64_t time = key[i] >> 2;
        double after = (double)time;
        int64_t reading = time + (nearest(after * (fast + after * half_drift)) + base_ps);
        time_ps[i] = reading > floor_ps ? reading : floor_ps;
        channel[i] = (uint8_t)((key[i] & 3) + 1);
    }
}

/* Drop what a detector could not see: it is blind for recovery_ps after each of its own clicks. */
int64_t clicks_recover(const int64_t *key, int64_t n, int64_t recovery_ps, int64_t *last_ps,
                       int64_t *out_key) {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; i++) {
        int64_t time = key[i] >> 2;
        int detector = (int)(key[i] & 3);
        int alive = time - last_ps[detector] >= recovery_ps;
        out_key[kept] = key[i];
        kept += alive;
        if (alive)
            last_ps[detector] = time;
    }
    return kept;
}

/* Sort times by their channels 1 to 4, each in the order that they have: n places for each in out,
 * and how many were filled in found. */
void clicks_deal(const int64_t *time_ps, const uint8_t *channel, int64_t n, int64_t *out,
                 int64_t *found) {
    int64_t *next[4] = {out, out + n, out + 2 * n, out + 3 * n};
    for (int64_t i = 0; i < n; i++)
        *next[(channel[i] - 1) & 3]++ = time_ps[i];
    for (int c = 0; c < 4; c++)
        found[c] = next[c] - (out + c * n);
}
