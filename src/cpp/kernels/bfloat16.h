// The operands of a product: elements of its own type T, or pairs of bfloat16 whose products are
// summed in float (AVX-512 BF16).
//
// A bfloat16 is the upper half of a float, rounded to nearest even. A Bf16Pair holds the elements k
// (low half) and k + 1 (high half) of a row or column; one instruction adds both their products to
// a float. A pair is as wide as a float, so panels, strides and tiles of pairs look like those of
// floats with half the k.
#pragma once

#include "simd.h"

#ifdef __AVX512BF16__
#include <immintrin.h>
#endif

namespace seqcore::SEQCORE_VARIANT {

struct Bf16Pair {
  uint32_t bits;
};

// True if products of T can be made of bfloat16 pairs.
#ifdef __AVX512BF16__
template <class T>
constexpr bool kHasBf16 = sizeof(T) == sizeof(float);
#else
template <class T>
constexpr bool kHasBf16 = false;
#endif

// Number of pairs of `count` elements; the last may be half empty.
constexpr Index pair_count(Index count) { return (count + 1) / 2; }

// Values of k in one element of E (T or Bf16Pair), and elements of E for K values.
template <class E>
constexpr int kKPerElement = std::is_same_v<E, Bf16Pair> ? 2 : 1;
template <class E>
SEQCORE_INLINE Index packed_depth(Index K) {
  return (K + kKPerElement<E> - 1) / kKPerElement<E>;
}

// std::type_identity of C++20: a parameter whose type the other arguments decide.
template <class T>
struct type_identity {
  using type = T;
};
template <class T>
using type_identity_t = typename type_identity<T>::type;

// The vector of E that a product loads or broadcasts.
template <class E>
struct OperandOf {
  using Type = Wide<E>;
};
template <class E>
using Operand = typename OperandOf<E>::Type;

template <class T>
SEQCORE_INLINE Operand<T> load_operand(const T* from) {
  return load<Wide<T>>(from);
}
template <class T>
SEQCORE_INLINE Operand<T> set1_operand(T value) {
  return set1<Wide<T>>(value);
}

#ifdef __AVX512BF16__

struct Bf16Vector {
  __m512i bits;
};
template <>
struct OperandOf<Bf16Pair> {
  using Type = Bf16Vector;
};
SEQCORE_INLINE Bf16Vector load_operand(const Bf16Pair* from) { return {_mm512_loadu_si512(from)}; }
SEQCORE_INLINE Bf16Vector set1_operand(Bf16Pair value) {
  return {_mm512_set1_epi32(int(value.bits))};
}
SEQCORE_INLINE Wide<float> mul_add(const Bf16Vector& a, const Bf16Vector& b, const Wide<float>& c) {
  return _mm512_dpbf16_ps(c, (__m512bh)a.bits, (__m512bh)b.bits);
}

// Rounds low and high, and stores the pairs (low, high) lane by lane.
SEQCORE_INLINE void store_bf16(Bf16Pair* to, const Wide<float>& low, const Wide<float>& high) {
  const __m512i first = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(low));
  const __m512i second = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(high));
  _mm512_storeu_si512(to, _mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
}

// Rounds a row to pairs of neighbors: pair_count(count) of them.
SEQCORE_INLINE void to_bf16_row(const float* from, Index count, Bf16Pair* to) {
  Index k = 0;
  for (; k + 32 <= count; k += 32)
    _mm512_storeu_si512(to + k / 2, (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(from + k + 16),
                                                                 _mm512_loadu_ps(from + k)));
  if (k == count) return;
  alignas(64) float part[32] = {};
  for (Index i = k; i < count; ++i) part[i - k] = from[i];
  alignas(64) Bf16Pair pairs[16];
  _mm512_store_si512(pairs,
                     (__m512i)_mm512_cvtne2ps_pbh(_mm512_load_ps(part + 16), _mm512_load_ps(part)));
  for (Index i = k / 2; i < pair_count(count); ++i) to[i] = pairs[i - k / 2];
}

#else

SEQCORE_INLINE void store_bf16(Bf16Pair*, const Wide<float>&, const Wide<float>&) {}
SEQCORE_INLINE void to_bf16_row(const float*, Index, Bf16Pair*) {}

#endif

// Element k of a packed column, from the element of E that holds it.
template <class T>
SEQCORE_INLINE T unpack_element(T value, Index) {
  return value;
}
SEQCORE_INLINE float unpack_element(Bf16Pair pair, Index k) {
  const uint32_t bits = k % 2 ? pair.bits & 0xffff0000u : pair.bits << 16;
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

// Stores the first n lanes of row k (pairs: of rows k and k + 1) of a packed matrix with K rows;
// read(k) gives a vector of T.
template <class T, class E, class Read>
SEQCORE_INLINE void pack_lanes(E* to, int n, Index k, Index K, Read read) {
  if constexpr (kKPerElement<E> == 1) {
    store_n(to, read(k), n);
  } else if constexpr (kHasBf16<T>) {
    const Wide<T> low = read(k), high = k + 1 < K ? read(k + 1) : set1<Wide<T>>(0);
    if (n == kLanes<T>) return store_bf16(to, low, high);
    alignas(64) Bf16Pair part[kLanes<T>];
    store_bf16(part, low, high);
    for (int i = 0; i < n; ++i) to[i] = part[i];
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
