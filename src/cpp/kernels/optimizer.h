// Optimizer steps over flat buffers, gradient scaling and clipping included, in Keras's formulas.
#pragma once

#include "simd.h"

namespace seqcore::SEQCORE_VARIANT {

// Sum of squares in float64 by sixteen interleaved sums, added in order.
template <class T>
double sum_squares(const T* x, Index count) {
  constexpr int kSums = 16;
  double sums[kSums] = {};
  Index i = 0;
  for (; i + kSums <= count; i += kSums)
    for (int k = 0; k < kSums; ++k) sums[k] += double(x[i + k]) * double(x[i + k]);
  for (; i < count; ++i) sums[i % kSums] += double(x[i]) * double(x[i]);
  double total = 0;
  for (double sum : sums) total += sum;
  return total;
}

template <bool kClip, class T>
SEQCORE_INLINE T prepared(T gradient, T scale, T limit) {
  const T g = gradient * scale;
  if (!kClip) return g;
  return g > limit ? limit : g < -limit ? -limit : g;
}

template <bool kClip, class T>
void sgd(const UpdateCall<T>& call) {
  T* __restrict p = call.param;
  T* __restrict m = call.slot0;
  const T* __restrict grad = call.grad;
  const T scale = T(call.scale), limit = T(call.clipvalue), rate = T(call.learning_rate), keep = T(call.momentum);
  if (!m) {
    for (Index i = 0; i < call.count; ++i) p[i] -= rate * prepared<kClip>(grad[i], scale, limit);
  } else if (call.nesterov) {
    for (Index i = 0; i < call.count; ++i) {
      const T step = rate * prepared<kClip>(grad[i], scale, limit);
      m[i] = keep * m[i] - step;
      p[i] += keep * m[i] - step;
    }
  } else {
    for (Index i = 0; i < call.count; ++i) {
      m[i] = keep * m[i] - rate * prepared<kClip>(grad[i], scale, limit);
      p[i] += m[i];
    }
  }
}

// Kingma & Ba 2015; AMSGrad (Reddi et al. 2018) where a third slot is given.
template <bool kClip, class T>
void adam(const UpdateCall<T>& call) {
  T* __restrict p = call.param;
  T* __restrict m = call.slot0;
  T* __restrict v = call.slot1;
  T* __restrict top = call.slot2;
  const T* __restrict grad = call.grad;
  const T scale = T(call.scale), limit = T(call.clipvalue), epsilon = T(call.epsilon);
  const T take1 = T(1 - call.beta_1), take2 = T(1 - call.beta_2);
  const T rate = T(call.learning_rate * std::sqrt(call.bias_2) / call.bias_1);
  for (Index i = 0; i < call.count; ++i) {
    const T g = prepared<kClip>(grad[i], scale, limit);
    m[i] += (g - m[i]) * take1;
    v[i] += (g * g - v[i]) * take2;
  }
  if (top) {
    for (Index i = 0; i < call.count; ++i) top[i] = top[i] > v[i] ? top[i] : v[i];
    v = top;
  }
  for (Index i = 0; i < call.count; ++i) p[i] -= rate * m[i] / (std::sqrt(v[i]) + epsilon);
}

template <bool kClip, class T>
void rmsprop(const UpdateCall<T>& call) {
  T* __restrict p = call.param;
  T* __restrict v = call.slot0;
  T* __restrict m = call.slot1;
  T* __restrict mean = call.slot2;
  const T* __restrict grad = call.grad;
  const T scale = T(call.scale), limit = T(call.clipvalue), epsilon = T(call.epsilon), rate = T(call.learning_rate);
  const T rho = T(call.rho), take = T(1 - call.rho), keep = T(call.momentum);
  for (Index i = 0; i < call.count; ++i) {
    const T g = prepared<kClip>(grad[i], scale, limit);
    v[i] = rho * v[i] + take * g * g;
    T spread = v[i];
    if (mean) {
      mean[i] = rho * mean[i] + take * g;
      spread -= mean[i] * mean[i];
    }
    const T step = rate * g / std::sqrt(spread + epsilon);
    if (m) m[i] = keep * m[i] + step;
    p[i] -= m ? m[i] : step;
  }
}

template <bool kClip, class T>
void adagrad(const UpdateCall<T>& call) {
  T* __restrict p = call.param;
  T* __restrict sum = call.slot0;
  const T* __restrict grad = call.grad;
  const T scale = T(call.scale), limit = T(call.clipvalue), epsilon = T(call.epsilon), rate = T(call.learning_rate);
  for (Index i = 0; i < call.count; ++i) {
    const T g = prepared<kClip>(grad[i], scale, limit);
    sum[i] += g * g;
    p[i] -= rate * g / std::sqrt(sum[i] + epsilon);
  }
}

template <bool kClip, class T>
void update_with(const UpdateCall<T>& call) {
  switch (call.rule) {
    case Rule::kSgd: return sgd<kClip>(call);
    case Rule::kAdam: return adam<kClip>(call);
    case Rule::kRmsprop: return rmsprop<kClip>(call);
    case Rule::kAdagrad: return adagrad<kClip>(call);
  }
}

template <class T>
void update(const UpdateCall<T>& call) {
  call.clip ? update_with<true>(call) : update_with<false>(call);
}

}  // namespace seqcore::SEQCORE_VARIANT
