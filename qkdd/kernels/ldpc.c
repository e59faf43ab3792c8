/* Quasi-cyclic LDPC: syndromes, and layered belief propagation in 8-bit integers.
 *
 * A code is a table of circulants: check k of row i holds bit (k + shift) mod z of each column
 * that the row lists. z is a multiple of 64. Every variant computes the same integers, and so
 * does the NumPy twin in ldpc.py.
 *
 * One step of belief propagation on one row (docs/decisions/0051-one-sum-for-a-check.md):
 *   v = posterior - message; a = min(|v|, 127); least = min(a); total = min(sum(phi[a]), 65535);
 *   twice = inverse(total), whole = twice / 2; most = inverse(max(total - phi[least], 0)) / 2;
 *   rest = (min(twice + near[a - whole], 255) - near[a + whole]) / 2;
 *   size = a == least ? most : min(most, rest);
 *   message' = +-size; posterior = v + message'.
 * `whole` is what all bits of a check say together. For the least sure of them, which the check
 * tells most, the others' sum is taken exactly (Gallager's phi form); for each other one it is
 * `whole` with that bit taken out again: near[x] is -ln(1 - e^-x), 0 from 32 on. Both are in half
 * steps, and halves are rounded up: what wide rows say is often less than a step.
 * Wide rows add up many small phi: 8 bits of phi would round them to nothing and trust too soon.
 * Posteriors are int16 and never saturate (127 * (1 + column weight) is far below 32767).
 *
 * Layout: each column lies in memory turned the way the last row that wrote it saw it, and its
 * first 32 values stand once more behind its end. So every row reads groups of 32 contiguous
 * values at offsets ("reads") that follow from how the columns lie, without shuffles, and rows may
 * take their turns in any order. What limits the speed is the second-level cache, hence no second
 * copy of the whole column, and each group is asked for one group before it is read.
 */
#include <limits.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#define GROUP 32
#define NEAR 32 /* entries of the table */

typedef struct {
    int32_t z;
    const int32_t *row_start, *column, *shift;
    const uint8_t *syndrome, *inverse, *near;
    const uint16_t *phi;
    int16_t *posterior; /* n_columns x (z + GROUP) */
    int16_t *value;     /* of the row at work: widest row x z */
    uint16_t *sum;      /* z */
    uint8_t *least;     /* z, as the next three: of each check of the row at work */
    uint8_t *twice, *most;
    int8_t *sign;
    int8_t *message; /* n_edges x z, in the variant's own order inside 64 */
    int32_t *all_reads; /* n_edges x z / GROUP: where the groups of posteriors begin */
    int32_t *reads;     /* of the row at work */
    int32_t *lies;      /* n_columns: value k of the column is bit (k + lies) mod z */
    int short_head;     /* phi is below 256 from entry 32 on */
} work_t;

/* Returns how many checks of the row the values that it read do not meet. */
typedef int32_t (*row_step_t)(const work_t *, int32_t);

static inline size_t stride(int32_t z)
{
    return (size_t)z + GROUP;
}

/* where the group of values k..k+31 of a column begins */
static inline int32_t group_at(int32_t turn, int32_t k, int32_t z)
{
    const int32_t over = turn + k - z; /* no branch: turns are dice */
    return over + (z & over >> 31);
}

/* How far a column has to be turned for a circulant. */
static inline int32_t turn_of(const work_t *w, int32_t e)
{
    const int32_t turn = w->shift[e] - w->lies[w->column[e]];
    return turn + (w->z & turn >> 31);
}

/* Find what a row reads; it leaves its columns as it sees them. */
static inline void aim(const work_t *w, int32_t row)
{
    const int32_t first = w->row_start[row], last = w->row_start[row + 1], z = w->z;
    int32_t *restrict reads = w->reads;
    for (int32_t e = first; e < last; e++) {
        const int32_t begin = (int32_t)(w->column[e] * stride(z)), turn = turn_of(w, e);
        for (int32_t k = 0; k < z; k += GROUP)
            *reads++ = begin + group_at(turn, k, z);
        w->lies[w->column[e]] = w->shift[e];
    }
}

static inline uint8_t magnitude(const uint8_t *inverse, int32_t sum)
{
    return inverse[sum < 128 ? sum : 128 + (sum >> 5 > 127 ? 127 : sum >> 5)];
}

static inline int32_t near_at(const uint8_t *near, int32_t x)
{
    return x < NEAR ? near[x] : 0;
}

static int32_t row_baseline(const work_t *w, int32_t row)
{
    const int32_t z = w->z, first = w->row_start[row], last = w->row_start[row + 1];
    const uint8_t *target = w->syndrome + (size_t)row * z;
    uint16_t *restrict sum = w->sum;
    uint8_t *restrict least = w->least, *restrict twice = w->twice, *restrict most = w->most;
    int8_t *restrict sign = w->sign;
    int32_t unmet = 0;
    for (int32_t k = 0; k < z; k++) {
        sum[k] = 0;
        least[k] = 127;
        sign[k] = (int8_t)target[k];
    }
    for (int32_t e = first; e < last; e++) {
        const int32_t *reads = w->reads + (e - first) * (z / GROUP);
        const int8_t *restrict message = w->message + (size_t)e * z;
        int16_t *restrict value = w->value + (size_t)(e - first) * z;
        for (int32_t k = 0; k < z; k += GROUP)
            memcpy(value + k, w->posterior + reads[k / GROUP], GROUP * sizeof *value);
        for (int32_t k = 0; k < z; k++) {
            int16_t v = (int16_t)(value[k] - message[k]);
            int16_t a = v < 0 ? (int16_t)-v : v;
            value[k] = v;
            sign[k] = (int8_t)(sign[k] ^ (v < 0));
            a = a > 127 ? 127 : a;
            least[k] = a < least[k] ? (uint8_t)a : least[k];
            int32_t total = sum[k] + w->phi[a];
            sum[k] = (uint16_t)(total > 65535 ? 65535 : total);
        }
    }
    for (int32_t k = 0; k < z; k++) {
        const int32_t rest = sum[k] - w->phi[least[k]];
        unmet += sign[k];
        twice[k] = magnitude(w->inverse, sum[k]);
        most[k] = (uint8_t)((magnitude(w->inverse, rest < 0 ? 0 : rest) + 1) >> 1);
    }
    for (int32_t e = first; e < last; e++) {
        int16_t *restrict post = w->posterior + (size_t)w->column[e] * stride(z);
        int8_t *restrict message = w->message + (size_t)e * z;
        const int16_t *restrict value = w->value + (size_t)(e - first) * z;
        for (int32_t k = 0; k < z; k++) {
            int32_t a = value[k] < 0 ? -value[k] : value[k];
            a = a > 127 ? 127 : a;
            const int32_t whole = (twice[k] + 1) >> 1, gap = a > whole ? a - whole : 0;
            int32_t size = twice[k] + near_at(w->near, gap);
            size = (size > 255 ? 255 : size) - near_at(w->near, a + whole);
            size = size < 0 ? 0 : (size + 1) >> 1;
            size = a == least[k] || size > most[k] ? most[k] : size;
            int16_t flip = (int16_t)-(sign[k] ^ (value[k] < 0));
            int16_t r = (int16_t)((size ^ flip) - flip);
            message[k] = (int8_t)r;
            post[k] = (int16_t)(value[k] + r);
        }
        memcpy(post + z, post, GROUP * sizeof *post);
    }
    return unmet;
}

