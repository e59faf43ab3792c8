/* Dead time, slot, gate and merging of coincidences in one pass over time tags.
 *
 * The rules are those of qkdd/kernels/assign.py, whose NumPy twin must agree to the bit: the same
 * IEEE operations in the same order (no contraction), and integer sums only.
 */

#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define INLINE static inline __attribute__((always_inline))

enum { LAST_PS, N_STARTED, N_NEAR, SUM_RESIDUAL_PS, N_OUT_OF_GATE, N_DEAD, N_KEPT };

typedef struct {
    int64_t anchor_ps;
    double fraction_ps, period_ps, inverse, near_ps, half_gate_ps;
    int64_t n_slots, dead_time_ps;
} rules;

typedef struct {
    int64_t last_ps, n_started, n_near, sum_ps, n_out, n_dead, n_kept;
    int64_t click_slot; /* slot of the newest click that was not dead */
    int click_kept;     /* whether its first event lay in the gate */
} state;

/* Returns 0 if the tag lies behind the window. */
INLINE int one(const rules *r, state *s, int64_t time_ps, uint8_t detector, uint32_t *slots,
               uint8_t *masks)
{
    const double since_ps = (double)(time_ps - r->anchor_ps) - r->fraction_ps;
    const double place = since_ps * r->inverse + 0.5;
    /* A tag handed over by the window before may look early under the corrected clock. */
    const int64_t slot = place > 0.0 ? (int64_t)place : 0;
    if (slot >= r->n_slots)
        return 0;
    const double residual_ps = since_ps - (double)slot * r->period_ps;
    const double size_ps = residual_ps < 0.0 ? -residual_ps : residual_ps;
    const int in_gate = size_ps <= r->half_gate_ps;
    const uint8_t bit = (uint8_t)(1u << (detector & 3u));
    if (slot == s->click_slot) {
        if (s->click_kept && in_gate)
            masks[s->n_kept - 1] |= bit;
    } else if (time_ps - s->last_ps < r->dead_time_ps) {
        s->n_dead++;
    } else {
        s->click_slot = slot;
        s->click_kept = in_gate;
        s->n_started++;
        s->n_near += size_ps <= r->near_ps;
        s->sum_ps += (int64_t)residual_ps;
        if (in_gate) {
            slots[s->n_kept] = (uint32_t)slot;
            masks[s->n_kept] = bit;
            s->n_kept++;
        } else {
            s->n_out++;
        }
    }
    s->last_ps = time_ps;
    return 1;
}

static int64_t window_c(const rules *r, state *s, const int64_t *times_ps,
                        const uint8_t *detectors, int64_t n_tags, uint32_t *slots, uint8_t *masks)
{
    state here = *s;
    int64_t i = 0;
    while (i < n_tags && one(r, &here, times_ps[i], detectors[i], slots, masks))
        i++;
    *s = here;
    return i;
}

#if defined(__x86_64__)
/* Where the places of a set of four go that are in it, moved together. */
#define FOURS(X)                                                                                  \
    X(9, 9, 9, 9), X(0, 9, 9, 9), X(1, 9, 9, 9), X(0, 1, 9, 9), X(2, 9, 9, 9), X(0, 2, 9, 9),       \
        X(1, 2, 9, 9), X(0, 1, 2, 9), X(3, 9, 9, 9), X(0, 3, 9, 9), X(1, 3, 9, 9), X(0, 1, 3, 9),   \
        X(2, 3, 9, 9), X(0, 2, 3, 9), X(1, 2, 3, 9), X(0, 1, 2, 3)
#define WORD(a) (uint8_t)(4 * a), (uint8_t)(4 * a + 1), (uint8_t)(4 * a + 2), (uint8_t)(4 * a + 3)
#define WORDS(a, b, c, d) {WORD(a), WORD(b), WORD(c), WORD(d)}
#define BYTES(a, b, c, d) {a, b, c, d}
static const uint8_t WORDS_OF[16][16] = {FOURS(WORDS)};
static const uint8_t BYTES_OF[16][4] = {FOURS(BYTES)};

enum { TRUNCATE = _MM_FROUND_TO_ZERO | _MM_FROUND_NO_EXC };

