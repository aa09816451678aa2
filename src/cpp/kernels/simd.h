// Vectors of the instruction set: Eigen packets, which have the operators + - * / of the compiler's
// own vector types.
#pragma once

#include <Eigen/Core>

#include "api.h"

// Everything below this folder is in a namespace of its instruction set, so that the linker
// never merges two builds.
#define SEQCORE_JOIN2(a, b) a##b
#define SEQCORE_JOIN(a, b) SEQCORE_JOIN2(a, b)
#define SEQCORE_VARIANT SEQCORE_JOIN(isa_, SEQCORE_ISA)

namespace seqcore::SEQCORE_VARIANT {

namespace ei = Eigen::internal;

// The widest vector of T, and how many elements it holds.
template <class T>
using Wide = typename ei::packet_traits<T>::type;
template <class T>
constexpr int kLanes = ei::unpacket_traits<Wide<T>>::size;
// The vector of exactly N elements.
template <class T, int N>
using Vec = typename ei::find_best_packet<T, N>::type;

template <class P>
using Scalar = typename ei::unpacket_traits<P>::type;
template <class P>
constexpr int kSize = ei::unpacket_traits<P>::size;

template <class P>
SEQCORE_INLINE P load(const Scalar<P>* from) {
  return ei::ploadu<P>(from);
}
template <class P>
SEQCORE_INLINE void store(Scalar<P>* to, const P& value) {
  ei::pstoreu(to, value);
}
template <class P>
SEQCORE_INLINE P set1(Scalar<P> value) {
  return ei::pset1<P>(value);
}
// a·b + c, in one rounding where the instruction set can. Products and sums are fused here and
// nowhere else (-ffp-contract=off), so that every build of a kernel rounds alike.
template <class P>
SEQCORE_INLINE P mul_add(const P& a, const P& b, const P& c) {
  return ei::pmadd(a, b, c);
}
// a where a is NaN, so that NaN passes through a clamp.
template <class P>
SEQCORE_INLINE P clamp(const P& a, Scalar<P> low, Scalar<P> high) {
  return ei::pmin(ei::pmax(a, set1<P>(low)), set1<P>(high));
}

template <class P>
SEQCORE_INLINE auto lane_mask(int n) {
  return std::conditional_t<kSize<P> == 16, uint16_t, uint8_t>((1u << n) - 1);
}
// The first n elements; the others are 0.
template <class P>
SEQCORE_INLINE P load_n(const Scalar<P>* from, int n) {
  if (n == kSize<P>) return load<P>(from);
  if constexpr (ei::unpacket_traits<P>::masked_load_available)
    return ei::ploadu<P>(from, lane_mask<P>(n));
  alignas(64) Scalar<P> part[kSize<P>] = {};
  for (int i = 0; i < n; ++i) part[i] = from[i];
  return load<P>(part);
}
template <class P>
SEQCORE_INLINE void store_n(Scalar<P>* to, const P& value, int n) {
  if (n == kSize<P>) return store(to, value);
  if constexpr (ei::unpacket_traits<P>::masked_store_available)
    return ei::pstoreu(to, value, lane_mask<P>(n));
  alignas(64) Scalar<P> part[kSize<P>];
  store(part, value);
  for (int i = 0; i < n; ++i) to[i] = part[i];
}

// Prefetch the cache lines of n elements: into the first-level cache where they are read next, into
// the second-level cache where they are read a while later. For rows that lie too far apart for the
// hardware prefetcher to see the pattern.
template <class T>
SEQCORE_INLINE void prefetch_l1(const T* from, Index n) {
  for (Index i = 0; i < n; i += Index(64 / sizeof(T))) __builtin_prefetch(from + i, 0, 3);
}
template <class T>
SEQCORE_INLINE void prefetch_l2(const T* from, Index n) {
  for (Index i = 0; i < n; i += Index(64 / sizeof(T))) __builtin_prefetch(from + i, 0, 2);
}

// Bit patterns of a vector as integers, through the compiler's own vectors: Eigen has no 64-bit
// ones.
template <class P>
struct Bits {
  using Integer = std::conditional_t<sizeof(Scalar<P>) == 4, int32_t, int64_t>;
  typedef Integer Vector __attribute__((vector_size(sizeof(P))));
};

}  // namespace seqcore::SEQCORE_VARIANT
