// RNN-CF (contextual features; Mikolov et al. 2014, "Learning longer memory in recurrent neural
// networks"): its context is the linear scan s_t = (1 - α) x_t·B + α s_{t-1}. It does not depend on
// h, so it runs over the whole sequence before the time loop, and s_t·P joins the input product of
// a SimpleRNN over [x_t, s_t].
#pragma once

#include "../simd.h"

namespace seqcore::SEQCORE_VARIANT {

// The steps of sequence b in the order of the scan: f(time, masked).
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
  const T keep = T(call.alpha), take = T(1 - call.alpha);
  const Range mine = split_range(call.batch.sequences, team);
  for (Index b = mine.begin; b < mine.end && !stopped(team); ++b) {
    T* state = call.last + b * C;
    for (Index n = 0; n < C; ++n) state[n] = call.initial ? call.initial[b * C + n] : T(0);
    for_each_step(call, b, false, [&](Index t, bool masked) {
      const T* z = call.z.data + b * call.z.batch_stride + t * call.z.step_stride;
      T* s = call.s.data + b * call.s.batch_stride + t * call.s.step_stride;
      for (Index n = 0; n < C; ++n) {
        if (!masked) state[n] = take * z[n] + keep * state[n];
        s[n] = state[n];
      }
    });
    for (Index t = call.batch.lengths[b]; t < call.batch.steps; ++t)
      std::memset(call.s.data + b * call.s.batch_stride + t * call.s.step_stride, 0, sizeof(T) * C);
  }
}

// ds_{t-1} = α (ds_t), dz_t = (1 - α) ds_t, with ds_t the sum of what comes from the output and
// from step t + 1.
template <class T>
void context_backward(const ContextScan<T>& call, const Team& team) {
  const Index C = call.columns;
  const T keep = T(call.alpha), take = T(1 - call.alpha);
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
        dz[n] = masked ? T(0) : take * total;
        carried[n] = masked ? total : keep * total;
      }
    });
    for (Index t = call.batch.lengths[b]; t < call.batch.steps; ++t)
      std::memset(call.s.data + b * call.s.batch_stride + t * call.s.step_stride, 0, sizeof(T) * C);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
