/* From candidate photons to detector clicks (drivers/sim/optics).
 *
 * All dice are thrown by the caller, so that the NumPy twin agrees bit for bit. A click travels as
 * a key, time << 2 | detector: keys sort by time, and equal times by detector.
 */
#include <stdint.h>

#define BASIS_BIT 2
#define EVE_FRACTION 0x3fffffffu /* bits 0..29 of the upper half of a word decide the attack */

/* What the eavesdropper sends on in place of a state: her basis is bit 30 of the draw; in the
 * transmitter's basis she reads the bit, in the other one she gets an even one, bit 31. */
static inline uint8_t resent(uint8_t state, uint32_t draw) {
    uint8_t basis = (uint8_t)((draw >> 30 & 1) << 1);
    if ((state & BASIS_BIT) == basis)
        return state;
    return (uint8_t)((state & ~3) | basis | draw >> 31);
}

/* Thin candidates and choose their detectors; returns how many clicks are left.
 *
 * rungs[16][4]: for each state the rising ends, in 1/2^32, of the ranges of the lower half of a
 * word that mean detector 0, 1, 2, 3; above the last one the candidate is no click. Events of one
 * pulse stand side by side: the attack is decided by the word of the first of them. */
int64_t clicks_split(const int64_t *pulse, const uint8_t *state, const uint64_t *word, int64_t n,
                     const uint64_t *rungs, uint32_t attacked_below,
                     int64_t *out_pulse, uint8_t *out_detector) {
    int64_t kept = 0;
    uint32_t draw = 0;
    for (int64_t i = 0; i < n; i++) {
        uint8_t sent = state[i] & 15;
        if (i == 0 || pulse[i] != pulse[i - 1])
            draw = (uint32_t)(word[i] >> 32);
        if ((draw & EVE_FRACTION) < attacked_below)
            sent = resent(sent, draw);
        uint64_t dart = word[i] & 0xffffffffu;
        const uint64_t *rung = rungs + 4 * sent;
        int detector =
            (dart >= rung[0]) + (dart >= rung[1]) + (dart >= rung[2]) + (dart >= rung[3]);
        out_pulse[kept] = pulse[i];
        out_detector[kept] = (uint8_t)detector;
        kept += detector < 4;
    }
    return kept;
}

/* Round to the nearest integer, ties to even, as rint() does, for |x| < 2^51. */
static inline int64_t nearest(double x) {
    const double big = 6755399441055744.0; /* 1.5 * 2^52 */
    return (int64_t)((x + big) - big);
}

void clicks_stamp(const int64_t *pulse, const uint8_t *detector, const float *normal, int64_t n,
                  double period_ps, double origin_ps, double sigma_ps, double limit_ps,
                  int64_t *key) {
    for (int64_t i = 0; i < n; i++) {
        double jitter = (double)normal[i] * sigma_ps;
        jitter = jitter > limit_ps ? limit_ps : jitter;
        jitter = jitter < -limit_ps ? -limit_ps : jitter;
        double time = (double)pulse[i] * period_ps + origin_ps;
        key[i] = nearest(time + jitter) * 4 + detector[i];
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