#if defined(__x86_64__)

#define LOAD256(p) _mm256_loadu_si256((const __m256i *)(p))
#define STORE256(p, v) _mm256_storeu_si256((__m256i *)(p), (v))
#define AVX2 __attribute__((target("avx2")))

/* table[index & 127] */
AVX2 static inline __m256i lookup_avx2(const __m256i *table, __m256i index)
{
    const __m256i low = _mm256_and_si256(index, _mm256_set1_epi8(15));
    const __m256i bit4 = _mm256_slli_epi16(index, 3), bit5 = _mm256_slli_epi16(index, 2);
    const __m256i bit6 = _mm256_slli_epi16(index, 1);
    __m256i level[4];
    for (int i = 0; i < 4; i++)
        level[i] = _mm256_blendv_epi8(_mm256_shuffle_epi8(table[2 * i], low),
                                      _mm256_shuffle_epi8(table[2 * i + 1], low), bit4);
    level[0] = _mm256_blendv_epi8(level[0], level[1], bit5);
    level[1] = _mm256_blendv_epi8(level[2], level[3], bit5);
    return _mm256_blendv_epi8(level[0], level[1], bit6);
}

/* table[index] below 32, else 0; the index is at most 127 */
AVX2 static inline __m256i lookup_head_avx2(const __m256i *table, __m256i index)
{
    const __m256i outside = _mm256_set1_epi8(0x70); /* carries what is over 15 into bit 7 */
    const __m256i second = _mm256_xor_si256(index, _mm256_set1_epi8(16));
    return _mm256_or_si256(
        _mm256_shuffle_epi8(table[0], _mm256_add_epi8(index, outside)),
        _mm256_shuffle_epi8(table[1], _mm256_add_epi8(second, outside)));
}

/* 16 bytes, once in each 128-bit lane */
AVX2 static inline __m256i table_avx2(const uint8_t *from)
{
    return _mm256_broadcastsi128_si256(_mm_loadu_si128((const __m128i *)from));
}

/* 16 uint16 -> their bytes shift..shift+7, once in each 128-bit lane */
AVX2 static inline __m256i table_bytes_avx2(const uint16_t *from, int shift)
{
    const __m256i mask = _mm256_set1_epi16(255);
    const __m256i wide = _mm256_and_si256(_mm256_srli_epi16(LOAD256(from), shift), mask);
    return _mm256_permute4x64_epi64(_mm256_packus_epi16(wide, wide), 0x88);
}

/* the magnitudes for 32 sums */
AVX2 static inline __m256i magnitude_avx2(const __m256i *fine, const __m256i *rough, __m256i lo,
                                          __m256i hi)
{
    const __m256i zero = _mm256_setzero_si256(), byte = _mm256_set1_epi16(255);
    const __m256i exact =
        _mm256_packus_epi16(_mm256_and_si256(lo, byte), _mm256_and_si256(hi, byte));
    const __m256i coarse =
        _mm256_packus_epi16(_mm256_srli_epi16(lo, 5), _mm256_srli_epi16(hi, 5));
    const __m256i small =
        _mm256_cmpeq_epi8(_mm256_and_si256(coarse, _mm256_set1_epi8(-4)), zero);
    const __m256i at = _mm256_min_epu8(coarse, _mm256_set1_epi8(127));
    return _mm256_blendv_epi8(lookup_avx2(rough, at), lookup_avx2(fine, exact), small);
}

/* The distance from a group to the one that is read next in the same circulant; 0 at the end. */
static inline int32_t next_group(int32_t k, int32_t step, int32_t z)
{
    return k + step < z ? step : 0;
}

/* packs_epi16 and unpack{lo,hi}_epi8 undo each other inside 128-bit lanes: messages, and all that
 * is kept of a check, are in that order, values and posteriors in natural order. `short_head`: phi
 * is below 256 from entry 32 on. */
