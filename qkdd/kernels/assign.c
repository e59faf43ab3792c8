/* Dead time, slot, gate and merging of coincidences in one pass over time tags.
 *
 * The rules are those of qkdd/kernels/assign.py, whose NumPy twin must agree to the bit: the same
 * IEEE operations in the same order (no contraction), and integer sums only.
 */

#include <stdint.h>

enum { LAST_PS, N_STARTED, N_NEAR, SUM_RESIDUAL_PS, N_OUT_OF_GATE, N_DEAD, N_KEPT };

/* Returns how many tags lie before the end of the window; `sums` in: LAST_PS; out: all. */
int64_t assign_window(
    const int64_t *times_ps, const uint8_t *detectors, int64_t n_tags,
    int64_t anchor_ps, double fraction_ps, double period_ps, int64_t n_slots,
    int64_t dead_time_ps, double half_gate_ps,
    uint32_t *slots, uint8_t *masks, int64_t *sums)
{
    const double inverse = 1.0 / period_ps;
    const double near_ps = 0.25 * period_ps;
    int64_t last_ps = sums[LAST_PS];
    int64_t n_started = 0, n_near = 0, sum_ps = 0, n_out = 0, n_dead = 0, n_kept = 0;
    int64_t click_slot = -1; /* slot of the newest click that was not dead */
    int click_kept = 0;      /* whether its first event lay in the gate */
    int64_t i = 0;

    for (; i < n_tags; i++) {
        const int64_t time_ps = times_ps[i];
        const double since_ps = (double)(time_ps - anchor_ps) - fraction_ps;
        const double place = since_ps * inverse + 0.5;
        /* A tag handed over by the window before may look early under the corrected clock. */
        const int64_t slot = place > 0.0 ? (int64_t)place : 0;
        if (slot >= n_slots)
            break;
        const double residual_ps = since_ps - (double)slot * period_ps;
        const double size_ps = residual_ps < 0.0 ? -residual_ps : residual_ps;
        const int in_gate = size_ps <= half_gate_ps;
        const uint8_t bit = (uint8_t)(1u << (detectors[i] & 3u));
        if (slot == click_slot) {
            if (click_kept && in_gate)
                masks[n_kept - 1] |= bit;
        } else if (time_ps - last_ps < dead_time_ps) {
            n_dead++;
        } else {
            click_slot = slot;
            click_kept = in_gate;
            n_started++;
            n_near += size_ps <= near_ps;
            sum_ps += (int64_t)residual_ps;
            if (in_gate) {
                slots[n_kept] = (uint32_t)slot;
                masks[n_kept] = bit;
                n_kept++;
            } else {
                n_out++;
            }
        }
        last_ps = time_ps;
    }
    sums[LAST_PS] = last_ps;
    sums[N_STARTED] = n_started;
    sums[N_NEAR] = n_near;
    sums[SUM_RESIDUAL_PS] = sum_ps;
    sums[N_OUT_OF_GATE] = n_out;
    sums[N_DEAD] = n_dead;
    sums[N_KEPT] = n_kept;
    return i;
}

/* detector_of has 256 places. Returns how many channels have `none` there. */
int64_t assign_detectors(const uint8_t *channels, int64_t n, const uint8_t *detector_of, uint8_t none,
                         uint8_t *detectors)
{
    int64_t n_none = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t detector = detector_of[channels[i]];
        detectors[i] = detector;
        n_none += detector == none;
    }
    return n_none;
}

/* The detector of each mask with one bit; the places of the others, whose number is returned. */
int64_t assign_single(const uint8_t *masks, int64_t n, uint8_t *detectors, int64_t *several)
{
    int64_t n_several = 0;
    for (int64_t i = 0; i < n; i++) {
        const uint8_t mask = masks[i];
        detectors[i] = (uint8_t)((mask >> 1 & 1) | (mask >> 2 & 1) << 1 | (mask >> 3 & 1) * 3);
        several[n_several] = i;
        n_several += (mask & (mask - 1)) != 0;
    }
    return n_several;
}
