// exp, sigmoid, tanh and the other activations of recurrent and dense layers, on vectors.
#pragma once

#include "simd.h"

namespace seqcore::SEQCORE_VARIANT {

template <class T>
struct ExpConstants;
// kRound: 1.5 · 2^kMantissa plus the bias of the exponent. A number added to it is rounded to an
// integer, whose bits are at the bottom of the sum, one shift from the exponent of a power of
// two. kCoefficients t: 2^f = 1 + f (t0 + t1 f + ...) for |f| <= 1/2, a Chebyshev fit; relative
// error of the bracket 1.2e-8 and 2e-17. kLow, kHigh: exp stays a normal number. kTanhSaturation:
// tanh is 1.
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

// 2^(factor·x) = power · (1 + rest) with a power of two and |rest| < 1. factor·x must lie in the
// range of exponents; NaN gives NaN. The fraction of factor·x is exact except for the rounding of
// `factor`, which costs 1e-8·|factor·x| of the result (float). The factor in the first multiply-add
// saves the scaling of x: 4 operations fewer, 1 to 3 % of a training step.
template <class P>
SEQCORE_INLINE void exp2_parts(const P& x, Scalar<P> factor, P& power, P& rest) {
  using C = ExpConstants<Scalar<P>>;
  using B = typename Bits<P>::Vector;
  const P shifted = mul_add(x, set1<P>(factor), set1<P>(C::kRound));
  const P f = mul_add(x, set1<P>(factor), set1<P>(C::kRound) - shifted);
  P sum = set1<P>(C::kCoefficients[C::kTerms - 1]);
  for (int i = C::kTerms - 2; i >= 0; --i) sum = mul_add(sum, f, set1<P>(C::kCoefficients[i]));
  rest = f * sum;
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
  return set1<P>(1) + mul_add(power, rest, power);
}
template <class P>
SEQCORE_INLINE P sigmoid(const P& x) {
  return set1<P>(1) / sigmoid_denominator(x, -ExpConstants<Scalar<P>>::kLow);
}

// n = e^{2x} - 1, without cancellation near 0; tanh x = n / (n + 2). At most 1.4 units in the last
// place from tanh in float64; sigmoid differs by at most 9e-8.
template <class P>
SEQCORE_INLINE P tanh_numerator(const P& x) {
  using C = ExpConstants<Scalar<P>>;
  P power, rest;
  exp2_parts(clamp(x, -C::kTanhSaturation, C::kTanhSaturation), 2 * kLog2E<P>, power, rest);
  return mul_add(power, rest, power - set1<P>(1));
}
template <class P>
SEQCORE_INLINE P tanh(const P& x) {
  const P top = tanh_numerator(x);
  return top / (top + set1<P>(2));
}

// Division is the slowest operation of the gates: two share one, 1/a = b · 1/(a·b). So that the
// product stays finite, each denominator is at most e^{kMaxPairExponent}; below -kMaxPairExponent a
// sigmoid of a pair stays at e^{-kMaxPairExponent} (2e-19, 1e-152 in double).
template <class P>
constexpr Scalar<P> kMaxPairExponent = -ExpConstants<Scalar<P>>::kLow / 2 - Scalar<P>(0.5);

template <class P>
SEQCORE_INLINE void reciprocals(const P& a, const P& b, P& one_over_a, P& one_over_b) {
  const P both = set1<P>(1) / (a * b);
  one_over_a = both * b;
  one_over_b = both * a;
}
template <class P>
SEQCORE_INLINE void two_sigmoids(P& x, P& y) {
  const P a = sigmoid_denominator(x, kMaxPairExponent<P>),
          b = sigmoid_denominator(y, kMaxPairExponent<P>);
  reciprocals(a, b, x, y);
}
template <class P>
SEQCORE_INLINE void tanh_and_sigmoid(P& x, P& y) {
  const P top = tanh_numerator(x), b = sigmoid_denominator(y, kMaxPairExponent<P>);
  reciprocals(top + set1<P>(2), b, x, y);
  x = top * x;
}

template <class P>
SEQCORE_INLINE P relu(const P& x) {
  return ei::pmax(x, set1<P>(0));
}

// An activation known at compile time.
template <Activation A>
struct StaticActivation {
  template <class P>
  SEQCORE_INLINE P operator()(const P& x) const {
    using T = Scalar<P>;
    if constexpr (A == Activation::kTanh) return tanh(x);
    if constexpr (A == Activation::kSigmoid) return sigmoid(x);
    if constexpr (A == Activation::kRelu) return relu(x);
    if constexpr (A == Activation::kHardSigmoid)
      return clamp(mul_add(x, set1<P>(T(1.0 / 6.0)), set1<P>(T(0.5))), T(0), T(1));
    return x;
  }
  // The derivative as a function of the value y = f(x).
  template <class P>
  SEQCORE_INLINE P derivative(const P& y) const {
    using T = Scalar<P>;
    using B = typename Bits<P>::Vector;
    const P one = set1<P>(1);
    if constexpr (A == Activation::kTanh) return mul_add(ei::pnegate(y), y, one);   // 1 - y²
    if constexpr (A == Activation::kSigmoid) return mul_add(ei::pnegate(y), y, y);  // y (1 - y)
    if constexpr (A == Activation::kRelu) return (P)((B)one & (B)(y > set1<P>(0)));
    if constexpr (A == Activation::kHardSigmoid)
      return (P)((B)set1<P>(T(1.0 / 6.0)) & (B)(y > set1<P>(0)) & (B)(y < one));
    return one;
  }
};

// An activation known at run time.
struct RuntimeActivation {
  Activation activation;

  template <class P>
  SEQCORE_INLINE P operator()(const P& x) const {
    switch (activation) {
      case Activation::kTanh: return StaticActivation<Activation::kTanh>()(x);
      case Activation::kSigmoid: return StaticActivation<Activation::kSigmoid>()(x);
      case Activation::kRelu: return StaticActivation<Activation::kRelu>()(x);
      case Activation::kHardSigmoid: return StaticActivation<Activation::kHardSigmoid>()(x);
      default: return x;
    }
  }
  template <class P>
  SEQCORE_INLINE P derivative(const P& y) const {
    switch (activation) {
      case Activation::kTanh: return StaticActivation<Activation::kTanh>().derivative(y);
      case Activation::kSigmoid: return StaticActivation<Activation::kSigmoid>().derivative(y);
      case Activation::kRelu: return StaticActivation<Activation::kRelu>().derivative(y);
      case Activation::kHardSigmoid:
        return StaticActivation<Activation::kHardSigmoid>().derivative(y);
      default: return set1<P>(1);
    }
  }
};

// The two activations of a cell, `state` and `gate`: tanh and sigmoid, known at compile time, or
// any.
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
    x = gate(x);
    y = gate(y);
  }
  template <class P>
  SEQCORE_INLINE void apply_state_and_gate(P& x, P& y) const {
    x = state(x);
    y = gate(y);
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
