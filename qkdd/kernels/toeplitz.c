/* Products of long polynomials over GF(2), by an additive Fourier transform over GF(2^128).
 *
 * A polynomial is cut into 64-bit words, the coefficients of a polynomial in z = x^64. A coefficient
 * of a product is a sum of products of two words, below degree 127, so that nothing wraps modulo
 * x^128 + x^7 + x^2 + x + 1 and the result is exact: integers only, no rounding anywhere.
 *
 * Transform: Lin, Chung, Han (FOCS 2014), in the basis X_j = product of s_i over the bits i of j,
 * on the span of a Cantor basis (Cantor 1989; Gao, Mateer 2010): beta_0 = 1, beta_i = beta_{i+1}^2
 * + beta_{i+1}. There s_i(beta_j) = beta_{j-i}, a butterfly costs one multiplication, and s_i for
 * i a power of two is x^(2^i) + x, which makes the change of basis a matter of XOR.
 *
 * Nothing here branches on or indexes by key bits.
 */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__x86_64__) && defined(__GNUC__)
#define HAVE_X86 1
#include <immintrin.h>
#endif

enum { GENERIC = 0, PCLMUL = 1, VPCLMUL = 2 };
enum { MAX_LOG2 = 20, IN_CACHE_LOG2 = 12 };

typedef struct {
    uint64_t lo, hi;
} el;

/* beta_1, beta_2, ... and their prefix sums: the twiddle of block b + 1 is that of block b plus
 * steps[number of trailing ones of b]. */
static el betas[MAX_LOG2], steps[MAX_LOG2];

static inline el add(el a, el b)
{
    return (el){a.lo ^ b.lo, a.hi ^ b.hi};
}

/* ---- multiplication in GF(2^128), portable and in constant time ---- */

/* Low 64 bits of a carry-less product: integer products of numbers with holes of three zeros, in
 * which sums of up to 15 ones cannot reach the next one; the 16th stands only at the very top. */
static inline uint64_t clmul_low(uint64_t x, uint64_t y)
{
    const uint64_t m = 0x1111111111111111u;
    uint64_t out = 0;
    for (int k = 0; k < 4; k++) {
        uint64_t sum = 0;
        for (int i = 0; i < 4; i++)
            sum ^= (x & (m << i)) * (y & (m << ((k - i) & 3)));
        out |= sum & (m << k);
    }
    return out;
}

static inline uint64_t reversed(uint64_t x)
{
    x = ((x >> 1) & 0x5555555555555555u) | ((x & 0x5555555555555555u) << 1);
    x = ((x >> 2) & 0x3333333333333333u) | ((x & 0x3333333333333333u) << 2);
    x = ((x >> 4) & 0x0f0f0f0f0f0f0f0fu) | ((x & 0x0f0f0f0f0f0f0f0fu) << 4);
    return __builtin_bswap64(x);
}

static inline el clmul(uint64_t x, uint64_t y)
{
    return (el){clmul_low(x, y), reversed(clmul_low(reversed(x), reversed(y))) >> 1};
}

/* w * (x^7 + x^2 + x + 1) */
static inline el fold(uint64_t w)
{
    return (el){w ^ w << 1 ^ w << 2 ^ w << 7, w >> 63 ^ w >> 62 ^ w >> 57};
}

static inline el mul_generic(el a, el b)
{
    el low = clmul(a.lo, b.lo), high = clmul(a.hi, b.hi);
    el middle = add(add(clmul(a.lo ^ a.hi, b.lo ^ b.hi), low), high);
    middle = add(middle, fold(high.hi));
    el top = fold(high.lo ^ middle.hi);
    return (el){low.lo ^ top.lo, low.hi ^ middle.lo ^ top.hi};
}

#ifdef HAVE_X86
#define TARGET_PCLMUL __attribute__((target("pclmul,sse4.1")))
#define TARGET_VPCLMUL __attribute__((target("avx512f,vpclmulqdq")))

