// SimpleRNN (Elman 1990).
#pragma once

#include "block.h"

namespace seqcore::SEQCORE_VARIANT {

struct RnnCell {
  static constexpr int kGates = 1;
  static constexpr bool kHasDirectPath = false, kSeparateGradients = false, kHasC = false;

  // h_t = f(x_t·W + h_{t-1}·U + b)
  template <class A, class P>
  static SEQCORE_INLINE P forward(const A& act, const Block<P>& at) {
    return act.state(at.gate(0));
  }

  // da = dh f'(h)
  template <class A, class P>
  static SEQCORE_INLINE void backward(const A& act, const Block<P>& at, const P& dh) {
    at.set_gate(0, dh * act.state.derivative(at.h()));
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