AVX2 static inline __attribute__((always_inline)) int32_t turn_row_avx2(const work_t *w,
                                                                        int32_t row, int short_head)
{
    const int32_t z = w->z, first = w->row_start[row], width = w->row_start[row + 1] - first;
    const int32_t *const columns = w->column + first, groups = z / GROUP;
    const int32_t *const reads = w->reads;
    const uint8_t *const target = w->syndrome + (size_t)row * z;
    int16_t *const posterior = w->posterior, *const values = w->value;
    int8_t *const messages = w->message + (size_t)first * z;
    const __m256i zero = _mm256_setzero_si256(), top = _mm256_set1_epi8(127);
    __m256i phi_low[8], phi_high[8], fine[8], rough[8], near[2];
    int32_t unmet = 0;
    for (int i = 0; i < 8; i++) {
        phi_low[i] = table_bytes_avx2(w->phi + 16 * i, 0);
        phi_high[i] = table_bytes_avx2(w->phi + 16 * i, 8);
        fine[i] = table_avx2(w->inverse + 16 * i);
        rough[i] = table_avx2(w->inverse + 128 + 16 * i);
    }
    near[0] = table_avx2(w->near);
    near[1] = table_avx2(w->near + 16);
    for (int32_t k = 0; k < z; k += 32) {
        const int32_t next = next_group(k, 32, z);
        __m256i s_lo = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(target + k)));
        __m256i s_hi = _mm256_cvtepu8_epi16(_mm_loadu_si128((const __m128i *)(target + k + 16)));
        __m256i sign = _mm256_slli_epi16(_mm256_packus_epi16(s_lo, s_hi), 7);
        __m256i sum_lo = zero, sum_hi = zero, least = top;
        for (int32_t e = 0; e < width; e++) {
            const int32_t *from = reads + e * groups + k / GROUP;
            const int16_t *post = posterior + from[0];
            const size_t at = (size_t)e * z + k;
            _mm_prefetch((const char *)(posterior + from[next / GROUP] + GROUP - 1), _MM_HINT_T0);
            _mm_prefetch((const char *)(messages + at + next), _MM_HINT_T0);
            __m256i r = LOAD256(messages + at);
            __m256i lo = _mm256_sub_epi16(
                LOAD256(post), _mm256_srai_epi16(_mm256_unpacklo_epi8(zero, r), 8));
            __m256i hi = _mm256_sub_epi16(
                LOAD256(post + 16), _mm256_srai_epi16(_mm256_unpackhi_epi8(zero, r), 8));
            STORE256(values + at, lo);
            STORE256(values + at + 16, hi);
            __m256i v = _mm256_packs_epi16(lo, hi);
            __m256i a = _mm256_min_epu8(_mm256_abs_epi8(v), top);
            __m256i low = lookup_avx2(phi_low, a);
            __m256i high = short_head ? lookup_head_avx2(phi_high, a) : lookup_avx2(phi_high, a);
            sign = _mm256_xor_si256(sign, v);
            least = _mm256_min_epu8(least, a);
            sum_lo = _mm256_adds_epu16(sum_lo, _mm256_unpacklo_epi8(low, high));
            sum_hi = _mm256_adds_epu16(sum_hi, _mm256_unpackhi_epi8(low, high));
        }
        __m256i low = lookup_avx2(phi_low, least);
        __m256i high = lookup_avx2(phi_high, least);
        __m256i rest_lo = _mm256_subs_epu16(sum_lo, _mm256_unpacklo_epi8(low, high));
        __m256i rest_hi = _mm256_subs_epu16(sum_hi, _mm256_unpackhi_epi8(low, high));
        STORE256(w->least + k, least);
        STORE256(w->twice + k, magnitude_avx2(fine, rough, sum_lo, sum_hi));
        STORE256(w->most + k, _mm256_avg_epu8(magnitude_avx2(fine, rough, rest_lo, rest_hi), zero));
        STORE256(w->sign + k, sign);
        unmet += __builtin_popcount((uint32_t)_mm256_movemask_epi8(sign));
    }
    for (int32_t e = 0; e < width; e++) {
        int16_t *const post = posterior + (size_t)columns[e] * stride(z);
        for (int32_t k = 0; k < z; k += 32) {
            const size_t at = (size_t)e * z + k;
            __m256i lo = LOAD256(values + at), hi = LOAD256(values + at + 16);
            __m256i v = _mm256_packs_epi16(lo, hi);
            __m256i a = _mm256_min_epu8(_mm256_abs_epi8(v), top);
            __m256i twice = LOAD256(w->twice + k), most = LOAD256(w->most + k);
            __m256i whole = _mm256_avg_epu8(twice, zero);
            __m256i more = lookup_head_avx2(near, _mm256_subs_epu8(a, whole));
            __m256i less = lookup_head_avx2(near, _mm256_adds_epi8(a, whole)); /* 127 at most */
            __m256i r = _mm256_subs_epu8(_mm256_adds_epu8(twice, more), less);
            __m256i exact = _mm256_cmpeq_epi8(a, LOAD256(w->least + k));
            r = _mm256_blendv_epi8(_mm256_min_epu8(_mm256_avg_epu8(r, zero), most), most, exact);
            __m256i flip = _mm256_cmpgt_epi8(zero, _mm256_xor_si256(LOAD256(w->sign + k), v));
            r = _mm256_sub_epi8(_mm256_xor_si256(r, flip), flip);
            STORE256(messages + at, r);
            lo = _mm256_add_epi16(lo, _mm256_srai_epi16(_mm256_unpacklo_epi8(zero, r), 8));
            hi = _mm256_add_epi16(hi, _mm256_srai_epi16(_mm256_unpackhi_epi8(zero, r), 8));
            STORE256(post + k, lo);
            STORE256(post + k + 16, hi);
            if (k == 0) {
                STORE256(post + z, lo);
                STORE256(post + z + 16, hi);
            }
        }
    }
    return unmet;
}

AVX2 static int32_t row_avx2(const work_t *w, int32_t row)
{
    return w->short_head ? turn_row_avx2(w, row, 1) : turn_row_avx2(w, row, 0);
}

#define LOAD512(p) _mm512_loadu_si512((const void *)(p))
#define STORE512(p, v) _mm512_storeu_si512((void *)(p), (v))
#define AVX512BW __attribute__((target("avx512f,avx512bw")))

