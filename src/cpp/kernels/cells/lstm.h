// LSTM without peepholes (Hochreiter & Schmidhuber 1997; forget gate: Gers et al. 2000), gates in
// Keras's order i f g o.
#pragma once

#include "block.h"

namespace seqcore::SEQCORE_VARIANT {

template <class T>
struct LstmCell {
  static constexpr int kGates = 4;
  static constexpr bool kHasDirectPath = false, kSeparateGradients = false, kHasC = true;

  // i, f, o = σ(·), g = tanh(·), c_t = f c_{t-1} + i g, h_t = o tanh(c_t)
  template <class P, class A>
  static SEQCORE_INLINE P forward(const A& act, const Block<T>& at) {
    constexpr int w = kSize<P>;
    P i = load<P>(at.gates), f = load<P>(at.gates + w), g = load<P>(at.gates + 2 * w),
      o = load<P>(at.gates + 3 * w);
    act.apply_gates(i, f);
    act.apply_state_and_gate(g, o);
    const P c = mul_add(f, load<P>(at.c_before), mul(i, g));
    store(at.gates, i);
    store(at.gates + w, f);
    store(at.gates + 2 * w, g);
    store(at.gates + 3 * w, o);
    store(at.c, c);
    return mul(o, act.state.value(c));
  }

  // do = dh tanh(c) o', dc += dh o tanh'(c), di = dc g i', df = dc c_{t-1} f', dg = dc i g',
  // dc_{t-1} = dc f
  template <class P, class A>
  static SEQCORE_INLINE void backward(const A& act, const Block<T>& at, const P& dh) {
    constexpr int w = kSize<P>;
    const P i = load<P>(at.gates), f = load<P>(at.gates + w), g = load<P>(at.gates + 2 * w),
            o = load<P>(at.gates + 3 * w);
    const P shown = act.state.value(load<P>(at.c));
    const P dc = mul_add(mul(dh, o), act.state.derivative(shown), load<P>(at.dc));
    store(at.gates, mul(mul(dc, g), act.gate.derivative(i)));
    store(at.gates + w, mul(mul(dc, load<P>(at.c_before)), act.gate.derivative(f)));
    store(at.gates + 2 * w, mul(mul(dc, i), act.state.derivative(g)));
    store(at.gates + 3 * w, mul(mul(dh, shown), act.gate.derivative(o)));
    store(at.dc, mul(dc, f));
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
