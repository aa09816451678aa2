// GRU, gates in Keras's order z r n: h_t = z h_{t-1} + (1 - z) n.
//
// Reset-after (cuDNN, Keras's default): n = tanh(x·W_n + r ∘ (h·U_n + b_rec)). Reset-before (Cho et
// al. 2014): n = tanh(x·W_n + (r ∘ h)·U_n); its second product divides the pointwise maths into two
// stages.
#pragma once

#include "block.h"

namespace seqcore::SEQCORE_VARIANT {

template <class T>
struct GruCell {
  static constexpr int kGates = 3;
  static constexpr bool kHasDirectPath = true, kSeparateGradients = true, kHasC = false;

  template <class P, class A>
  static SEQCORE_INLINE P forward(const A& act, const Block<T>& at) {
    constexpr int w = kSize<P>;
    P z = add(load<P>(at.gates), load<P>(at.recurrent)),
      r = add(load<P>(at.gates + w), load<P>(at.recurrent + w));
    act.apply_gates(z, r);
    const P n =
        act.state.value(mul_add(r, load<P>(at.recurrent + 2 * w), load<P>(at.gates + 2 * w)));
    store(at.gates, z);
    store(at.gates + w, r);
    store(at.gates + 2 * w, n);
    return mul_add(z, sub(load_n<P>(at.h_before, at.count), n), n);
  }

  // With q = h·U_n + b_rec, saved: dz = dh (h_{t-1} - n) z', dn = dh (1 - z) n', dr = dn q r'; for
  // U: dz, dr, r dn.
  template <class P, class A>
  static SEQCORE_INLINE void backward(const A& act, const Block<T>& at, const P& dh) {
    constexpr int w = kSize<P>;
    const P z = load<P>(at.gates), r = load<P>(at.gates + w), n = load<P>(at.gates + 2 * w);
    const P dz = mul(mul(dh, sub(load_n<P>(at.h_before, at.count), n)), act.gate.derivative(z));
    const P dn = mul(mul(dh, sub(set1<P>(1), z)), act.state.derivative(n));
    const P dr = mul(mul(dn, load<P>(at.recurrent + 2 * w)), act.gate.derivative(r));
    store(at.gates, dz);
    store(at.gates + w, dr);
    store(at.gates + 2 * w, dn);
    store(at.recurrent, dz);
    store(at.recurrent + w, dr);
    store(at.recurrent + 2 * w, mul(r, dn));
    store(at.dh, mul(dh, z));
  }
};

template <class T>
struct GruResetBeforeCell {
  static constexpr int kGates = 3;
  static constexpr bool kHasDirectPath = true, kSeparateGradients = true, kHasC = false;

  // First stage: z and r; returns r ∘ h_{t-1}.
  template <class P, class A>
  static SEQCORE_INLINE P forward_reset(const A& act, const Block<T>& at) {
    constexpr int w = kSize<P>;
    P z = load<P>(at.gates), r = load<P>(at.gates + w);
    act.apply_gates(z, r);
    store(at.gates, z);
    store(at.gates + w, r);
    return mul(r, load_n<P>(at.h_dropped, at.count));
  }
  // Second stage, once (r∘h)·U_n has been added to the candidate.
  template <class P, class A>
  static SEQCORE_INLINE P forward(const A& act, const Block<T>& at) {
    constexpr int w = kSize<P>;
    const P z = load<P>(at.gates), n = act.state.value(load<P>(at.gates + 2 * w));
    store(at.gates + 2 * w, n);
    return mul_add(z, sub(load_n<P>(at.h_before, at.count), n), n);
  }

  // First stage: dz and dn; `recurrent` gets (0, 0, dn), whose product with Uᵀ is the gradient of r
  // ∘ h.
  template <class P, class A>
  static SEQCORE_INLINE void backward_candidate(const A& act, const Block<T>& at, const P& dh) {
    constexpr int w = kSize<P>;
    const P z = load<P>(at.gates), n = load<P>(at.gates + 2 * w), zero = set1<P>(0);
    const P dz = mul(mul(dh, sub(load_n<P>(at.h_before, at.count), n)), act.gate.derivative(z));
    const P dn = mul(mul(dh, sub(set1<P>(1), z)), act.state.derivative(n));
    store(at.gates, dz);
    store(at.gates + 2 * w, dn);
    store(at.recurrent, zero);
    store(at.recurrent + w, zero);
    store(at.recurrent + 2 * w, dn);
    store(at.dh, mul(dh, z));
  }
  // Second stage: dr; `recurrent` becomes (dz, dr, 0), `reset` is the gradient of r ∘ h.
  template <class P, class A>
  static SEQCORE_INLINE void backward(const A& act, const Block<T>& at, const P& reset) {
    constexpr int w = kSize<P>;
    const P r = load<P>(at.gates + w);
    const P dr = mul(mul(reset, load_n<P>(at.h_dropped, at.count)), act.gate.derivative(r));
    const P through = at.dropout ? mul(reset, load_n<P>(at.dropout, at.count)) : reset;
    store(at.gates + w, dr);
    store(at.recurrent, load<P>(at.gates));
    store(at.recurrent + w, dr);
    store(at.recurrent + 2 * w, set1<P>(0));
    store(at.dh, mul_add(through, r, load<P>(at.dh)));
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
