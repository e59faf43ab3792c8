/* Quasi-cyclic LDPC: syndromes, and layered belief propagation in 8-bit integers.
 *
 * A code is a table of circulants: check k of row i holds bit (k + shift) mod z of each column
 * that the row lists. z is a multiple of 64. Every variant computes the same integers, and so
 * does the NumPy twin in ldpc.py.
 *
 * One step of belief propagation on one row (Gallager's phi form, in integers):
 *   v = posterior - message; p = phi[min(|v|, 127)]; d = min(sum(p), 65535) - p;
 *   message' = +-(d < 256 ? inverse[d] : inverse[256 + min(d >> 4, 255)]);
 *   posterior = v + message'.
 * Wide rows add up many small phi: 8 bits of phi would round them to nothing and trust too soon.
 * Posteriors are int16 and never saturate (127 * (1 + column weight) is far below 32767).
 *
 * Layout: each column stands twice in a row (2 z values), turned the way the last row that wrote
 * it saw it, so that every row reads contiguous memory at an offset that is fixed beforehand
 * ("turn"), with no wrap-around and no shuffles.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

typedef struct {
    int32_t z;
    const int32_t *row_start, *column, *turn;
    const uint8_t *syndrome, *inverse;
    const uint16_t *phi;
    int16_t *posterior; /* n_columns x 2 z */
    int16_t *value;     /* of the row at work: widest row x z */
    uint16_t *cost;     /* widest row x z */
    uint16_t *sum;      /* z */
    int8_t *message;    /* n_edges x z, in the variant's own order inside 64 */
    int8_t *sign;       /* z */
} work_t;

typedef void (*row_step_t)(const work_t *, int32_t);

static void row_baseline(const work_t *w, int32_t row)
{
    const int32_t z = w->z, first = w->row_start[row], last = w->row_start[row + 1];
    const uint8_t *target = w->syndrome + (size_t)row * z;
    const uint16_t *restrict phi = w->phi;
    const uint8_t *restrict inverse = w->inverse;
    uint16_t *restrict sum = w->sum;
    int8_t *restrict sign = w->sign;
    for (int32_t k = 0; k < z; k++) {
        sum[k] = 0;
        sign[k] = (int8_t)target[k];
    }
    for (int32_t e = first; e < last; e++) {
        const int16_t *restrict post = w->posterior + (size_t)w->column[e] * 2 * z + w->turn[e];
        const int8_t *restrict message = w->message + (size_t)e * z;
        int16_t *restrict value = w->value + (size_t)(e - first) * z;
        uint16_t *restrict cost = w->cost + (size_t)(e - first) * z;
        for (int32_t k = 0; k < z; k++) {
            int16_t v = (int16_t)(post[k] - message[k]);
            int16_t a = v < 0 ? (int16_t)-v : v;
            value[k] = v;
            sign[k] = (int8_t)(sign[k] ^ (v < 0));
            cost[k] = (uint16_t)(a > 127 ? 127 : a);
        }
        for (int32_t k = 0; k < z; k++) /* only the look-ups stay scalar */
            cost[k] = phi[cost[k]];
        for (int32_t k = 0; k < z; k++) {
            int32_t total = sum[k] + cost[k];
            sum[k] = (uint16_t)(total > 65535 ? 65535 : total);
        }
    }
    for (int32_t e = first; e < last; e++) {
        int16_t *restrict post = w->posterior + (size_t)w->column[e] * 2 * z;
        int8_t *restrict message = w->message + (size_t)e * z;
        const int16_t *restrict value = w->value + (size_t)(e - first) * z;
        uint16_t *restrict cost = w->cost + (size_t)(e - first) * z;
        for (int32_t k = 0; k < z; k++) {
            int32_t rest = sum[k] - cost[k];
            int32_t coarse = 256 + (rest >> 4 > 255 ? 255 : rest >> 4);
            cost[k] = (uint16_t)(rest < 256 ? rest : coarse);
        }
        for (int32_t k = 0; k < z; k++)
            cost[k] = inverse[cost[k]];
        for (int32_t k = 0; k < z; k++) {
            int16_t flip = (int16_t)-(sign[k] ^ (value[k] < 0));
            int16_t r = (int16_t)((cost[k] ^ flip) - flip);
            int16_t both = (int16_t)(value[k] + r);
            message[k] = (int8_t)r;
            post[k] = both;
            post[k + z] = both;
        }
    }
}

#if defined(__x86_64__)