TARGET_PCLMUL static inline el mul_pclmul(el x, el y)
{
    const __m128i poly = _mm_set_epi64x(0, 0x87);
    __m128i a = _mm_set_epi64x((long long)x.hi, (long long)x.lo);
    __m128i b = _mm_set_epi64x((long long)y.hi, (long long)y.lo);
    __m128i low = _mm_clmulepi64_si128(a, b, 0x00), high = _mm_clmulepi64_si128(a, b, 0x11);
    __m128i middle =
        _mm_xor_si128(_mm_clmulepi64_si128(a, b, 0x01), _mm_clmulepi64_si128(a, b, 0x10));
    middle = _mm_xor_si128(middle, _mm_clmulepi64_si128(high, poly, 0x01));
    __m128i top = _mm_xor_si128(high, _mm_srli_si128(middle, 8));
    low = _mm_xor_si128(low, _mm_slli_si128(middle, 8));
    low = _mm_xor_si128(low, _mm_clmulepi64_si128(top, poly, 0x00));
    return (el){(uint64_t)_mm_cvtsi128_si64(low), (uint64_t)_mm_extract_epi64(low, 1)};
}
#endif

/* ---- layers of butterflies: blocks first, first + 1, ... of 2 * half points each ---- */

static el twiddle(size_t block)
{
    el sum = {0, 0};
    for (int t = 0; block >> t; t++)
        if (block >> t & 1)
            sum = add(sum, betas[t]);
    return sum;
}

#define SCALAR_LAYERS(NAME, TARGET, MUL)                                                          \
    TARGET static void forward_##NAME(el *a, size_t half, size_t first, size_t n_blocks)          \
    {                                                                                             \
        el t = twiddle(first);                                                                    \
        for (size_t b = first; b < first + n_blocks; b++, a += 2 * half) {                        \
            for (size_t j = 0; j < half; j++) {                                                   \
                a[j] = add(a[j], MUL(a[half + j], t));                                            \
                a[half + j] = add(a[half + j], a[j]);                                             \
            }                                                                                     \
            t = add(t, steps[__builtin_ctzll(b + 1)]);                                            \
        }                                                                                         \
    }                                                                                             \
    TARGET static void backward_##NAME(el *a, size_t half, size_t first, size_t n_blocks)         \
    {                                                                                             \
        el t = twiddle(first);                                                                    \
        for (size_t b = first; b < first + n_blocks; b++, a += 2 * half) {                        \
            for (size_t j = 0; j < half; j++) {                                                   \
                a[half + j] = add(a[half + j], a[j]);                                             \
                a[j] = add(a[j], MUL(a[half + j], t));                                            \
            }                                                                                     \
            t = add(t, steps[__builtin_ctzll(b + 1)]);                                            \
        }                                                                                         \
    }                                                                                             \
    TARGET static void pointwise_##NAME(el *acc, const el *x, const el *s, size_t n)              \
    {                                                                                             \
        for (size_t j = 0; j < n; j++)                                                            \
            acc[j] = add(acc[j], MUL(x[j], s[j]));                                                \
    }

SCALAR_LAYERS(generic, , mul_generic)
#ifdef HAVE_X86
SCALAR_LAYERS(pclmul, TARGET_PCLMUL, mul_pclmul)

TARGET_VPCLMUL static inline __m512i mul4(__m512i a, __m512i b)
{
    const __m512i poly = _mm512_set_epi64(0, 0x87, 0, 0x87, 0, 0x87, 0, 0x87);
    __m512i low = _mm512_clmulepi64_epi128(a, b, 0x00);
    __m512i high = _mm512_clmulepi64_epi128(a, b, 0x11);
    __m512i middle = _mm512_xor_si512(_mm512_clmulepi64_epi128(a, b, 0x01),
                                      _mm512_clmulepi64_epi128(a, b, 0x10));
    middle = _mm512_xor_si512(middle, _mm512_clmulepi64_epi128(high, poly, 0x01));
    /* lanes (0, middle.lo) and (middle.hi, 0) */
    const __m512i zero = _mm512_setzero_si512();
    __m512i top = _mm512_xor_si512(high, _mm512_unpackhi_epi64(middle, zero));
    low = _mm512_xor_si512(low, _mm512_unpacklo_epi64(zero, middle));
    return _mm512_xor_si512(low, _mm512_clmulepi64_epi128(top, poly, 0x00));
}