/* table[index] of 128 uint16, the index at most 127 */
AVX512BW static inline __m512i lookup_avx512bw(const __m512i *table, __m512i index)
{
    const __m512i low = _mm512_permutex2var_epi16(table[0], index, table[1]);
    const __m512i high = _mm512_permutex2var_epi16(table[2], index, table[3]);
    return _mm512_mask_mov_epi16(low, _mm512_test_epi16_mask(index, _mm512_set1_epi16(64)), high);
}

/* the magnitude for a sum: two entries of the inverse table lie in each uint16 */
AVX512BW static inline __m512i magnitude_avx512bw(const __m512i *inverse, __m512i sum)
{
    const __m512i byte = _mm512_set1_epi16(255);
    const __m512i top = _mm512_set1_epi16(127), end = _mm512_set1_epi16(4095);
    const __m512i at = _mm512_min_epu16(sum, end);
    const __mmask32 large = _mm512_cmpgt_epu16_mask(at, top);
    const __m512i index = _mm512_mask_srli_epi16(at, large, at, 5);
    const __mmask32 odd = _mm512_test_epi16_mask(index, _mm512_set1_epi16(1));
    const __m512i half = _mm512_srli_epi16(index, 1);
    const __m512i pair =
        _mm512_mask_mov_epi16(_mm512_permutex2var_epi16(inverse[0], half, inverse[1]), large,
                              _mm512_permutex2var_epi16(inverse[2], half, inverse[3]));
    return _mm512_and_si512(_mm512_mask_srli_epi16(pair, odd, pair, 8), byte);
}

/* table[index] below 32, else 0; the index is at most 127 */
AVX512BW static inline __m512i near_avx512bw(const __m512i *table, __m512i index)
{
    const __m512i outside = _mm512_set1_epi8(0x70); /* carries what is over 15 into bit 7 */
    const __m512i second = _mm512_xor_si512(index, _mm512_set1_epi8(16));
    return _mm512_or_si512(
        _mm512_shuffle_epi8(table[0], _mm512_add_epi8(index, outside)),
        _mm512_shuffle_epi8(table[1], _mm512_add_epi8(second, outside)));
}

/* What turn_row_avx512 does, for processors that permute words across a register but not bytes. */
AVX512BW static inline __attribute__((always_inline)) int32_t
turn_row_avx512bw(const work_t *w, int32_t row, int32_t z)
{
    const int32_t first = w->row_start[row], width = w->row_start[row + 1] - first;
    const int32_t *const columns = w->column + first, groups = z / GROUP;
    const int32_t *const reads = w->reads;
    const uint8_t *const target = w->syndrome + (size_t)row * z;
    int16_t *const posterior = w->posterior, *const values = w->value;
    int8_t *const messages = w->message + (size_t)first * z;
    const __m512i zero = _mm512_setzero_si512(), top = _mm512_set1_epi16(127);
    __m512i phi[4], inverse[4], near[2];
    int32_t unmet = 0;
    for (int i = 0; i < 4; i++) {
        phi[i] = LOAD512(w->phi + 32 * i);
        inverse[i] = LOAD512(w->inverse + 64 * i);
    }
    for (int i = 0; i < 2; i++)
        near[i] = _mm512_broadcast_i32x4(_mm_loadu_si128((const __m128i *)(w->near + 16 * i)));
    for (int32_t k = 0; k < z; k += 64) {
        const int32_t next = next_group(k, 64, z);
        __m512i s_lo = _mm512_cvtepu8_epi16(LOAD256(target + k));
        __m512i s_hi = _mm512_cvtepu8_epi16(LOAD256(target + k + 32));
        __m512i sign = _mm512_slli_epi16(_mm512_packus_epi16(s_lo, s_hi), 7);
        __m512i sum_lo = zero, sum_hi = zero, least_lo = top, least_hi = top;
        for (int32_t e = 0; e < width; e++) {
            const int32_t *from = reads + e * groups + k / GROUP;
            const size_t at = (size_t)e * z + k;
            _mm_prefetch((const char *)(posterior + from[next / GROUP]), _MM_HINT_T0);
            _mm_prefetch((const char *)(messages + at + next), _MM_HINT_T0);
            __m512i r = LOAD512(messages + at);
            __m512i lo = _mm512_sub_epi16(LOAD512(posterior + from[0]),
                                          _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, r), 8));
            __m512i hi = _mm512_sub_epi16(LOAD512(posterior + from[1]),
                                          _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, r), 8));
            __m512i a_lo = _mm512_min_epu16(_mm512_abs_epi16(lo), top);
            __m512i a_hi = _mm512_min_epu16(_mm512_abs_epi16(hi), top);
            STORE512(values + at, lo);
            STORE512(values + at + 32, hi);
            sign = _mm512_xor_si512(sign, _mm512_packs_epi16(lo, hi));
            least_lo = _mm512_min_epu16(least_lo, a_lo);
            least_hi = _mm512_min_epu16(least_hi, a_hi);
            sum_lo = _mm512_adds_epu16(sum_lo, lookup_avx512bw(phi, a_lo));
            sum_hi = _mm512_adds_epu16(sum_hi, lookup_avx512bw(phi, a_hi));
        }
        __m512i rest_lo = _mm512_subs_epu16(sum_lo, lookup_avx512bw(phi, least_lo));
        __m512i rest_hi = _mm512_subs_epu16(sum_hi, lookup_avx512bw(phi, least_hi));
        STORE512(w->least + k, _mm512_packus_epi16(least_lo, least_hi));
        __m512i most = _mm512_packus_epi16(magnitude_avx512bw(inverse, rest_lo),
                                           magnitude_avx512bw(inverse, rest_hi));
        STORE512(w->twice + k, _mm512_packus_epi16(magnitude_avx512bw(inverse, sum_lo),
                                                   magnitude_avx512bw(inverse, sum_hi)));
        STORE512(w->most + k, _mm512_avg_epu8(most, zero));
        STORE512(w->sign + k, sign);
        unmet += __builtin_popcountll(_mm512_movepi8_mask(sign));
    }
    for (int32_t e = 0; e < width; e++) {
        int16_t *const post = posterior + (size_t)columns[e] * stride(z);
        for (int32_t k = 0; k < z; k += 64) {
            const size_t at = (size_t)e * z + k;
            __m512i lo = LOAD512(values + at), hi = LOAD512(values + at + 32);
            __m512i v = _mm512_packs_epi16(lo, hi);
            __m512i a = _mm512_min_epu8(_mm512_abs_epi8(v), _mm512_set1_epi8(127));
            __m512i twice = LOAD512(w->twice + k), most = LOAD512(w->most + k);
            __m512i whole = _mm512_avg_epu8(twice, zero);
            __m512i more = near_avx512bw(near, _mm512_subs_epu8(a, whole));
            __m512i less = near_avx512bw(near, _mm512_adds_epi8(a, whole)); /* 127 at most */
            __m512i r = _mm512_subs_epu8(_mm512_adds_epu8(twice, more), less);
            __mmask64 exact = _mm512_cmpeq_epi8_mask(a, LOAD512(w->least + k));
            r = _mm512_mask_mov_epi8(_mm512_min_epu8(_mm512_avg_epu8(r, zero), most), exact, most);
            __mmask64 flip = _mm512_movepi8_mask(_mm512_xor_si512(LOAD512(w->sign + k), v));
            r = _mm512_mask_sub_epi8(r, flip, zero, r);
            STORE512(messages + at, r);
            lo = _mm512_add_epi16(lo, _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, r), 8));
            hi = _mm512_add_epi16(hi, _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, r), 8));
            STORE512(post + k, lo);
            STORE512(post + k + 32, hi);
            if (k == 0)
                STORE512(post + z, lo);
        }
    }
    return unmet;
}

