// The operands of the math of a cell: one block of units of one row at one time step.
#pragma once

#include "../activations.h"

namespace seqcore::SEQCORE_VARIANT {

// P is a vector of as many units as the block has, padded. Gate g starts g vectors after gate 0.
// Rows of gates, c, dh and dc are padded to whole vectors; rows of h have exactly H elements, of
// which the last block holds `count`.
template <class P>
struct Block {
  using T = Scalar<P>;

  T* gates_at;      // x·W + b (+ h_{t-1}·U), then the gates, then the gradients that multiply Wᵀ
  T* recurrent_at;  // GRU: h_{t-1}·U + b_rec, then the gradients that multiply Uᵀ
  const T *h_before_at, *c_before_at;  // h_{t-1}, c_{t-1}
  const T *h_dropped_at, *dropout_at;  // h_{t-1} as the products see it; its dropout mask or null
  T *h_at, *c_at;  // h_t (backward only), c_t
  T *dh_at, *dc_at;  // backward: the gradients that step t hands to step t - 1, dL/dc_t before that
  int count;  // units of the block that exist

  SEQCORE_INLINE P gate(int g) const { return load<P>(gates_at + g * kSize<P>); }
  SEQCORE_INLINE P recurrent(int g) const { return load<P>(recurrent_at + g * kSize<P>); }
  SEQCORE_INLINE P h_before() const { return load_n<P>(h_before_at, count); }
  SEQCORE_INLINE P h_dropped() const { return load_n<P>(h_dropped_at, count); }
  SEQCORE_INLINE P h() const { return load_n<P>(h_at, count); }
  SEQCORE_INLINE P c_before() const { return load<P>(c_before_at); }
  SEQCORE_INLINE P c() const { return load<P>(c_at); }
  SEQCORE_INLINE P dh() const { return load<P>(dh_at); }
  SEQCORE_INLINE P dc() const { return load<P>(dc_at); }
  // x times the dropout mask of h, if there is one.
  SEQCORE_INLINE P dropped(const P& x) const {
    return dropout_at ? x * load_n<P>(dropout_at, count) : x;
  }

  SEQCORE_INLINE void set_gate(int g, const P& value) const {
    store(gates_at + g * kSize<P>, value);
  }
  SEQCORE_INLINE void set_recurrent(int g, const P& value) const {
    store(recurrent_at + g * kSize<P>, value);
  }
  // Gates 0, 1, ...
  template <class... V>
  SEQCORE_INLINE void set_gates(const V&... values) const {
    int g = 0;
    (set_gate(g++, values), ...);
  }
  template <class... V>
  SEQCORE_INLINE void set_recurrents(const V&... values) const {
    int g = 0;
    (set_recurrent(g++, values), ...);
  }
  SEQCORE_INLINE void set_c(const P& value) const { store(c_at, value); }
  SEQCORE_INLINE void set_dh(const P& value) const { store(dh_at, value); }
  SEQCORE_INLINE void set_dc(const P& value) const { store(dc_at, value); }
};

}  // namespace seqcore::SEQCORE_VARIANT
