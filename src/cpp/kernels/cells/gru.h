// GRU, gates in Keras's order z r n.
//
// Reset-after (cuDNN, Keras's default): n = tanh(x·W_n + r ∘ (h_{t-1}·U_n + b_rec)).
// Reset-before (Cho et al. 2014): n = tanh(x·W_n + (r ∘ h_{t-1})·U_n); its second product divides
// the pointwise math into two stages.
// Both: z, r = σ(·), h_t = z h_{t-1} + (1 - z) n.
#pragma once

#include "block.h"

namespace seqcore::SEQCORE_VARIANT {

struct GruCell {
  static constexpr int kGates = 3;
  static constexpr bool kHasDirectPath = true, kSeparateGradients = true, kHasC = false;

  // z, r = σ(·)    n = tanh(x·W_n + r q), q = h_{t-1}·U_n + b_rec
  // h_t = n + z (h_{t-1} - n)
  template <class A, class P>
  static SEQCORE_INLINE P forward(const A& act, const Block<P>& at) {
    P z = at.gate(0) + at.recurrent(0), r = at.gate(1) + at.recurrent(1);
    act.apply_gates(z, r);
    const P q = at.recurrent(2), n = act.state(mul_add(r, q, at.gate(2)));
    at.set_gates(z, r, n);
    return mul_add(z, at.h_before() - n, n);
  }

  // dz = dh (h_{t-1} - n) z'    dn = dh (1 - z) n'    dr = dn q r'
  // dh_{t-1} = dh z + (dz, dr, r dn)·Uᵀ, of which the product is added later
  template <class A, class P>
  static SEQCORE_INLINE void backward(const A& act, const Block<P>& at, const P& dh) {
    const P z = at.gate(0), r = at.gate(1), n = at.gate(2), q = at.recurrent(2);
    const P dz = dh * (at.h_before() - n) * act.gate.derivative(z);
    const P dn = dh * (set1<P>(1) - z) * act.state.derivative(n);
    const P dr = dn * q * act.gate.derivative(r);
    at.set_gates(dz, dr, dn);
    at.set_recurrents(dz, dr, r * dn);
    at.set_dh(dh * z);
  }
};

struct GruResetBeforeCell {
  static constexpr int kGates = 3;
  static constexpr bool kHasDirectPath = true, kSeparateGradients = true, kHasC = false;

  // First stage: z, r = σ(·); returns r h_{t-1}.
  template <class A, class P>
  static SEQCORE_INLINE P forward_reset(const A& act, const Block<P>& at) {
    P z = at.gate(0), r = at.gate(1);
    act.apply_gates(z, r);
    at.set_gates(z, r);
    return r * at.h_dropped();
  }
  // Second stage, once (r h_{t-1})·U_n has been added to the candidate: h_t = n + z (h_{t-1} - n).
  template <class A, class P>
  static SEQCORE_INLINE P forward(const A& act, const Block<P>& at) {
    const P z = at.gate(0), n = act.state(at.gate(2));
    at.set_gate(2, n);
    return mul_add(z, at.h_before() - n, n);
  }

  // First stage: dz = dh (h_{t-1} - n) z', dn = dh (1 - z) n', dh_{t-1} = dh z. `recurrent` gets
  // (0, 0, dn), whose product with Uᵀ is the gradient of r h_{t-1}.
  template <class A, class P>
  static SEQCORE_INLINE void backward_candidate(const A& act, const Block<P>& at, const P& dh) {
    const P z = at.gate(0), n = at.gate(2), zero = set1<P>(0);
    const P dz = dh * (at.h_before() - n) * act.gate.derivative(z);
    const P dn = dh * (set1<P>(1) - z) * act.state.derivative(n);
    at.set_gate(0, dz);
    at.set_gate(2, dn);
    at.set_recurrents(zero, zero, dn);
    at.set_dh(dh * z);
  }
  // Second stage, with the gradient of r h_{t-1}: dr = d(r h_{t-1}) h_{t-1} r', and
  // dh_{t-1} += d(r h_{t-1}) r. `recurrent` becomes (dz, dr, 0).
  template <class A, class P>
  static SEQCORE_INLINE void backward(const A& act, const Block<P>& at, const P& d_reset_h) {
    const P r = at.gate(1);
    const P dr = d_reset_h * at.h_dropped() * act.gate.derivative(r);
    const P dh = mul_add(at.dropped(d_reset_h), r, at.dh());
    at.set_gate(1, dr);
    at.set_recurrents(at.gate(0), dr, set1<P>(0));
    at.set_dh(dh);
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
