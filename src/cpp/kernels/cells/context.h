// RNN-CF (contextual features; Mikolov et al. 2014, "Learning longer memory in recurrent neural
// networks"). Its context is a linear scan that does not depend on h:
//
//   s_t = (1 - α) z_t + α s_{t-1},  z_t = x_t·B
//
// It runs over the whole sequence before the time loop; the rest is a SimpleRNN over [x_t, s_t].
#pragma once

#include "../simd.h"

namespace seqcore::SEQCORE_VARIANT {

// Calls f(time step, masked) for the steps of sequence b in processing order, or backwards.
template <class T, class F>
SEQCORE_INLINE void for_each_step(const ContextScan<T>& call, Index b, bool backwards, F f) {
  const Index length = call.batch.lengths[b];
  for (Index n = 0; n < length; ++n) {
    const Index s = backwards ? length - 1 - n : n, t = call.reverse ? length - 1 - s : s;
    f(t, call.batch.mask && !call.batch.mask[b * call.batch.steps + t]);
  }
}

template <class T>
void context_forward(const ContextScan<T>& call, const Team& team) {
  const Index C = call.columns;
  const T alpha = T(call.alpha), one_minus_alpha = T(1 - call.alpha);
  const Range mine = split_range(call.batch.sequences, team);
  for (Index b = mine.begin; b < mine.end && !stopped(team); ++b) {
    T* state = call.last + b * C;
    for (Index n = 0; n < C; ++n) state[n] = call.initial ? call.initial[b * C + n] : T(0);
    for_each_step(call, b, false, [&](Index t, bool masked) {
      const T* z = call.z.data + b * call.z.batch_stride + t * call.z.step_stride;
      T* s = call.s.data + b * call.s.batch_stride + t * call.s.step_stride;
      for (Index n = 0; n < C; ++n) {
        if (!masked) state[n] = one_minus_alpha * z[n] + alpha * state[n];
        s[n] = state[n];
      }
    });
    for (Index t = call.batch.lengths[b]; t < call.batch.steps; ++t)
      std::memset(call.s.data + b * call.s.batch_stride + t * call.s.step_stride, 0, sizeof(T) * C);
  }
}

// dz_t = (1 - α) ds_t, ds_{t-1} = α ds_t, where ds_t is the sum of the gradients from the output
// and from step t + 1.
template <class T>
void context_backward(const ContextScan<T>& call, const Team& team) {
  const Index C = call.columns;
  const T alpha = T(call.alpha), one_minus_alpha = T(1 - call.alpha);
  const Range mine = split_range(call.batch.sequences, team);
  for (Index b = mine.begin; b < mine.end && !stopped(team); ++b) {
    T* carried = call.last + b * C;
    for (Index n = 0; n < C; ++n) carried[n] = call.initial ? call.initial[b * C + n] : T(0);
    for_each_step(call, b, true, [&](Index t, bool masked) {
      const T* ds =
          call.z.data ? call.z.data + b * call.z.batch_stride + t * call.z.step_stride : nullptr;
      T* dz = call.s.data + b * call.s.batch_stride + t * call.s.step_stride;
      for (Index n = 0; n < C; ++n) {
        const T total = carried[n] + (ds ? ds[n] : T(0));
        dz[n] = masked ? T(0) : one_minus_alpha * total;
        carried[n] = masked ? total : alpha * total;
      }
    });
    for (Index t = call.batch.lengths[b]; t < call.batch.steps; ++t)
      std::memset(call.s.data + b * call.s.batch_stride + t * call.s.step_stride, 0, sizeof(T) * C);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
