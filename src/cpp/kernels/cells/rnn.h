// SimpleRNN: h_t = f(x_t·W + h_{t-1}·U + b)  (Elman 1990).
#pragma once

#include "block.h"

namespace seqcore::SEQCORE_VARIANT {

template <class T>
struct RnnCell {
  static constexpr int kGates = 1;
  static constexpr bool kHasDirectPath = false, kSeparateGradients = false, kHasC = false;

  template <class P, class A>
  static SEQCORE_INLINE P forward(const A& act, const Block<T>& at) {
    return act.state.value(load<P>(at.gates));
  }
  // dg = dh f'(h)
  template <class P, class A>
  static SEQCORE_INLINE void backward(const A& act, const Block<T>& at, const P& dh) {
    store(at.gates, mul(dh, act.state.derivative(load_n<P>(at.h, at.count))));
  }
};

}  // namespace seqcore::SEQCORE_VARIANT