#define LOAD256(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE256(p, v) _mm256_storeu_si256((__m256i *)(p), (v))
#define AVX2 __attribute__((target("avx2")))

/* table[index] for 16 * pieces entries; the index must stay below that */
AVX2 static inline __m256i lookup_avx2(const __m256i *table, int pieces, __m256i index)
{
    const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
    const __m256i bit4 = _mm256_slli_epi16(index, 3), bit5 = _mm256_slli_epi16(index, 2);
    const __m256i bit6 = _mm256_slli_epi16(index, 1);
    __m256i level[8];
    for (int i = 0; i < pieces / 2; i++)
        level[i] = _mm256_blendv_epi8(_mm256_shuffle_epi8(table[2 * i], low),
                                      _mm256_shuffle_epi8(table[2 * i + 1], low), bit4);
    for (int i = 0; i < pieces / 4; i++)
        level[i] = _mm256_blendv_epi8(level[2 * i], level[2 * i + 1], bit5);
    for (int i = 0; i < pieces / 8; i++)
        level[i] = _mm256_blendv_epi8(level[2 * i], level[2 * i + 1], bit6);
    return pieces == 16 ? _mm256_blendv_epi8(level[0], level[1], index) : level[0];
}

/* packs_epi16 and unpack{lo,hi}_epi8 undo each other inside 128-bit lanes: messages, costs and
 * signs are kept in that order, values and posteriors in natural order */
AVX2 static void row_avx2(const work_t *w, int32_t row)
{
    const int32_t z = w->z, first = w->row_start[row], last = w->row_start[row + 1];
    const uint8_t *target = w->syndrome + (size_t)row * z;
    const __m256i zero = _mm256_setzero_si256();
    const __m256i bytes = _mm256_set1_epi16(255);
    __m256i phi_low[8], phi_high[8], inverse[32];
    for (int i = 0; i < 8; i++) {
        __m128i a = _mm_loadu_si128((const __m128i *)(w->phi + 16 * i));
        __m128i b = _mm_loadu_si128((const __m128i *)(w->phi + 16 * i + 8));
        __m128i mask = _mm_set1_epi16(255);
        phi_low[i] = _mm256_broadcastsi128_si256(
            _mm_packus_epi16(_mm_and_si128(a, mask), _mm_and_si128(b, mask)));
        phi_high[i] = _mm256_broadcastsi128_si256(
            _mm_packus_epi16(_mm_srli_epi16(a, 8), _mm_srli_epi16(b, 8)));
    }
    for (int i = 0; i < 32; i++)
        inverse[i] =
            _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)(w->inverse + 16 * i)));
    for (int32_t k = 0; k < z; k += 32) {
        __m256i s_lo = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(target + k)));
        __m256i s_hi = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(target + k + 16)));
        __m256i sign = _mm256_slli_epi16(_mm256_packus_epi16(s_lo, s_hi), 7);
        __m256i sum_lo = zero, sum_hi = zero;
        for (int32_t e = first; e < last; e++) {
            const int16_t *post = w->posterior + (size_t)w->column[e] * 2 * z + w->turn[e] + k;
            const size_t at = (size_t)(e - first) * z + k;
            __m256i r = LOAD256(w->message + (size_t)e * z + k);
            __m256i lo = _mm256_sub_epi16(
                LOAD256(post), _mm256_srai_epi16(_mm256_unpacklo_epi8(zero, r), 8));
            __m256i hi = _mm256_sub_epi16(
                LOAD256(post + 16), _mm256_srai_epi16(_mm256_unpackhi_epi8(zero, r), 8));
            STORE256(w->value + at, lo);
            STORE256(w->value + at + 16, hi);
            __m256i v = _mm256_packs_epi16(lo, hi);
            __m256i a = _mm256_min_epu8(_mm256_abs_epi8(v), _mm256_set1_epi8(127));
            __m256i low = lookup_avx2(phi_low, 8, a), high = lookup_avx2(phi_high, 8, a);
            __m256i cost_lo = _mm256_unpacklo_epi8(low, high);
            __m256i cost_hi = _mm256_unpackhi_epi8(low, high);
            sign = _mm256_xor_si256(sign, v);
            sum_lo = _mm256_adds_epu16(sum_lo, cost_lo);
            sum_hi = _mm256_adds_epu16(sum_hi, cost_hi);
            STORE256(w->cost + at, cost_lo);
            STORE256(w->cost + at + 16, cost_hi);
        }
        STORE256(w->sum + k, sum_lo);
        STORE256(w->sum + k + 16, sum_hi);
        STORE256(w->sign + k, sign);
    }
    for (int32_t e = first; e < last; e++) {
        int16_t *post = w->posterior + (size_t)w->column[e] * 2 * z;
        for (int32_t k = 0; k < z; k += 32) {
            const size_t at = (size_t)(e - first) * z + k;
            __m256i v_lo = LOAD256(w->value + at), v_hi = LOAD256(w->value + at + 16);
            __m256i lo = _mm256_sub_epi16(LOAD256(w->sum + k), LOAD256(w->cost + at));
            __m256i hi = _mm256_sub_epi16(LOAD256(w->sum + k + 16), LOAD256(w->cost + at + 16));
            __m256i fine = _mm256_packus_epi16(_mm256_min_epu16(lo, bytes),
                                               _mm256_min_epu16(hi, bytes));
            __m256i coarse =
                _mm256_packus_epi16(_mm256_srli_epi16(lo, 4), _mm256_srli_epi16(hi, 4));
            __m256i small = _mm256_cmpeq_epi8(_mm256_and_si256(coarse, _mm256_set1_epi8(-16)), zero);
            __m256i r = _mm256_blendv_epi8(lookup_avx2(inverse + 16, 16, coarse),
                                           lookup_avx2(inverse, 16, fine), small);
            __m256i flip = _mm256_cmpgt_epi8(
                zero, _mm256_xor_si256(LOAD256(w->sign + k), _mm256_packs_epi16(v_lo, v_hi)));
            r = _mm256_sub_epi8(_mm256_xor_si256(r, flip), flip);
            STORE256(w->message + (size_t)e * z + k, r);
            lo = _mm256_add_epi16(v_lo, _mm256_srai_epi16(_mm256_unpacklo_epi8(zero, r), 8));
            hi = _mm256_add_epi16(v_hi, _mm256_srai_epi16(_mm256_unpackhi_epi8(zero, r), 8));
            STORE256(post + k, lo);
            STORE256(post + k + 16, hi);
            STORE256(post + k + z, lo);
            STORE256(post + k + z + 16, hi);
        }
    }
}