TARGET_VPCLMUL static inline __m512i broadcast(el t)
{
    return _mm512_broadcast_i32x4(_mm_set_epi64x((long long)t.hi, (long long)t.lo));
}

TARGET_VPCLMUL static inline __m512i four(el a, el b, el c, el d)
{
    return _mm512_set_epi64((long long)d.hi, (long long)d.lo, (long long)c.hi, (long long)c.lo,
                            (long long)b.hi, (long long)b.lo, (long long)a.hi, (long long)a.lo);
}

/* Eight points from two registers into those that take u and v, and back (its own inverse up to
 * the order of arguments): half = 2 pairs (0 1 4 5 | 2 3 6 7), half = 1 pairs (0 2 4 6 | 1 3 5 7). */
TARGET_VPCLMUL static inline void split(size_t half, __m512i *p, __m512i *q)
{
    __m512i a = *p, b = *q;
    if (half == 2) {
        *p = _mm512_shuffle_i64x2(a, b, 0x44);
        *q = _mm512_shuffle_i64x2(a, b, 0xee);
    } else {
        *p = _mm512_shuffle_i64x2(a, b, 0x88);
        *q = _mm512_shuffle_i64x2(a, b, 0xdd);
    }
}

TARGET_VPCLMUL static inline void unsplit(size_t half, __m512i *p, __m512i *q)
{
    __m512i a = *p, b = *q;
    if (half == 2) {
        *p = _mm512_shuffle_i64x2(a, b, 0x44);
        *q = _mm512_shuffle_i64x2(a, b, 0xee);
    } else {
        const __m512i first = _mm512_set_epi64(11, 10, 3, 2, 9, 8, 1, 0);
        const __m512i second = _mm512_set_epi64(15, 14, 7, 6, 13, 12, 5, 4);
        *p = _mm512_permutex2var_epi64(a, first, b);
        *q = _mm512_permutex2var_epi64(a, second, b);
    }
}

/* Blocks of fewer than eight points: eight points at a time, from a whole multiple of blocks. */
TARGET_VPCLMUL static void small_vpclmul(int forward, el *a, size_t half, size_t first,
                                         size_t n_points)
{
    const size_t per = 4 / half; /* blocks in eight points */
    const el t1 = twiddle(1), t2 = twiddle(2), t3 = add(t1, t2), t0 = {0, 0};
    const __m512i within = half == 2 ? four(t0, t0, t1, t1) : four(t0, t1, t2, t3);
    for (size_t j = 0; j < n_points; j += 8, first += per) {
        __m512i t = _mm512_xor_si512(broadcast(twiddle(first)), within);
        __m512i u = _mm512_loadu_si512(a + j), v = _mm512_loadu_si512(a + j + 4);
        split(half, &u, &v);
        if (forward) {
            u = _mm512_xor_si512(u, mul4(v, t));
            v = _mm512_xor_si512(v, u);
        } else {
            v = _mm512_xor_si512(v, u);
            u = _mm512_xor_si512(u, mul4(v, t));
        }
        unsplit(half, &u, &v);
        _mm512_storeu_si512(a + j, u);
        _mm512_storeu_si512(a + j + 4, v);
    }
}

TARGET_VPCLMUL static void forward_vpclmul(el *a, size_t half, size_t first, size_t n_blocks)
{
    if (half < 4) {
        small_vpclmul(1, a, half, first, 2 * half * n_blocks);
        return;
    }
    el scalar = twiddle(first);
    for (size_t b = first; b < first + n_blocks; b++, a += 2 * half) {
        const __m512i t = broadcast(scalar);
        for (size_t j = 0; j < half; j += 4) {
            __m512i v = _mm512_loadu_si512(a + half + j);
            __m512i u = _mm512_xor_si512(_mm512_loadu_si512(a + j), mul4(v, t));
            _mm512_storeu_si512(a + j, u);
            _mm512_storeu_si512(a + half + j, _mm512_xor_si512(u, v));
        }
        scalar = add(scalar, steps[__builtin_ctzll(b + 1)]);
    }
}