AVX512BW static int32_t row_avx512bw(const work_t *w, int32_t row)
{
    return w->z == 128 ? turn_row_avx512bw(w, row, 128) : turn_row_avx512bw(w, row, w->z);
}

#define AVX512 __attribute__((target("avx512f,avx512bw,avx512vbmi")))

/* bits shift..shift+7 of 64 uint16, in natural order */
AVX512 static inline __m512i low_bytes_avx512(const uint16_t *from, int shift)
{
    __m256i a = _mm512_cvtepi16_epi8(_mm512_srli_epi16(LOAD512(from), shift));
    __m256i b = _mm512_cvtepi16_epi8(_mm512_srli_epi16(LOAD512(from + 32), shift));
    return _mm512_inserti64x4(_mm512_castsi256_si512(a), b, 1);
}

/* 128 entries, the index at most 127 */
AVX512 static inline __m512i lookup_avx512(const __m512i *table, __m512i index)
{
    return _mm512_permutex2var_epi8(table[0], index, table[1]);
}

/* the magnitudes for 64 sums */
AVX512 static inline __m512i magnitude_avx512(const __m512i *inverse, __m512i lo, __m512i hi)
{
    const __m512i byte = _mm512_set1_epi16(255), top = _mm512_set1_epi8(127);
    const __m512i exact =
        _mm512_packus_epi16(_mm512_and_si512(lo, byte), _mm512_and_si512(hi, byte));
    const __m512i coarse =
        _mm512_packus_epi16(_mm512_srli_epi16(lo, 5), _mm512_srli_epi16(hi, 5));
    const __mmask64 large = _mm512_test_epi8_mask(coarse, _mm512_set1_epi8(-4));
    return _mm512_mask_blend_epi8(large, lookup_avx512(inverse, exact),
                                  lookup_avx512(inverse + 2, _mm512_min_epu8(coarse, top)));
}