#define LOAD512(p) _mm512_loadu_si512((const void *)(p))
#define STORE512(p, v) _mm512_storeu_si512((void *)(p), (v))
#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))

/* bits shift..shift+7 of 64 uint16, in natural order */
AVX512 static inline __m512i low_bytes_avx512(const uint16_t *from, int shift)
{
    __m256i a = _mm512_cvtepi16_epi8(_mm512_srli_epi16(LOAD512(from), shift));
    __m256i b = _mm512_cvtepi16_epi8(_mm512_srli_epi16(LOAD512(from + 32), shift));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* table[index] for 256 entries in four registers */
AVX512 static inline __m512i lookup_avx512(__m512i t0, __m512i t1, __m512i t2, __m512i t3,
                                           __m512i index)
{
    return _mm512_mask_blend_epi8(_mm512_movepi8_mask(index),
                                  _mm512_permutex2var_epi8(t0, index, t1),
                                  _mm512_permutex2var_epi8(t2, index, t3));
}

AVX512 static void row_avx512(const work_t *w, int32_t row)
{
    const int32_t z = w->z, first = w->row_start[row], last = w->row_start[row + 1];
    const uint8_t *target = w->syndrome + (size_t)row * z;
    const __m512i zero = _mm512_setzero_si512();
    const __m512i bytes = _mm512_set1_epi16(255), tops = _mm512_set1_epi8(-16);
    const __m512i low0 = low_bytes_avx512(w->phi, 0), low1 = low_bytes_avx512(w->phi + 64, 0);
    const __m512i high0 = low_bytes_avx512(w->phi, 8), high1 = low_bytes_avx512(w->phi + 64, 8);
    const __m512i fine0 = LOAD512(w->inverse), fine1 = LOAD512(w->inverse + 64);
    const __m512i fine2 = LOAD512(w->inverse + 128), fine3 = LOAD512(w->inverse + 192);
    const __m512i rough0 = LOAD512(w->inverse + 256), rough1 = LOAD512(w->inverse + 320);
    const __m512i rough2 = LOAD512(w->inverse + 384), rough3 = LOAD512(w->inverse + 448);
    for (int32_t k = 0; k < z; k += 64) {
        __m512i s_lo = _mm512_cvtepu8_epi16(LOAD256(target + k));
        __m512i s_hi = _mm512_cvtepu8_epi16(LOAD256(target + k + 32));
        __m512i sign = _mm512_slli_epi16(_mm512_packus_epi16(s_lo, s_hi), 7);
        __m512i sum_lo = zero, sum_hi = zero;
        for (int32_t e = first; e < last; e++) {
            const int16_t *post = w->posterior + (size_t)w->column[e] * 2 * z + w->turn[e] + k;
            const size_t at = (size_t)(e - first) * z + k;
            __m512i r = LOAD512(w->message + (size_t)e * z + k);
            __m512i lo = _mm512_sub_epi16(
                LOAD512(post), _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, r), 8));
            __m512i hi = _mm512_sub_epi16(
                LOAD512(post + 32), _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, r), 8));
            STORE512(w->value + at, lo);
            STORE512(w->value + at + 32, hi);
            __m512i v = _mm512_packs_epi16(lo, hi);
            __m512i a = _mm512_min_epu8(_mm512_abs_epi8(v), _mm512_set1_epi8(127));
            __m512i low = _mm512_permutex2var_epi8(low0, a, low1);
            __m512i high = _mm512_permutex2var_epi8(high0, a, high1);
            __m512i cost_lo = _mm512_unpacklo_epi8(low, high);
            __m512i cost_hi = _mm512_unpackhi_epi8(low, high);
            sign = _mm512_xor_si512(sign, v);
            sum_lo = _mm512_adds_epu16(sum_lo, cost_lo);
            sum_hi = _mm512_adds_epu16(sum_hi, cost_hi);
            STORE512(w->cost + at, cost_lo);
            STORE512(w->cost + at + 32, cost_hi);
        }
        STORE512(w->sum + k, sum_lo);
        STORE512(w->sum + k + 32, sum_hi);
        STORE512(w->sign + k, sign);
    }
    for (int32_t e = first; e < last; e++) {
        int16_t *post = w->posterior + (size_t)w->column[e] * 2 * z;
        for (int32_t k = 0; k < z; k += 64) {
            const size_t at = (size_t)(e - first) * z + k;
            __m512i v_lo = LOAD512(w->value + at), v_hi = LOAD512(w->value + at + 32);
            __m512i lo = _mm512_sub_epi16(LOAD512(w->sum + k), LOAD512(w->cost + at));
            __m512i hi = _mm512_sub_epi16(LOAD512(w->sum + k + 32), LOAD512(w->cost + at + 32));
            __m512i fine = _mm512_packus_epi16(_mm512_min_epu16(lo, bytes),
                                               _mm512_min_epu16(hi, bytes));
            __m512i coarse =
                _mm512_packus_epi16(_mm512_srli_epi16(lo, 4), _mm512_srli_epi16(hi, 4));
            __m512i r = _mm512_mask_blend_epi8(_mm512_test_epi8_mask(coarse, tops),
                                               lookup_avx512(fine0, fine1, fine2, fine3, fine),
                                               lookup_avx512(rough0, rough1, rough2, rough3, coarse));
            __mmask64 flip = _mm512_movepi8_mask(
                _mm512_xor_si512(LOAD512(w->sign + k), _mm512_packs_epi16(v_lo, v_hi)));
            r = _mm512_mask_sub_epi8(r, flip, zero, r);
            STORE512(w->message + (size_t)e * z + k, r);
            lo = _mm512_add_epi16(v_lo, _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, r), 8));
            hi = _mm512_add_epi16(v_hi, _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, r), 8));
            STORE512(post + k, lo);
            STORE512(post + k + 32, hi);
            STORE512(post + k + z, lo);
            STORE512(post + k + z + 32, hi);
        }
    }
}
#endif