static const int64_t EXACT_PS = (int64_t)1 << 50; /* below it the two conversions here are exact */

__attribute__((target("avx2"))) static inline __m256d to_doubles(__m256i whole)
{
    const __m256i magic = _mm256_set1_epi64x(0x4338000000000000); /* 1.5 * 2^52 */
    return _mm256_sub_pd(_mm256_castsi256_pd(_mm256_add_epi64(whole, magic)),
                         _mm256_castsi256_pd(magic));
}

__attribute__((target("avx2"))) static inline __m256i to_whole(__m256d value)
{
    const __m256i magic = _mm256_set1_epi64x(0x4338000000000000);
    value = _mm256_add_pd(_mm256_round_pd(value, TRUNCATE), _mm256_castsi256_pd(magic));
    return _mm256_sub_epi64(_mm256_castpd_si256(value), magic);
}

/* How many of a set of four. */
static inline int many(int set)
{
    return (0x4332322132212110 >> 4 * set) & 7;
}

/* Four tags at a time where each lies in a slot of its own, dead or not; else one by one. */
__attribute__((target("avx2"))) static int64_t window_avx2(
    const rules *r, state *s, const int64_t *times_ps, const uint8_t *detectors, int64_t n_tags,
    uint32_t *slots, uint8_t *masks)
{
    const __m256i anchor = _mm256_set1_epi64x(r->anchor_ps);
    const __m256i dead_time = _mm256_set1_epi64x(r->dead_time_ps);
    const __m256d fraction = _mm256_set1_pd(r->fraction_ps), period = _mm256_set1_pd(r->period_ps);
    const __m256d inverse = _mm256_set1_pd(r->inverse), half = _mm256_set1_pd(0.5);
    const __m256d half_gate = _mm256_set1_pd(r->half_gate_ps), near = _mm256_set1_pd(r->near_ps);
    const __m256d n_slots = _mm256_set1_pd((double)r->n_slots), sign = _mm256_set1_pd(-0.0);
    const __m256i low = _mm256_setr_epi32(0, 2, 4, 6, 0, 2, 4, 6);
    const __m128i bits = _mm_set1_epi32(0x08040201), three = _mm_set1_epi8(3);
    __m256i n_near = _mm256_setzero_si256(), sum = _mm256_setzero_si256();
    state here = *s;
    int64_t i = 0;
    if (n_tags && (times_ps[0] - r->anchor_ps < -EXACT_PS ||
                   times_ps[n_tags - 1] - r->anchor_ps > EXACT_PS))
        return window_c(r, s, times_ps, detectors, n_tags, slots, masks);
    while (i < n_tags) {
        if (i > 0 && i + 4 <= n_tags) {
            const __m256i time = _mm256_loadu_si256((const __m256i *)(times_ps + i));
            const __m256i before = _mm256_loadu_si256((const __m256i *)(times_ps + i - 1));
            const __m256d since = _mm256_sub_pd(to_doubles(_mm256_sub_epi64(time, anchor)), fraction);
            const __m256d place = _mm256_add_pd(_mm256_mul_pd(since, inverse), half);
            const __m256d slot = _mm256_round_pd(_mm256_max_pd(place, _mm256_setzero_pd()), TRUNCATE);
            const __m256d slot_before = _mm256_blend_pd(_mm256_permute4x64_pd(slot, 0x90),
                                                        _mm256_set1_pd((double)here.click_slot), 1);
            const __m256d not_so = _mm256_or_pd(_mm256_cmp_pd(slot, slot_before, _CMP_EQ_OQ),
                                                _mm256_cmp_pd(slot, n_slots, _CMP_GE_OQ));
            if (_mm256_testz_pd(not_so, not_so)) {
                const __m256i dead = _mm256_cmpgt_epi64(dead_time, _mm256_sub_epi64(time, before));
                const __m256d residual = _mm256_sub_pd(since, _mm256_mul_pd(slot, period));
                const __m256d size = _mm256_andnot_pd(sign, residual);
                const __m256i is_near = _mm256_castpd_si256(_mm256_cmp_pd(size, near, _CMP_LE_OQ));
                const int started = _mm256_movemask_pd(_mm256_castsi256_pd(dead)) ^ 15;
                const int in_gate = _mm256_movemask_pd(_mm256_cmp_pd(size, half_gate, _CMP_LE_OQ));
                const int kept = started & in_gate;
                const __m128i slot32 = _mm256_castsi256_si128(
                    _mm256_permutevar8x32_epi32(to_whole(slot), low));
                uint32_t four[4];
                memcpy(four, detectors + i, 4);
                __m128i mask = _mm_cvtsi32_si128((int)four[0]);
                mask = _mm_shuffle_epi8(bits, _mm_and_si128(mask, three));
                memcpy(four, BYTES_OF[kept], 4);
                mask = _mm_shuffle_epi8(mask, _mm_cvtsi32_si128((int)four[0]));
                four[0] = (uint32_t)_mm_cvtsi128_si32(mask);
                memcpy(masks + here.n_kept, four, 4);
                _mm_storeu_si128(
                    (__m128i *)(slots + here.n_kept),
                    _mm_shuffle_epi8(slot32, _mm_loadu_si128((const __m128i *)WORDS_OF[kept])));
                n_near = _mm256_sub_epi64(n_near, _mm256_andnot_si256(dead, is_near));
                sum = _mm256_add_epi64(sum, _mm256_andnot_si256(dead, to_whole(residual)));
                here.n_kept += many(kept);
                here.n_out += many(started) - many(kept);
                here.n_started += many(started);
                here.n_dead += 4 - many(started);
                if (started) {
                    const int newest = 31 - __builtin_clz((unsigned)started);
                    _mm_storeu_si128((__m128i *)four, slot32);
                    here.click_slot = four[newest];
                    here.click_kept = in_gate >> newest & 1;
                }
                i += 4;
                here.last_ps = times_ps[i - 1];
                continue;
            }
        }
        const int64_t stop = i == 0 ? 1 : n_tags - i < 4 ? n_tags : i + 4;
        for (; i < stop; i++)
            if (!one(r, &here, times_ps[i], detectors[i], slots, masks))
                goto ended;
    }
ended:;
    int64_t four[2][4];
    _mm256_storeu_si256((__m256i *)four[0], n_near);
    _mm256_storeu_si256((__m256i *)four[1], sum);
    for (int lane = 0; lane < 4; lane++) {
        here.n_near += four[0][lane];
        here.sum_ps += four[1][lane];
    }
    *s = here;
    return i;
}
#endif