TARGET_VPCLMUL static void backward_vpclmul(el *a, size_t half, size_t first, size_t n_blocks)
{
    if (half < 4) {
        small_vpclmul(0, a, half, first, 2 * half * n_blocks);
        return;
    }
    el scalar = twiddle(first);
    for (size_t b = first; b < first + n_blocks; b++, a += 2 * half) {
        const __m512i t = broadcast(scalar);
        for (size_t j = 0; j < half; j += 4) {
            __m512i u = _mm512_loadu_si512(a + j);
            __m512i v = _mm512_xor_si512(_mm512_loadu_si512(a + half + j), u);
            _mm512_storeu_si512(a + j, _mm512_xor_si512(u, mul4(v, t)));
            _mm512_storeu_si512(a + half + j, v);
        }
        scalar = add(scalar, steps[__builtin_ctzll(b + 1)]);
    }
}

TARGET_VPCLMUL static void pointwise_vpclmul(el *acc, const el *x, const el *s, size_t n)
{
    for (size_t j = 0; j < n; j += 4) {
        __m512i product = mul4(_mm512_loadu_si512(x + j), _mm512_loadu_si512(s + j));
        _mm512_storeu_si512(acc + j, _mm512_xor_si512(_mm512_loadu_si512(acc + j), product));
    }
}
#endif

typedef void (*layer_function)(el *, size_t, size_t, size_t);
typedef void (*pointwise_function)(el *, const el *, const el *, size_t);

static const struct {
    layer_function forward, backward;
    pointwise_function pointwise;
} variants[] = {
    {forward_generic, backward_generic, pointwise_generic},
#ifdef HAVE_X86
    {forward_pclmul, backward_pclmul, pointwise_pclmul},
    {forward_vpclmul, backward_vpclmul, pointwise_vpclmul},
#endif
};

/* ---- the transform: all layers on 2^dim points, block-first so that the inner ones stay in cache */

static void forward(layer_function layer, el *a, int dim, size_t block)
{
    if (dim > IN_CACHE_LOG2) {
        size_t half = (size_t)1 << (dim - 1);
        layer(a, half, block, 1);
        forward(layer, a, dim - 1, 2 * block);
        forward(layer, a + half, dim - 1, 2 * block + 1);
        return;
    }
    for (int i = dim - 1; i >= 0; i--)
        layer(a, (size_t)1 << i, block << (dim - 1 - i), (size_t)1 << (dim - 1 - i));
}

static void backward(layer_function layer, el *a, int dim, size_t block)
{
    if (dim > IN_CACHE_LOG2) {
        size_t half = (size_t)1 << (dim - 1);
        backward(layer, a, dim - 1, 2 * block);
        backward(layer, a + half, dim - 1, 2 * block + 1);
        layer(a, half, block, 1);
        return;
    }
    for (int i = 0; i < dim; i++)
        layer(a, (size_t)1 << i, block << (dim - 1 - i), (size_t)1 << (dim - 1 - i));
}

/* ---- change of basis: powers of x <-> X_j; 2^dim coefficients of `width` words each ---- */

static void xor_words(uint64_t *to, const uint64_t *from, size_t n)
{
    for (size_t j = 0; j < n; j++)
        to[j] ^= from[j];
}

/* Largest power of two below dim. */
static int radix_log2(int dim)
{
    int i = 1;
    while (2 * i < dim)
        i *= 2;
    return i;
}

/* With t = 2^i and s = x^t + x: x^m = s^(m/t) + x^(m/t), so the upper half of 2m coefficients is
 * added m - m/t places below; its own top m/t first, as they land in the upper half. */
static void expand(uint64_t *a, int dim, int i, size_t width, int inverse)
{
    size_t m = (size_t)1 << (dim - 1), q = m >> i;
    if (!q)
        return;
    if (inverse) {
        expand(a, dim - 1, i, width, 1);
        expand(a + m * width, dim - 1, i, width, 1);
        xor_words(a + q * width, a + m * width, (m - q) * width);
        xor_words(a + m * width, a + (2 * m - q) * width, q * width);
    } else {
        xor_words(a + m * width, a + (2 * m - q) * width, q * width);
        xor_words(a + q * width, a + m * width, (m - q) * width);
        expand(a, dim - 1, i, width, 0);
        expand(a + m * width, dim - 1, i, width, 0);
    }
}

