// Optimizer steps over flat buffers, gradient scaling and clipping included, in Keras's formulas.
#pragma once

#include "simd.h"

namespace seqcore::SEQCORE_VARIANT {

// Sum of squares in float64: sixteen interleaved sums, which the compiler vectorizes in a fixed
// order, added one after another.
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
SEQCORE_INLINE T clip_scaled(T gradient, T scale, T limit) {
  const T g = gradient * scale;
  if (!kClip) return g;
  return g > limit ? limit : g < -limit ? -limit : g;
}

template <bool kClip, class T>
void sgd(const UpdateRule& rule, const UpdatePiece<T>& piece) {
  T* __restrict p = piece.param;
  T* __restrict m = piece.slot0;
  const T* __restrict grad = piece.grad;
  const T scale = T(rule.scale), limit = T(rule.clipvalue), rate = T(rule.learning_rate),
          momentum = T(rule.momentum);
  if (!m) {
    for (Index i = 0; i < piece.count; ++i)
      p[i] -= rate * clip_scaled<kClip>(grad[i], scale, limit);
  } else if (rule.nesterov) {
    for (Index i = 0; i < piece.count; ++i) {
      const T step = rate * clip_scaled<kClip>(grad[i], scale, limit);
      m[i] = momentum * m[i] - step;
      p[i] += momentum * m[i] - step;
    }
  } else {
    for (Index i = 0; i < piece.count; ++i) {
      m[i] = momentum * m[i] - rate * clip_scaled<kClip>(grad[i], scale, limit);
      p[i] += m[i];
    }
  }
}

// Kingma & Ba 2015; AMSGrad (Reddi et al. 2018) where a third slot is given.
template <bool kClip, class T>
void adam(const UpdateRule& rule, const UpdatePiece<T>& piece) {
  T* __restrict p = piece.param;
  T* __restrict m = piece.slot0;
  T* __restrict v = piece.slot1;
  T* __restrict v_max = piece.slot2;
  const T* __restrict grad = piece.grad;
  const T scale = T(rule.scale), limit = T(rule.clipvalue), epsilon = T(rule.epsilon);
  const T one_minus_beta_1 = T(1 - rule.beta_1), one_minus_beta_2 = T(1 - rule.beta_2);
  const T rate = T(rule.learning_rate * std::sqrt(rule.bias_2) / rule.bias_1);
  for (Index i = 0; i < piece.count; ++i) {
    const T g = clip_scaled<kClip>(grad[i], scale, limit);
    m[i] += (g - m[i]) * one_minus_beta_1;
    v[i] += (g * g - v[i]) * one_minus_beta_2;
  }
  if (v_max) {
    for (Index i = 0; i < piece.count; ++i) v_max[i] = v_max[i] > v[i] ? v_max[i] : v[i];
    v = v_max;
  }
  for (Index i = 0; i < piece.count; ++i) p[i] -= rate * m[i] / (std::sqrt(v[i]) + epsilon);
}

template <bool kClip, class T>
void rmsprop(const UpdateRule& rule, const UpdatePiece<T>& piece) {
  T* __restrict p = piece.param;
  T* __restrict v = piece.slot0;
  T* __restrict m = piece.slot1;
  T* __restrict mean = piece.slot2;
  const T* __restrict grad = piece.grad;
  const T scale = T(rule.scale), limit = T(rule.clipvalue), epsilon = T(rule.epsilon),
          rate = T(rule.learning_rate);
  const T rho = T(rule.rho), one_minus_rho = T(1 - rule.rho), momentum = T(rule.momentum);
  for (Index i = 0; i < piece.count; ++i) {
    const T g = clip_scaled<kClip>(grad[i], scale, limit);
    v[i] = rho * v[i] + one_minus_rho * g * g;
    T spread = v[i];
    if (mean) {
      mean[i] = rho * mean[i] + one_minus_rho * g;
      spread -= mean[i] * mean[i];
    }
    const T step = rate * g / std::sqrt(spread + epsilon);
    if (m) m[i] = momentum * m[i] + step;
    p[i] -= m ? m[i] : step;
  }
}

template <bool kClip, class T>
void adagrad(const UpdateRule& rule, const UpdatePiece<T>& piece) {
  T* __restrict p = piece.param;
  T* __restrict sum = piece.slot0;
  const T* __restrict grad = piece.grad;
  const T scale = T(rule.scale), limit = T(rule.clipvalue), epsilon = T(rule.epsilon),
          rate = T(rule.learning_rate);
  for (Index i = 0; i < piece.count; ++i) {
    const T g = clip_scaled<kClip>(grad[i], scale, limit);
    sum[i] += g * g;
    p[i] -= rate * g / std::sqrt(sum[i] + epsilon);
  }
}

template <bool kClip, class T>
void update_with(const UpdateRule& rule, const UpdatePiece<T>& piece) {
  switch (rule.rule) {
    case Rule::kSgd: return sgd<kClip>(rule, piece);
    case Rule::kAdam: return adam<kClip>(rule, piece);
    case Rule::kRmsprop: return rmsprop<kClip>(rule, piece);
    case Rule::kAdagrad: return adagrad<kClip>(rule, piece);
  }
}

template <class T>
void update(const UpdateRule& rule, const UpdatePiece<T>& piece) {
  rule.clip ? update_with<true>(rule, piece) : update_with<false>(rule, piece);
}

}  // namespace seqcore::SEQCORE_VARIANT
