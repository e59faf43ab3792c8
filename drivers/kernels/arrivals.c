/* When photons come: points of a Poisson process on a line of pulses (drivers/sim/optics).
 *
 * Each word of the caller's dice is one candidate; its upper 31 bits are the gap before it. The
 * logarithm is our own, so that all variants and the NumPy twin agree bit for bit.
 */
#include <stdint.h>
#include <string.h>

#define LN2 0.69314718055994530942
#define SQRT_HALF_BITS 0x3fe6a09e00000000 /* of a double just below sqrt(1/2) */
#define EXPONENT (-0x10000000000000) /* sign and exponent of a double */
#define BATCH 256

/* -log of a uniform number, (w >> 33) + 1/2 in 2^31, by atanh's series around 1: 1e-10 of itself. */
static inline double gap_of(uint64_t word) {
    double x = (double)(int32_t)(word >> 33) + 0.5;
    int64_t bits;
    memcpy(&bits, &x, sizeof bits);
    int64_t above = bits - SQRT_HALF_BITS;
    double power = (double)(int32_t)(above >> 52);
    bits -= above & EXPONENT;
    memcpy(&x, &bits, sizeof x);
    double s = (x - 1.0) / (x + 1.0);
    double z = s * s;
    double series = 1.0 / 11.0;
    series = series * z + 1.0 / 9.0;
    series = series * z + 1.0 / 7.0;
    series = series * z + 1.0 / 5.0;
    series = series * z + 1.0 / 3.0;
    series = series * z + 1.0;
    return (31.0 - power) * LN2 - 2.0 * s * series;
}

static inline __attribute__((always_inline)) void gaps_of(const uint64_t *word, int64_t n,
                                                          double *gap) {
    for (int64_t j = 0; j < n; j++)
        gap[j] = gap_of(word[j]);
}

static void gaps_plain(const uint64_t *word, int64_t n, double *gap) { gaps_of(word, n, gap); }

#if defined(__x86_64__)
__attribute__((target("avx512f,avx512dq,avx512vl"))) static void
gaps_avx512(const uint64_t *word, int64_t n, double *gap) {
    gaps_of(word, n, gap);
}

__attribute__((target("avx2"))) static void gaps_avx2(const uint64_t *word, int64_t n,
                                                      double *gap) {
    gaps_of(word, n, gap);
}

#endif

/* 0 plain, 1 with AVX2, 2 with AVX-512: the same numbers. */
int arrivals_supported(int variant) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (variant == 1)
        return __builtin_cpu_supports("avx2");
    if (variant == 2)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
               __builtin_cpu_supports("avx512vl");
#endif
    return variant == 0;
}

/* Candidates from the one that word 0 stands for, at *at means from the first pulse, to the end of
 * the line or of the words; returns how many. *at becomes the place of the next candidate, whose
 * word is the first one that was not used up: at least one is left. */
int64_t arrivals_place(int variant, const uint64_t *word, int64_t n_words, double *at, double per_pulse,
                       int64_t n_pulses, int64_t *out_pulse) {
    const double end = per_pulse * (double)n_pulses;
    const double pulses_per_mean = 1.0 / per_pulse;
    double place = *at;
    double gap[BATCH];
    int64_t i = 0;
    void (*gaps)(const uint64_t *, int64_t, double *) = gaps_plain;
#if defined(__x86_64__)
    gaps = variant == 2 ? gaps_avx512 : variant == 1 ? gaps_avx2 : gaps_plain;
#endif
    while (place < end && i + 1 < n_words) {
        int64_t n = n_words - 1 - i < BATCH ? n_words - 1 - i : BATCH;
        gaps(word + i + 1, n, gap);
        for (int64_t j = 0; j < n && place < end; j++) {
            int64_t pulse = (int64_t)(place * pulses_per_mean);
            out_pulse[i++] = pulse < n_pulses ? pulse : n_pulses - 1; /* a product may round up */
            place += gap[j];
        }
    }
    *at = place;
    return i;
}
