// Vectors of the instruction set as Eigen packets, and the functions of the gates on them.
#pragma once

#include <Eigen/Core>

#include "api.h"

// Everything below this folder stands in a namespace of its instruction set, so that the linker
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
template <class P>
SEQCORE_INLINE P mul_add(const P& a, const P& b, const P& c) {
  return ei::pmadd(a, b, c);
}
template <class P>
SEQCORE_INLINE P mul(const P& a, const P& b) {
  return ei::pmul(a, b);
}
template <class P>
SEQCORE_INLINE P add(const P& a, const P& b) {
  return ei::padd(a, b);
}
template <class P>
SEQCORE_INLINE P sub(const P& a, const P& b) {
  return ei::psub(a, b);
}
template <class P>
SEQCORE_INLINE P div(const P& a, const P& b) {
  return ei::pdiv(a, b);
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

// Asks for the cache lines of n elements that will be read next, or (far) a while later, so that
// they wait in the second-level cache. For rows that lie too far apart for the processor to see
// what comes.
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

template <class T>
struct ExpConstants;
// kRound: 1.5 · 2^kMantissa, to which adding a number rounds it to an integer, plus the bias of the
// exponent. 2^f = 1 + f (t0 + t1 f + ...) for |f| <= 1/2, a Chebyshev fit; relative error of the
// bracket 1.2e-8 and 2e-17.
template <>
struct ExpConstants<float> {
  static constexpr float kLow = -87.0f, kHigh = 88.0f, kRound = 12582912.0f + 127,
                         kTanhSaturation = 10.0f;
  static constexpr int kMantissa = 23, kTerms = 6;
  static constexpr float kCoefficients[kTerms] = {
      0.69314718802622878106f,   0.24022650760568126945f,   0.055503571142190778186f,
      0.0096180825572778514913f, 0.0013390863364671234381f, 0.00015453162945120690177f};
};
template <>
struct ExpConstants<double> {
  static constexpr double kLow = -708.0, kHigh = 709.0, kRound = 6755399441055744.0 + 1023,
                          kTanhSaturation = 20.0;
  static constexpr int kMantissa = 52, kTerms = 11;
  static constexpr double kCoefficients[kTerms] = {
      0.69314718055994530942,     0.2402265069591009822,    0.055504108664821594339,
      0.0096181291076068885273,   0.001333355814641693531,  0.00015403530441736050155,
      0.000015252733829836118394, 1.3215442587921689653e-6, 1.0178062445845773521e-7,
      7.0725859492692236999e-9,   4.4549605981865183938e-10};
};

template <class P>
constexpr Scalar<P> kLog2E = Scalar<P>(1.44269504088896340736);

// 2^(factor·x) = power · (1 + rest): power is a power of two, rest what is left, less one. factor·x
// must stay between the least and the largest exponent; NaN gives NaN. The fraction of factor·x is
// exact but for the rounding of `factor`, which costs 1e-8·|factor·x| of the result (float).
template <class P>
SEQCORE_INLINE void exp2_parts(const P& x, Scalar<P> factor, P& power, P& rest) {
  using C = ExpConstants<Scalar<P>>;
  using B = typename Bits<P>::Vector;
  const P shifted = mul_add(x, set1<P>(factor), set1<P>(C::kRound));
  const P f = mul_add(x, set1<P>(factor), sub(set1<P>(C::kRound), shifted));
  P sum = set1<P>(C::kCoefficients[C::kTerms - 1]);
  for (int i = C::kTerms - 2; i >= 0; --i) sum = mul_add(sum, f, set1<P>(C::kCoefficients[i]));
  rest = mul(f, sum);
  power = (P)((B)shifted << C::kMantissa);
}

// exp(x); 0 below kLow, so that no denormal number arises.
template <class P>
SEQCORE_INLINE P exp(const P& x) {
  using C = ExpConstants<Scalar<P>>;
  using B = typename Bits<P>::Vector;
  P power, rest;
  exp2_parts(clamp(x, C::kLow, C::kHigh), kLog2E<P>, power, rest);
  const B small = (B)(x < set1<P>(C::kLow));
  return (P)((B)mul_add(power, rest, power) & ~small);
}

// 1 + e^{-x}, with e^{-x} at most e^{end}.
template <class P>
SEQCORE_INLINE P sigmoid_denominator(const P& x, Scalar<P> end) {
  P power, rest;
  exp2_parts(clamp(x, -end, end), -kLog2E<P>, power, rest);
  return add(set1<P>(1), mul_add(power, rest, power));
}
template <class P>
SEQCORE_INLINE P sigmoid(const P& x) {
  return div(set1<P>(1), sigmoid_denominator(x, -ExpConstants<Scalar<P>>::kLow));
}

// e^{2x} - 1, free of cancellation near 0; tanh x = that / (that + 2).
template <class P>
SEQCORE_INLINE P tanh_numerator(const P& x) {
  using C = ExpConstants<Scalar<P>>;
  P power, rest;
  exp2_parts(clamp(x, -C::kTanhSaturation, C::kTanhSaturation), 2 * kLog2E<P>, power, rest);
  return mul_add(power, rest, sub(power, set1<P>(1)));
}
template <class P>
SEQCORE_INLINE P tanh(const P& x) {
  const P top = tanh_numerator(x);
  return div(top, add(top, set1<P>(2)));
}

// Division is the slowest step of the gates: two of them share one, 1/a = b · 1/(ab). So that the
// product stays finite, each denominator is at most e^{kHalf}; below -kHalf a sigmoid of a pair
// stays at e^{-kHalf} (2e-19, 1e-152 in double).
template <class P>
constexpr Scalar<P> kHalf = -ExpConstants<Scalar<P>>::kLow / 2 - Scalar<P>(0.5);

template <class P>
SEQCORE_INLINE void reciprocals(const P& a, const P& b, P& one_over_a, P& one_over_b) {
  const P both = div(set1<P>(1), mul(a, b));
  one_over_a = mul(both, b);
  one_over_b = mul(both, a);
}
template <class P>
SEQCORE_INLINE void two_sigmoids(P& x, P& y) {
  const P a = sigmoid_denominator(x, kHalf<P>), b = sigmoid_denominator(y, kHalf<P>);
  reciprocals(a, b, x, y);
}
template <class P>
SEQCORE_INLINE void tanh_and_sigmoid(P& x, P& y) {
  const P top = tanh_numerator(x), b = sigmoid_denominator(y, kHalf<P>);
  reciprocals(add(top, set1<P>(2)), b, x, y);
  x = mul(top, x);
}

template <class P>
SEQCORE_INLINE P relu(const P& x) {
  return ei::pmax(x, set1<P>(0));
}

// An activation known when compiling.
template <Activation A>
struct StaticActivation {
  template <class P>
  SEQCORE_INLINE P value(const P& x) const {
    using S = Scalar<P>;
    if constexpr (A == Activation::kTanh) return tanh(x);
    if constexpr (A == Activation::kSigmoid) return sigmoid(x);
    if constexpr (A == Activation::kRelu) return relu(x);
    if constexpr (A == Activation::kHardSigmoid)
      return clamp(mul_add(x, set1<P>(S(1.0 / 6.0)), set1<P>(S(0.5))), S(0), S(1));
    return x;
  }
  // The derivative, from the value y.
  template <class P>
  SEQCORE_INLINE P derivative(const P& y) const {
    using S = Scalar<P>;
    using B = typename Bits<P>::Vector;
    const P one = set1<P>(1);
    if constexpr (A == Activation::kTanh) return mul_add(ei::pnegate(y), y, one);
    if constexpr (A == Activation::kSigmoid) return mul_add(ei::pnegate(y), y, y);
    if constexpr (A == Activation::kRelu) return (P)((B)one & (B)(y > set1<P>(0)));
    if constexpr (A == Activation::kHardSigmoid)
      return (P)((B)set1<P>(S(1.0 / 6.0)) & (B)(y > set1<P>(0)) & (B)(y < one));
    return one;
  }
};

// An activation known when running.
struct RuntimeActivation {
  Activation which;
  template <class P>
  SEQCORE_INLINE P value(const P& x) const {
    switch (which) {
      case Activation::kTanh: return StaticActivation<Activation::kTanh>().value(x);
      case Activation::kSigmoid: return StaticActivation<Activation::kSigmoid>().value(x);
      case Activation::kRelu: return StaticActivation<Activation::kRelu>().value(x);
      case Activation::kHardSigmoid: return StaticActivation<Activation::kHardSigmoid>().value(x);
      default: return x;
    }
  }
  template <class P>
  SEQCORE_INLINE P derivative(const P& y) const {
    switch (which) {
      case Activation::kTanh: return StaticActivation<Activation::kTanh>().derivative(y);
      case Activation::kSigmoid: return StaticActivation<Activation::kSigmoid>().derivative(y);
      case Activation::kRelu: return StaticActivation<Activation::kRelu>().derivative(y);
      case Activation::kHardSigmoid:
        return StaticActivation<Activation::kHardSigmoid>().derivative(y);
      default: return set1<P>(1);
    }
  }
};

// The two activations of a cell: of the state, and of the gates.
struct StaticActivations {
  static constexpr StaticActivation<Activation::kTanh> state{};
  static constexpr StaticActivation<Activation::kSigmoid> gate{};
  template <class P>
  SEQCORE_INLINE void apply_gates(P& x, P& y) const {
    two_sigmoids(x, y);
  }
  template <class P>
  SEQCORE_INLINE void apply_state_and_gate(P& x, P& y) const {
    tanh_and_sigmoid(x, y);
  }
};
struct RuntimeActivations {
  RuntimeActivation state, gate;
  template <class P>
  SEQCORE_INLINE void apply_gates(P& x, P& y) const {
    x = gate.value(x);
    y = gate.value(y);
  }
  template <class P>
  SEQCORE_INLINE void apply_state_and_gate(P& x, P& y) const {
    x = state.value(x);
    y = gate.value(y);
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
