/* Dead time, slot, gate and merging of coincidences in one pass over time tags.
 *
 * The rules are those of qkdd/kernels/assign.py, whose NumPy twin must agree to the bit: the same
 * IEEE operations in the same order (no contraction), and integer sums only.
 */

#include <stdint.h>
#include <string.h>

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

/* --- eight bytes in a word --- */

static const uint64_t ONES = 0x0101010101010101u;

static inline uint64_t eight_at(const uint8_t *bytes)
{
    uint64_t word;
    memcpy(&word, bytes, sizeof word);
    return word;
}

/* detector_of has 256 places. Returns how many channels have `none` there. */
int64_t assign_detectors(const uint8_t *channels, int64_t n, const uint8_t *detector_of, uint8_t none,
                         uint8_t *detectors)
{
    int64_t n_none = 0, i = 0;
    for (; i + 8 <= n; i += 8) {
        const uint64_t eight = eight_at(channels + i);
        uint64_t found = 0;
        for (int at = 0; at < 64; at += 8)
            found |= (uint64_t)detector_of[eight >> at & 255] << at;
        memcpy(detectors + i, &found, sizeof found);
        const uint64_t other = found ^ none * ONES; /* 0 where there is none */
        if ((other - ONES) & ~other & ONES << 7)
            for (int j = 0; j < 8; j++)
                n_none += detectors[i + j] == none;
    }
    for (; i < n; i++) {
        detectors[i] = detector_of[channels[i]];
        n_none += detectors[i] == none;
    }
    return n_none;
}

/* How often a time is smaller than the one before. */
int64_t assign_falls(const int64_t *times_ps, int64_t n)
{
    int64_t n_falls = 0;
    for (int64_t i = 1; i < n; i++)
        n_falls += times_ps[i] < times_ps[i - 1];
    return n_falls;
}

/* The detector of each mask with one bit; the places of the others, whose number is returned. */
int64_t assign_single(const uint8_t *masks, int64_t n, uint8_t *detectors, int64_t *several)
{
    int64_t n_several = 0;
    for (int64_t i = 0; i < n; i += 8) {
        const int64_t here = n - i < 8 ? n - i : 8;
        uint64_t eight = ONES;
        memcpy(&eight, masks + i, here == 8 ? 8 : (size_t)here);
        const uint64_t one = eight >> 1 & ONES, two = eight >> 2 & ONES, three = eight >> 3 & ONES;
        const uint64_t found = one | two << 1 | three * 3;
        memcpy(detectors + i, &found, here == 8 ? 8 : (size_t)here);
        const uint64_t none = eight & ONES;
        if ((none & (one | two | three)) | (one & (two | three)) | (two & three))
            for (int64_t j = i; j < i + here; j++) {
                several[n_several] = j;
                n_several += (masks[j] & (masks[j] - 1)) != 0;
            }
    }
    return n_several;
}