int ldpc_supports(const char *variant)
{
    if (strcmp(variant, "baseline") == 0)
        return 1;
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (strcmp(variant, "avx2") == 0)
        return __builtin_cpu_supports("avx2") != 0;
    if (strcmp(variant, "avx512") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vbmi");
#endif
    return 0;
}

const char *ldpc_best(void)
{
    return ldpc_supports("avx512") ? "avx512" : ldpc_supports("avx2") ? "avx2" : "baseline";
}

static row_step_t step_of(const char *variant)
{
#if defined(__x86_64__)
    if (strcmp(variant, "avx512") == 0 && ldpc_supports(variant))
        return row_avx512;
    if (strcmp(variant, "avx2") == 0 && ldpc_supports(variant))
        return row_avx2;
#endif
    return row_baseline;
}

void ldpc_syndrome(int32_t z, int32_t n_columns, int32_t n_rows, const int32_t *row_start,
                   const int32_t *column, const int32_t *shift, const uint8_t *bits,
                   uint8_t *twice, uint8_t *syndrome)
{
    for (int32_t j = 0; j < n_columns; j++) {
        memcpy(twice + (size_t)2 * j * z, bits + (size_t)j * z, z);
        memcpy(twice + (size_t)(2 * j + 1) * z, bits + (size_t)j * z, z);
    }
    memset(syndrome, 0, (size_t)n_rows * z);
    for (int32_t i = 0; i < n_rows; i++) {
        uint8_t *out = syndrome + (size_t)i * z;
        for (int32_t e = row_start[i]; e < row_start[i + 1]; e++) {
            const uint8_t *in = twice + (size_t)column[e] * 2 * z + shift[e];
            for (int32_t k = 0; k < z; k++)
                out[k] ^= in[k];
        }
    }
}

/* Exact: do the signs of the posteriors give the syndrome? `turn` is from the end of a pass. */
static int satisfied(const work_t *w, int32_t n_rows, const int32_t *end_turn)
{
    const int32_t z = w->z;
    int16_t *sum = w->value; /* idle between passes */
    for (int32_t i = 0; i < n_rows; i++) {
        const uint8_t *target = w->syndrome + (size_t)i * z;
        int16_t wrong = 0;
        for (int32_t k = 0; k < z; k++)
            sum[k] = (int16_t)-target[k]; /* 0, or all ones: the sign is the bit */
        for (int32_t e = w->row_start[i]; e < w->row_start[i + 1]; e++) {
            const int16_t *post = w->posterior + (size_t)w->column[e] * 2 * z + end_turn[e];
            for (int32_t k = 0; k < z; k++)
                sum[k] ^= post[k];
        }
        for (int32_t k = 0; k < z; k++)
            wrong |= sum[k];
        if (wrong < 0)
            return 0;
    }
    return 1;
}

static void carve(work_t *w, int32_t n_columns, int32_t n_rows, void *workspace)
{
    const size_t z = (size_t)w->z;
    size_t widest = 0;
    for (int32_t i = 0; i < n_rows; i++) {
        size_t width = (size_t)(w->row_start[i + 1] - w->row_start[i]);
        widest = width > widest ? width : widest;
    }
    w->posterior = workspace;
    w->value = w->posterior + (size_t)n_columns * 2 * z;
    w->cost = (uint16_t *)(w->value + widest * z);
    w->sum = w->cost + widest * z;
    w->message = (int8_t *)(w->sum + z);
    w->sign = w->message + (size_t)w->row_start[n_rows] * z;
}

/* Returns the passes it took to meet the syndrome exactly, or -max_iterations. The workspace
 * holds 4 z n_columns + z n_edges + 4 z widest + 3 z bytes. */
int32_t ldpc_decode(const char *variant, int32_t z, int32_t n_columns, int32_t n_rows,
                    const int32_t *row_start, const int32_t *column, const int32_t *turn,
                    const int32_t *end_turn, const int32_t *rotation, const int8_t *llr,
                    const uint8_t *syndrome, const uint16_t *phi, const uint8_t *inverse,
                    int32_t max_iterations, uint8_t *errors, void *workspace)
{
    const row_step_t step = step_of(variant);
    work_t w = {.z = z, .row_start = row_start, .column = column, .turn = turn,
                .syndrome = syndrome, .phi = phi, .inverse = inverse};
    int32_t pass = 0, done = 0;
    carve(&w, n_columns, n_rows, workspace);
    memset(w.message, 0, (size_t)row_start[n_rows] * z);
    for (int32_t j = 0; j < n_columns; j++) {
        int16_t *post = w.posterior + (size_t)2 * j * z;
        for (int32_t k = 0; k < z; k++)
            post[k] = post[k + z] = llr[(size_t)j * z + (k + rotation[j]) % z];
    }
    while (!(done = satisfied(&w, n_rows, end_turn)) && pass < max_iterations) {
        for (int32_t i = 0; i < n_rows; i++)
            step(&w, i);
        pass++;
    }
    for (int32_t j = 0; j < n_columns; j++) {
        const int16_t *post = w.posterior + (size_t)2 * j * z;
        for (int32_t k = 0; k < z; k++)
            errors[(size_t)j * z + (k + rotation[j]) % z] = post[k] < 0;
    }
    return done ? pass : -pass;
}