AVX512 static inline __attribute__((always_inline)) int32_t turn_row_avx512(const work_t *w,
                                                                            int32_t row, int32_t z)
{
    const int32_t first = w->row_start[row], width = w->row_start[row + 1] - first;
    const int32_t *const columns = w->column + first, groups = z / GROUP;
    const int32_t *const reads = w->reads;
    const uint8_t *const target = w->syndrome + (size_t)row * z;
    int16_t *const posterior = w->posterior, *const values = w->value;
    int8_t *const messages = w->message + (size_t)first * z;
    const __m512i zero = _mm512_setzero_si512(), top = _mm512_set1_epi8(127);
    const __m512i end = _mm512_set1_epi8(63); /* where near has been 0 for long */
    const __m512i near = _mm512_zextsi256_si512(LOAD256(w->near));
    __m512i phi_low[2], phi_high[2], inverse[4];
    int32_t unmet = 0;
    for (int i = 0; i < 2; i++) {
        phi_low[i] = low_bytes_avx512(w->phi + 64 * i, 0);
        phi_high[i] = low_bytes_avx512(w->phi + 64 * i, 8);
    }
    for (int i = 0; i < 4; i++)
        inverse[i] = LOAD512(w->inverse + 64 * i);
    for (int32_t k = 0; k < z; k += 64) {
        const int32_t next = next_group(k, 64, z);
        __m512i s_lo = _mm512_cvtepu8_epi16(LOAD256(target + k));
        __m512i s_hi = _mm512_cvtepu8_epi16(LOAD256(target + k + 32));
        __m512i sign = _mm512_slli_epi16(_mm512_packus_epi16(s_lo, s_hi), 7);
        __m512i sum_lo = zero, sum_hi = zero, least = top;
        for (int32_t e = 0; e < width; e++) {
            const int32_t *from = reads + e * groups + k / GROUP;
            const size_t at = (size_t)e * z + k;
            _mm_prefetch((const char *)(posterior + from[next / GROUP]), _MM_HINT_T0);
            _mm_prefetch((const char *)(messages + at + next), _MM_HINT_T0);
            __m512i r = LOAD512(messages + at);
            __m512i lo = _mm512_sub_epi16(LOAD512(posterior + from[0]),
                                          _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, r), 8));
            __m512i hi = _mm512_sub_epi16(LOAD512(posterior + from[1]),
                                          _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, r), 8));
            STORE512(values + at, lo);
            STORE512(values + at + 32, hi);
            __m512i v = _mm512_packs_epi16(lo, hi);
            __m512i a = _mm512_min_epu8(_mm512_abs_epi8(v), top);
            __m512i low = lookup_avx512(phi_low, a), high = lookup_avx512(phi_high, a);
            sign = _mm512_xor_si512(sign, v);
            least = _mm512_min_epu8(least, a);
            sum_lo = _mm512_adds_epu16(sum_lo, _mm512_unpacklo_epi8(low, high));
            sum_hi = _mm512_adds_epu16(sum_hi, _mm512_unpackhi_epi8(low, high));
        }
        __m512i low = lookup_avx512(phi_low, least), high = lookup_avx512(phi_high, least);
        __m512i rest_lo = _mm512_subs_epu16(sum_lo, _mm512_unpacklo_epi8(low, high));
        __m512i rest_hi = _mm512_subs_epu16(sum_hi, _mm512_unpackhi_epi8(low, high));
        STORE512(w->least + k, least);
        STORE512(w->twice + k, magnitude_avx512(inverse, sum_lo, sum_hi));
        STORE512(w->most + k, _mm512_avg_epu8(magnitude_avx512(inverse, rest_lo, rest_hi), zero));
        STORE512(w->sign + k, sign);
        unmet += __builtin_popcountll(_mm512_movepi8_mask(sign));
    }
    for (int32_t e = 0; e < width; e++) {
        int16_t *const post = posterior + (size_t)columns[e] * stride(z);
        for (int32_t k = 0; k < z; k += 64) {
            const size_t at = (size_t)e * z + k;
            __m512i lo = LOAD512(values + at), hi = LOAD512(values + at + 32);
            __m512i v = _mm512_packs_epi16(lo, hi);
            __m512i a = _mm512_min_epu8(_mm512_abs_epi8(v), top);
            __m512i twice = LOAD512(w->twice + k), most = LOAD512(w->most + k);
            __m512i whole = _mm512_avg_epu8(twice, zero);
            __m512i gap = _mm512_min_epu8(_mm512_subs_epu8(a, whole), end);
            __m512i both = _mm512_min_epu8(_mm512_add_epi8(a, whole), end);
            __m512i more = _mm512_permutexvar_epi8(gap, near);
            __m512i r = _mm512_subs_epu8(_mm512_adds_epu8(twice, more),
                                         _mm512_permutexvar_epi8(both, near));
            __mmask64 exact = _mm512_cmpeq_epi8_mask(a, LOAD512(w->least + k));
            r = _mm512_mask_mov_epi8(_mm512_min_epu8(_mm512_avg_epu8(r, zero), most), exact, most);
            __mmask64 flip = _mm512_movepi8_mask(_mm512_xor_si512(LOAD512(w->sign + k), v));
            r = _mm512_mask_sub_epi8(r, flip, zero, r);
            STORE512(messages + at, r);
            lo = _mm512_add_epi16(lo, _mm512_srai_epi16(_mm512_unpacklo_epi8(zero, r), 8));
            hi = _mm512_add_epi16(hi, _mm512_srai_epi16(_mm512_unpackhi_epi8(zero, r), 8));
            STORE512(post + k, lo);
            STORE512(post + k + 32, hi);
            if (k == 0)
                STORE512(post + z, lo);
        }
    }
    return unmet;
}

AVX512 static int32_t row_avx512(const work_t *w, int32_t row)
{
    return w->z == 128 ? turn_row_avx512(w, row, 128) : turn_row_avx512(w, row, w->z);
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
    if (strcmp(variant, "avx512bw") == 0)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw");
    if (strcmp(variant, "avx512") == 0)
        return ldpc_supports("avx512bw") && __builtin_cpu_supports("avx512vbmi");
#endif
    return 0;
}

const char *ldpc_best(void)
{
    return ldpc_supports("avx512")     ? "avx512"
           : ldpc_supports("avx512bw") ? "avx512bw"
           : ldpc_supports("avx2")     ? "avx2"
                                       : "baseline";
}

static row_step_t step_of(const char *variant)
{
#if defined(__x86_64__)
    if (strcmp(variant, "avx512") == 0 && ldpc_supports(variant))
        return row_avx512;
    if (strcmp(variant, "avx512bw") == 0 && ldpc_supports(variant))
        return row_avx512bw;
    if (strcmp(variant, "avx2") == 0 && ldpc_supports(variant))
        return row_avx2;
#endif
    return row_baseline;
}

/* 128-bit lanes of the variant's vectors; 0: messages in natural order */
static int lanes_of(const char *variant)
{
#if defined(__x86_64__)
    const row_step_t step = step_of(variant);
    return step == row_avx512 || step == row_avx512bw ? 4 : step == row_avx2 ? 2 : 0;
#else
    return 0;
#endif
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
    w->value = w->posterior + (size_t)n_columns * stride(w->z);
    w->sum = (uint16_t *)(w->value + widest * z);
    w->least = (uint8_t *)(w->sum + z);
    w->twice = w->least + z;
    w->most = w->twice + z;
    w->sign = (int8_t *)(w->most + z);
    w->all_reads = (int32_t *)(w->sign + z);
    w->lies = w->all_reads + (size_t)w->row_start[n_rows] * (z / GROUP);
    memset(w->lies, 0, (size_t)n_columns * sizeof *w->lies);
}

/* --- around the passes: one text, compiled for AVX2, too --- */

#define INLINE static inline __attribute__((always_inline))

/* Whatever a vector register is, the compiler makes what is best of these. */
typedef int16_t half_t __attribute__((vector_size(GROUP)));
typedef uint8_t bytes_t __attribute__((vector_size(32)));