static void change_basis(uint64_t *a, int dim, size_t width, int inverse)
{
    if (dim < 2)
        return;
    int i = radix_log2(dim);
    size_t inner = (size_t)1 << i, outer = (size_t)1 << (dim - i);
    if (!inverse) {
        expand(a, dim, i, width, 0);
        change_basis(a, dim - i, inner * width, 0);
    }
    for (size_t j = 0; j < outer; j++)
        change_basis(a + j * inner * width, i, width, inverse);
    if (inverse) {
        change_basis(a, dim - i, inner * width, 1);
        expand(a, dim, i, width, 1);
    }
}

/* ---- entry points ---- */

/* Compute the Cantor basis; 0 if it came out right. Call once, before anything else. */
int toeplitz_init(void)
{
    el chain[128];
    for (int bit = 0; bit < 128; bit++) {
        el y = bit < 64 ? (el){(uint64_t)1 << bit, 0} : (el){0, (uint64_t)1 << (bit - 64)};
        chain[127] = y; /* of trace 1, if 127 times y^2 + y leads to 1 */
        for (int j = 127; j > 0; j--)
            chain[j - 1] = add(mul_generic(chain[j], chain[j]), chain[j]);
        if (chain[0].lo == 1 && chain[0].hi == 0) {
            el sum = {0, 0};
            for (int t = 0; t < MAX_LOG2; t++) {
                betas[t] = chain[t + 1];
                steps[t] = sum = add(sum, betas[t]);
            }
            return 0;
        }
    }
    return -1;
}

int toeplitz_supported(int variant)
{
    if (variant == GENERIC)
        return 1;
#ifdef HAVE_X86
    __builtin_cpu_init();
    if (variant == PCLMUL)
        return __builtin_cpu_supports("pclmul") && __builtin_cpu_supports("sse4.1");
    if (variant == VPCLMUL)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("vpclmulqdq");
#endif
    return 0;
}

/* Values, at 2^log2_points points, of the polynomial of half as many words; log2_points >= 4.
 * spectrum: 2 * 2^log2_points words. */
void toeplitz_transform(int variant, int log2_points, const uint8_t *packed, uint64_t *spectrum)
{
    size_t half = (size_t)1 << (log2_points - 1);
    uint64_t *words = spectrum + 3 * half; /* the last quarter, read before it is overwritten */
    memcpy(words, packed, half * 8);
    change_basis(words, log2_points - 1, 1, 0);
    el *a = (el *)spectrum;
    for (size_t j = 0; j < half; j++)
        a[j] = (el){words[j], 0};
    /* The topmost layer of a polynomial whose upper half is 0 copies the lower one. */
    memcpy(a + half, a, half * sizeof(el));
    forward(variants[variant].forward, a, log2_points - 1, 0);
    forward(variants[variant].forward, a + half, log2_points - 1, 1);
}

void toeplitz_accumulate(int variant, size_t n_points, uint64_t *acc, const uint64_t *x,
                         const uint64_t *s)
{
    variants[variant].pointwise((el *)acc, (const el *)x, (const el *)s, n_points);
}

/* The polynomial, of 2^log2_points words, whose values are given; they are lost and wiped. */
void toeplitz_product(int variant, int log2_points, uint64_t *spectrum, uint8_t *packed)
{
    size_t n = (size_t)1 << log2_points;
    backward(variants[variant].backward, (el *)spectrum, log2_points, 0);
    change_basis(spectrum, log2_points, 2, 1);
    uint64_t carry = 0;
    for (size_t j = 0; j < n; j++) {
        uint64_t word = spectrum[2 * j] ^ carry;
        carry = spectrum[2 * j + 1];
        memcpy(packed + 8 * j, &word, 8);
    }
    memset(spectrum, 0, n * sizeof(el));
}
