// LSTM without peepholes (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000), gates in
// Keras's order i f g o.
#pragma once

#include "block.h"

namespace seqcore::SEQCORE_VARIANT {

struct LstmCell {
  static constexpr int kGates = 4;
  static constexpr bool kHasDirectPath = false, kSeparateGradients = false, kHasC = true;

  // i, f, o = σ(·)    g = tanh(·)
  // c_t = f c_{t-1} + i g
  // h_t = o tanh(c_t)
  template <class A, class P>
  static SEQCORE_INLINE P forward(const A& act, const Block<P>& at) {
    P i = at.gate(0), f = at.gate(1), g = at.gate(2), o = at.gate(3);
    act.apply_gates(i, f);
    act.apply_state_and_gate(g, o);
    const P c = mul_add(f, at.c_before(), i * g);
    at.set_gates(i, f, g, o);
    at.set_c(c);
    return o * act.state(c);
  }

  // dc = dc_t + dh o tanh'(c_t)
  // di = dc g i'    df = dc c_{t-1} f'    dg = dc i g'    do = dh tanh(c_t) o'
  // dc_{t-1} = dc f
  template <class A, class P>
  static SEQCORE_INLINE void backward(const A& act, const Block<P>& at, const P& dh) {
    const P i = at.gate(0), f = at.gate(1), g = at.gate(2), o = at.gate(3);
    const P tanh_c = act.state(at.c());
    const P dc = mul_add(dh * o, act.state.derivative(tanh_c), at.dc());
    const P di = dc * g * act.gate.derivative(i);
    const P df = dc * at.c_before() * act.gate.derivative(f);
    const P dg = dc * i * act.state.derivative(g);
    const P d_o = dh * tanh_c * act.gate.derivative(o);
    at.set_gates(di, df, dg, d_o);
    at.set_dc(dc * f);
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