/* Exact: do the signs of the posteriors give the row's syndrome? */
INLINE int satisfied(const work_t *w, int32_t row)
{
    const int32_t z = w->z, first = w->row_start[row], last = w->row_start[row + 1];
    for (int32_t k = 0; k < z; k += GROUP) {
        const uint8_t *target = w->syndrome + (size_t)row * z + k;
        half_t low, high, post;
        int16_t wrong = 0;
        for (int i = 0; i < GROUP / 2; i++) { /* 0, or all ones: the sign is the bit */
            low[i] = (int16_t)-target[i];
            high[i] = (int16_t)-target[GROUP / 2 + i];
        }
        for (int32_t e = first; e < last; e++) {
            const int16_t *from = w->posterior + (size_t)w->column[e] * stride(z) +
                                  group_at(turn_of(w, e), k, z);
            memcpy(&post, from, sizeof post);
            low ^= post;
            memcpy(&post, from + GROUP / 2, sizeof post);
            high ^= post;
        }
        low |= high;
        for (int i = 0; i < GROUP / 2; i++)
            wrong = (int16_t)(wrong | low[i]);
        if (wrong < 0)
            return 0;
    }
    return 1;
}

/* The first turn whose row is not satisfied; n_rows: there is none. */
INLINE int32_t first_wrong(const work_t *w, const int32_t *order, int32_t n_rows)
{
    int32_t turn = 0;
    while (turn < n_rows && satisfied(w, order[turn]))
        turn++;
    return turn;
}

/* Posteriors of the bits when the first n_given circulants have sent their messages. */
INLINE void fill_posteriors(const work_t *w, int32_t n_columns, int32_t n_given, const int8_t *llr)
{
    const int32_t z = w->z;
    int8_t *const twice = (int8_t *)w->value; /* idle before the first pass */
    for (int32_t j = 0; j < n_columns; j++) {
        int16_t *restrict post = w->posterior + (size_t)j * stride(z);
        const int8_t *restrict from = llr + (size_t)j * z;
        for (int32_t k = 0; k < z; k++)
            post[k] = from[k];
    }
    for (int32_t e = 0; e < n_given; e++) {
        int16_t *restrict post = w->posterior + (size_t)w->column[e] * stride(z);
        const int8_t *restrict from = twice + z - w->shift[e];
        memcpy(twice, w->message + (size_t)e * z, z);
        memcpy(twice + z, w->message + (size_t)e * z, z);
        for (int32_t k = 0; k < z; k++)
            post[k] = (int16_t)(post[k] + from[k]);
    }
    for (int32_t j = 0; j < n_columns; j++) {
        int16_t *post = w->posterior + (size_t)j * stride(z);
        memcpy(post + z, post, GROUP * sizeof *post);
    }
}

INLINE void signs_of_posteriors(const work_t *w, int32_t n_columns, uint8_t *errors)
{
    const int32_t z = w->z;
    for (int32_t j = 0; j < n_columns; j++) {
        const int16_t *column = w->posterior + (size_t)j * stride(z);
        for (int32_t k = 0; k < z; k += GROUP) {
            const int16_t *restrict post = column + group_at((z - w->lies[j]) % z, k, z);
            uint8_t *restrict out = errors + (size_t)j * z + k;
            for (int i = 0; i < GROUP; i++)
                out[i] = post[i] < 0;
        }
    }
}

/* Between natural order and that of packs(lo, hi) on vectors of 2 x lanes groups of 8 bytes. */
INLINE void reorder(int8_t *message, size_t n_bytes, int lanes, int natural)
{
    uint64_t old[8] = {0};
    for (size_t at = 0; at < n_bytes; at += 16 * (size_t)lanes) {
        memcpy(old, message + at, 16 * (size_t)lanes);
        for (int lane = 0; lane < lanes; lane++)
            for (int half = 0; half < 2; half++) {
                int plain = half * lanes + lane, packed = 2 * lane + half;
                memcpy(message + at + 8 * (natural ? plain : packed),
                       old + (natural ? packed : plain), 8);
            }
    }
    memset(old, 0, sizeof old);
}

INLINE void reorder_for(int lanes, int8_t *message, size_t n_bytes, int natural)
{
    if (lanes == 4)
        reorder(message, n_bytes, 4, natural);
    else if (lanes == 2)
        reorder(message, n_bytes, 2, natural);
}

/* Where decoding is, and whether it gets on; see ldpc_decode. */
typedef struct {
    int32_t front, furthest, least, stale;
} wave_t;

/* One pass over the window, turns `from` to `to`. `aimed`: the columns lie as they did before the last
 * pass, which had the same turns, so that every row reads where it did. */
INLINE void pass_over(work_t *w, row_step_t step, const int32_t *order, int32_t from, int32_t to,
                      int32_t slack, int whole, int aimed, wave_t *wave)
{
    int32_t unmet = 0;
    wave->front = to;
    for (int32_t turn = from; turn < to; turn++) {
        w->reads = w->all_reads + (size_t)w->row_start[order[turn]] * (w->z / GROUP);
        if (!aimed)
            aim(w, order[turn]);
        unmet += step(w, order[turn]);
        if (unmet > slack && wave->front == to)
            wave->front = turn;
    }
    const int further = !whole && wave->front > wave->furthest;
    if (further || unmet < wave->least - wave->least / 32) {
        wave->furthest = further ? wave->front : wave->furthest;
        wave->least = unmet;
        wave->stale = 0;
    } else {
        wave->stale++;
    }
}

