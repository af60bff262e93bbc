// AVX-512 intrinsics in plain C for the tests: those of SIMDe, and those that its Debian package (0.7.4) lacks.
#define SIMDE_NO_INLINE
#define SIMDE_NO_NATIVE
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>
#include <string.h>

#define LANES(n) for (int i = 0; i < n; ++i)
#define ON(mask) if (mask >> i & 1)
#define OPEN(to, from) simde__m512i_private to = simde__m512i_to_private(from)

static void _mm512_mask_storeu_epi8(void *at, uint64_t mask, __m512i a) {
    OPEN(from, a);
    LANES(64) ON(mask) ((int8_t *)at)[i] = from.i8[i];
}
static __m512i _mm512_mask_loadu_epi8(__m512i d, uint64_t mask, const void *at) {
    OPEN(to, d);
    LANES(64) ON(mask) to.i8[i] = ((const int8_t *)at)[i];
    return simde__m512i_from_private(to);
}
static __m512i _mm512_maskz_loadu_epi8(uint64_t mask, const void *at) {
    return _mm512_mask_loadu_epi8(_mm512_setzero_si512(), mask, at);
}
static __m512i _mm512_maskz_loadu_epi32(uint16_t mask, const void *at) {
    OPEN(to, _mm512_setzero_si512());
    LANES(16) ON(mask) memcpy(&to.i32[i], (const char *)at + 4 * i, 4);
    return simde__m512i_from_private(to);
}
static __m512i _mm512_maskz_loadu_epi16(uint32_t mask, const void *at) {
    OPEN(to, _mm512_setzero_si512());
    LANES(32) ON(mask) memcpy(&to.i16[i], (const char *)at + 2 * i, 2);
    return simde__m512i_from_private(to);
}
static __m512i _mm512_mask_sub_epi16(__m512i d, uint32_t mask, __m512i a, __m512i b) {
    OPEN(to, d);
    OPEN(from, _mm512_sub_epi16(a, b));
    LANES(32) ON(mask) to.i16[i] = from.i16[i];
    return simde__m512i_from_private(to);
}
static __m512i _mm512_mask_slli_epi32(__m512i d, uint16_t mask, __m512i a, unsigned shift) {
    OPEN(to, d);
    OPEN(from, _mm512_slli_epi32(a, shift));
    LANES(16) ON(mask) to.i32[i] = from.i32[i];
    return simde__m512i_from_private(to);
}
static __m512i _mm512_mask_srai_epi32(__m512i d, uint16_t mask, __m512i a, unsigned shift) {
    OPEN(to, d);
    OPEN(from, a);
    LANES(16) ON(mask) to.i32[i] = from.i32[i] >> shift;
    return simde__m512i_from_private(to);
}
static __m512i _mm512_srai_epi32(__m512i a, unsigned shift) {
    return _mm512_mask_srai_epi32(a, 0xffff, a, shift);
}
static __m128i _mm_maskz_loadu_epi8(uint16_t mask, const void *at) {
    return _mm512_castsi512_si128(_mm512_maskz_loadu_epi8(mask, at));
}
static __m256i _mm256_maskz_loadu_epi8(uint32_t mask, const void *at) {
    return _mm512_castsi512_si256(_mm512_maskz_loadu_epi8(mask, at));
}
static __m256i _mm256_maskz_loadu_epi16(uint16_t mask, const void *at) {
    uint64_t bytes = 0;
    LANES(16) ON(mask) bytes |= 3ull << 2 * i;
    return _mm512_castsi512_si256(_mm512_maskz_loadu_epi8(bytes, at));
}
static __m512i _mm512_zextsi128_si512(__m128i a) {
    int8_t bytes[64] = {0};
    memcpy(bytes, &a, sizeof a);
    return _mm512_loadu_si512(bytes);
}
static __m512i _mm512_mask_cvtepi8_epi16(__m512i d, uint32_t mask, __m256i a) {
    OPEN(to, d);
    LANES(32) ON(mask) to.i16[i] = ((const int8_t *)&a)[i];
    return simde__m512i_from_private(to);
}
static __m512i _mm512_mask_cvtepi8_epi32(__m512i d, uint16_t mask, __m128i a) {
    OPEN(to, d);
    LANES(16) ON(mask) to.i32[i] = ((const int8_t *)&a)[i];
    return simde__m512i_from_private(to);
}
static __m512i _mm512_cvtepi8_epi32(__m128i a) {
    return _mm512_mask_cvtepi8_epi32(_mm512_setzero_si512(), 0xffff, a);
}
static __m512i _mm512_mask_cvtepu16_epi32(__m512i d, uint16_t mask, __m256i a) {
    OPEN(to, d);
    LANES(16) ON(mask) {
        uint16_t word;
        memcpy(&word, (const char *)&a + 2 * i, 2);
        to.i32[i] = word;
    }
    return simde__m512i_from_private(to);
}
static __m512i _mm512_cvtepu16_epi32(__m256i a) {
    return _mm512_mask_cvtepu16_epi32(_mm512_setzero_si512(), 0xffff, a);
}
static __m512 _mm512_mask_cvtepi32_ps(__m512 d, uint16_t mask, __m512i a) {
    OPEN(from, a);
    OPEN(to, _mm512_castps_si512(d));
    LANES(16) ON(mask) to.f32[i] = (float)from.i32[i];
    return _mm512_castsi512_ps(simde__m512i_from_private(to));
}
static __m512 _mm512_cvtepi32_ps(__m512i a) {
    return _mm512_mask_cvtepi32_ps(_mm512_setzero_ps(), 0xffff, a);
}
static __m512i _mm512_mask_cvtps_epi32(__m512i d, uint16_t mask, __m512 a) {
    OPEN(from, _mm512_castps_si512(a));
    OPEN(to, d);
    LANES(16) ON(mask) {
        double value = __builtin_rint(from.f32[i]);
        to.i32[i] = value >= -0x1p31 && value < 0x1p31 ? (int32_t)value : INT32_MIN;
    }
    return simde__m512i_from_private(to);
}
static __m512i _mm512_cvtps_epi32(__m512 a) {
    return _mm512_mask_cvtps_epi32(_mm512_setzero_si512(), 0xffff, a);
}
#undef _mm512_fmadd_ps // SIMDe rounds the product too
static __m512 _mm512_fmadd_ps(__m512 a, __m512 b, __m512 c) {
    OPEN(x, _mm512_castps_si512(a));
    OPEN(y, _mm512_castps_si512(b));
    OPEN(to, _mm512_castps_si512(c));
    LANES(16) to.f32[i] = __builtin_fmaf(x.f32[i], y.f32[i], to.f32[i]);
    return _mm512_castsi512_ps(simde__m512i_from_private(to));
}
static __m512 _mm512_mask3_fmadd_ps(__m512 a, __m512 b, __m512 c, uint16_t mask) {
    return _mm512_mask_mov_ps(c, mask, _mm512_fmadd_ps(a, b, c));
}
static __m512i _mm512_mask_i32gather_epi32(__m512i d, uint16_t mask, __m512i index, const void *base, int scale) {
    OPEN(from, index);
    OPEN(to, d);
    LANES(16) ON(mask) memcpy(&to.i32[i], (const char *)base + (int64_t)scale * from.i32[i], 4);
    return simde__m512i_from_private(to);
}
static __m512i _mm512_i32gather_epi32(__m512i index, const void *base, int scale) {
    return _mm512_mask_i32gather_epi32(_mm512_setzero_si512(), 0xffff, index, base, scale);
}
static __m512i _mm512_maskz_loadu_epi64(uint8_t mask, const void *at) {
    OPEN(to, _mm512_setzero_si512());
    LANES(8) ON(mask) memcpy(&to.i64[i], (const char *)at + 8 * i, 8);
    return simde__m512i_from_private(to);
}
static __m512d _mm512_cvtepi32_pd(__m256i a) {
    OPEN(to, _mm512_setzero_si512());
    LANES(8) to.f64[i] = ((const int32_t *)&a)[i];
    return _mm512_castsi512_pd(simde__m512i_from_private(to));
}
static __m256i _mm512_cvtpd_epi32(__m512d a) {
    OPEN(from, _mm512_castpd_si512(a));
    int32_t words[16] = {0};
    LANES(8) {
        double value = __builtin_rint(from.f64[i]);
        words[i] = value >= -0x1p31 && value < 0x1p31 ? (int32_t)value : INT32_MIN;
    }
    return _mm512_castsi512_si256(_mm512_loadu_si512(words));
}
static __m512i _mm512_zextsi256_si512(__m256i a) {
    int8_t bytes[64] = {0};
    memcpy(bytes, &a, sizeof a);
    return _mm512_loadu_si512(bytes);
}
static __m512i _mm512_mask_cvtepi16_epi32(__m512i d, uint16_t mask, __m256i a) {
    OPEN(to, d);
    LANES(16) ON(mask) to.i32[i] = ((const int16_t *)&a)[i];
    return simde__m512i_from_private(to);
}
static __m512i _mm512_cvtepi16_epi32(__m256i a) {
    return _mm512_mask_cvtepi16_epi32(_mm512_setzero_si512(), 0xffff, a);
}
static __m512i _mm512_mask_srav_epi32(__m512i d, uint16_t mask, __m512i a, __m512i b) {
    OPEN(from, a);
    OPEN(by, b);
    OPEN(to, d);
    LANES(16) ON(mask) to.i32[i] = from.i32[i] >> ((uint32_t)by.i32[i] < 32 ? by.i32[i] : 31);
    return simde__m512i_from_private(to);
}
static __m512i _mm512_srav_epi32(__m512i a, __m512i b) {
    return _mm512_mask_srav_epi32(_mm512_setzero_si512(), 0xffff, a, b);
}