int assign_supported(const char *variant)
{
    if (!strcmp(variant, "native"))
        return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!strcmp(variant, "avx2"))
        return __builtin_cpu_supports("avx2") != 0;
#endif
    return 0;
}

/* Returns how many tags lie before the end of the window; `sums` in: LAST_PS; out: all. */
int64_t assign_window(
    const char *variant, const int64_t *times_ps, const uint8_t *detectors, int64_t n_tags,
    int64_t anchor_ps, double fraction_ps, double period_ps, int64_t n_slots,
    int64_t dead_time_ps, double half_gate_ps,
    uint32_t *slots, uint8_t *masks, int64_t *sums)
{
    const rules r = {anchor_ps, fraction_ps, period_ps, 1.0 / period_ps, 0.25 * period_ps,
                     half_gate_ps, n_slots, dead_time_ps};
    state s = {.last_ps = sums[LAST_PS], .click_slot = -1};
    int64_t (*window)(const rules *, state *, const int64_t *, const uint8_t *, int64_t, uint32_t *,
                      uint8_t *) = window_c;
#if defined(__x86_64__)
    if (!strcmp(variant, "avx2"))
        window = window_avx2;
#endif
    const int64_t n = window(&r, &s, times_ps, detectors, n_tags, slots, masks);
    sums[LAST_PS] = s.last_ps;
    sums[N_STARTED] = s.n_started;
    sums[N_NEAR] = s.n_near;
    sums[SUM_RESIDUAL_PS] = s.sum_ps;
    sums[N_OUT_OF_GATE] = s.n_out;
    sums[N_DEAD] = s.n_dead;
    sums[N_KEPT] = s.n_kept;
    return n;
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