/* Passes until the syndrome is met, or hope is gone; see ldpc_decode. */
INLINE int32_t decode(work_t *w, row_step_t step, int lanes, int32_t n_columns, int32_t n_rows,
                      const int32_t *order, const int32_t *window, const int8_t *llr,
                      int32_t max_iterations, int32_t patience, int32_t warm_rows, uint8_t *errors)
{
    const size_t n_messages = (size_t)w->row_start[n_rows] * w->z;
    const size_t n_given = (size_t)w->row_start[warm_rows] * w->z;
    const int64_t most = (int64_t)max_iterations * n_rows;
    const int32_t ahead = window[0], behind = window[1], slack = window[2];
    const int whole = ahead == n_rows;
    int32_t pass = 0;
    wave_t wave = {.front = 0, .furthest = 0, .least = INT_MAX, .stale = 0};
    int64_t turns = 0;
    int done = 0;
    memset(w->message + n_given, 0, n_messages - n_given);
    fill_posteriors(w, n_columns, w->row_start[warm_rows], llr);
    reorder_for(lanes, w->message, n_given, 0);
    wave.front = first_wrong(w, order, n_rows);
    while (!(done = wave.front == n_rows) && turns < most && wave.stale < patience) {
        const int32_t reach = pass++ % 2 == 0 ? ahead : (ahead + 1) / 2;
        const int32_t from = wave.front > behind && !whole ? wave.front - behind : 0;
        const int32_t to = whole || n_rows - wave.front <= reach ? n_rows : wave.front + reach;
        pass_over(w, step, order, from, to, slack, whole, whole && pass > 2, &wave);
        turns += to - from;
        if (to == n_rows && (whole || wave.front == n_rows))
            wave.front = first_wrong(w, order, n_rows);
    }
    if (done)
        memset(w->message, 0, n_messages);
    else
        reorder_for(lanes, w->message, n_messages, 1);
    signs_of_posteriors(w, n_columns, errors);
    turns = (turns + n_rows - 1) / n_rows;
    return (int32_t)(done ? turns : -turns);
}

INLINE void syndrome_of(int32_t z, int32_t n_columns, int32_t n_rows, const int32_t *row_start,
                        const int32_t *column, const int32_t *shift, const uint8_t *bits,
                        uint8_t *twice, uint8_t *syndrome)
{
    for (int32_t j = 0; j < n_columns; j++) {
        memcpy(twice + (size_t)2 * j * z, bits + (size_t)j * z, z);
        memcpy(twice + (size_t)(2 * j + 1) * z, bits + (size_t)j * z, z);
    }
    for (int32_t row = 0; row < n_rows; row++) {
        for (int32_t k = 0; k < z; k += 32) {
            bytes_t sum = {0}, in;
            for (int32_t e = row_start[row]; e < row_start[row + 1]; e++) {
                memcpy(&in, twice + (size_t)column[e] * 2 * z + shift[e] + k, sizeof in);
                sum ^= in;
            }
            memcpy(syndrome + (size_t)row * z + k, &sum, sizeof sum);
        }
    }
}

#if defined(__x86_64__)
AVX2 static int32_t decode_avx2(work_t *w, row_step_t step, int lanes, int32_t n_columns,
                                int32_t n_rows, const int32_t *order, const int32_t *window,
                                const int8_t *llr, int32_t max_iterations, int32_t patience,
                                int32_t warm_rows, uint8_t *errors)
{
    return decode(w, step, lanes, n_columns, n_rows, order, window, llr, max_iterations, patience,
                  warm_rows, errors);
}

AVX2 static void syndrome_avx2(int32_t z, int32_t n_columns, int32_t n_rows,
                               const int32_t *row_start, const int32_t *column,
                               const int32_t *shift, const uint8_t *bits, uint8_t *twice,
                               uint8_t *syndrome)
{
    syndrome_of(z, n_columns, n_rows, row_start, column, shift, bits, twice, syndrome);
}
#endif

/* --- the two calls --- */

void ldpc_syndrome(const char *variant, int32_t z, int32_t n_columns, int32_t n_rows,
                   const int32_t *row_start, const int32_t *column, const int32_t *shift,
                   const uint8_t *bits, uint8_t *twice, uint8_t *syndrome)
{
#if defined(__x86_64__)
    if (lanes_of(variant)) {
        syndrome_avx2(z, n_columns, n_rows, row_start, column, shift, bits, twice, syndrome);
        return;
    }
#endif
    syndrome_of(z, n_columns, n_rows, row_start, column, shift, bits, twice, syndrome);
}

/* Belief propagation, row by row in the given order of turns, in passes over a window {ahead,
 * behind, slack}: from `behind` turns before the front to `ahead` after it, in every second pass half
 * as far ahead. The front is where the pass had read more than `slack` checks that were not met;
 * where it had not, and has come to the last row, it is the first row that is not satisfied now,
 * exactly. With `ahead` n_rows every pass has all rows, and the front is exact after each.
 *
 * Returns how many times n_rows turns it took to meet the syndrome exactly, rounded up, or minus
 * those after which it gave up: max_iterations, or when for `patience` passes the count of unmet
 * checks had not fallen by 1/32, nor the front of a window come further than ever.
 * `message` (n_edges x z): the first warm_rows rows begin with what it holds, the others with
 * zeros; when it gives up it holds where it ended, else zeros. The workspace holds
 * 2 (z + 32) n_columns + 2 z widest + 6 z + 4 (n_edges z / 32 + n_columns) bytes. */
int32_t ldpc_decode(const char *variant, int32_t z, int32_t n_columns, int32_t n_rows,
                    const int32_t *row_start, const int32_t *column, const int32_t *shift,
                    const int32_t *order, const int32_t *window, const int8_t *llr,
                    const uint8_t *syndrome, const uint16_t *phi, const uint8_t *inverse,
                    const uint8_t *near, int32_t max_iterations, int32_t patience, int32_t warm_rows, int8_t *message,
                    uint8_t *errors, void *workspace)
{
    const row_step_t step = step_of(variant);
    const int lanes = lanes_of(variant);
    work_t w = {.z = z, .row_start = row_start, .column = column, .shift = shift,
                .syndrome = syndrome, .phi = phi, .inverse = inverse, .near = near,
                .message = message};
    carve(&w, n_columns, n_rows, workspace);
    w.short_head = 1;
    for (int i = 32; i < 128; i++)
        w.short_head &= phi[i] < 256;
#if defined(__x86_64__)
    if (lanes)
        return decode_avx2(&w, step, lanes, n_columns, n_rows, order, window, llr, max_iterations,
                           patience, warm_rows, errors);
#endif
    return decode(&w, step, lanes, n_columns, n_rows, order, window, llr, max_iterations, patience,
                  warm_rows, errors);
}
