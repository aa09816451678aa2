// Dense layer and softmax cross-entropy in one: blocks of rows over all classes, so that no (R, V) matrix outlives its block.
#pragma once

#include "dense.h"

namespace seqcore::SEQCORE_VARIANT {

// Rows whose logits stay in the second-level cache between the product and the softmax.
constexpr Index kSoftmaxRows = 36;
// Elements of the logits of one block; a block has at least kSoftmaxRows rows.
constexpr Index kLogitsBudget = Index(1) << 23;

template <class P>
SEQCORE_INLINE Scalar<P> largest(const Scalar<P>* x, Index count) {
  using T = Scalar<P>;
  P best = fill<P>(-std::numeric_limits<T>::infinity());
  Index i = 0;
  for (; i + kSize<P> <= count; i += kSize<P>) best = ei::pmax(best, load<P>(x + i));
  T result = ei::predux_max(best);
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// x becomes exp(x - shift); returns the sum, in an order fixed by `count`. Lanes up to the next whole vector are written.
template <class P>
SEQCORE_INLINE Scalar<P> exponentials(Scalar<P>* x, Index count, Scalar<P> shift) {
  using T = Scalar<P>;
  P sum = fill<P>(0);
  Index i = 0;
  for (; i + kSize<P> <= count; i += kSize<P>) {
    const P e = exp(sub(load<P>(x + i), fill<P>(shift)));
    store(x + i, e);
    sum = add(sum, e);
  }
  T total = ei::predux(sum);
  if (i < count) {
    alignas(64) T part[kSize<P>];
    const int n = int(count - i);
    store(part, exp(sub(load_first<P>(x + i, n), fill<P>(shift))));
    for (int k = 0; k < n; ++k) {
      x[i + k] = part[k];
      total += part[k];
    }
  }
  return total;
}

template <class P>
SEQCORE_INLINE void scale_by(Scalar<P>* x, Index count, Scalar<P> factor) {
  Index i = 0;
  for (; i + kSize<P> <= count; i += kSize<P>) store(x + i, mul(load<P>(x + i), fill<P>(factor)));
  for (; i < count; ++i) x[i] *= factor;
}

template <class T>
void softmax(T* x, Index rows, Index columns, const Team& team) {
  using P = Wide<T>;
  for_my_rows(rows, team, [&](Index r, int n) {
    for (T* row = x + r * columns; row < x + (r + n) * columns; row += columns)
      scale_by<P>(row, columns, T(1) / exponentials<P>(row, columns, largest<P>(row, columns)));
  });
}

template <class T>
void linear_softmax_sizes(const LinearSoftmaxCall<T>& call, LinearSoftmaxSizes& sizes) {
  using B = Blocks<T, 1>;
  const Index columns = B::columns(call.classes);
  sizes.block = std::min(call.rows, std::max(kSoftmaxRows, kLogitsBudget / columns));
  sizes.pack = (call.inputs + 1) * columns + (call.dx ? call.classes * B::columns(call.inputs) : 0);
  sizes.logits = sizes.block * columns;
  sizes.thread = weight_scratch<T, 1>(call.inputs);
}

// One row: its loss, and its logits become the gradient weight · (softmax - one-hot).
template <class T>
void finish_row(const LinearSoftmaxCall<T>& call, Index r, T* logits) {
  using P = Wide<T>;
  const Index V = call.classes, target = call.targets[r];
  const T best = largest<P>(logits, V), mine = logits[target];
  Index before = 0;
  if (mine == best)
    while (before < target && logits[before] != best) ++before;
  call.correct[r] = mine == best && before == target;
  const T sum = exponentials<P>(logits, V, best);
  call.losses[r] = std::log(sum) + (best - mine);
  if (!call.dkernel && !call.dx) return;
  const T weight = call.weights ? call.weights[r] : T(1);
  scale_by<P>(logits, V, weight / sum);
  logits[target] -= weight;
}

// loss_r = log sum_v exp(x_r·W_v + b_v) - (x_r·W_t + b_t)
template <class T>
void linear_softmax(const LinearSoftmaxCall<T>& call, const Team& team) {
  using B = Blocks<T, 1>;
  const Index K = call.inputs, V = call.classes, columns = B::columns(V);
  T* packed = call.scratch_pack;
  T* transposed = packed + (K + 1) * columns;
  pack_dense(call.kernel, call.bias, K, V, packed, team);
  if (call.dx) pack_dense_transposed(call.kernel, K, V, transposed, team);
  wait(team);
  const Factor<T> none{};
  T* scratch = call.scratch_thread + team.rank * weight_scratch<T, 1>(K);
  for (Index r0 = 0; r0 < call.rows; r0 += call.block) {
    const Index rows = std::min(call.block, call.rows - r0);
    const Range mine = share(rows, team.rank, team.size);
    for (Index r = mine.begin; r < mine.end && !stopped(team); r += kSoftmaxRows) {
      const int n = int(std::min(kSoftmaxRows, mine.end - r));
      const T* a[kSoftmaxRows];
      T* c[kSoftmaxRows];
      for (int i = 0; i < n; ++i) {
        a[i] = call.x + (r0 + r + i) * K;
        c[i] = call.scratch_logits + (r + i) * columns;
      }
      multiply<T, B::kPanel>(a, 1, n, packed, K, B::vectors(V), 0, B::panels(V), c, Start::kBias, packed + K * columns);
      for (int i = 0; i < n; ++i) finish_row(call, r0 + r + i, c[i]);
    }
    if (call.dx)
      for (Index r = mine.begin; r < mine.end && !stopped(team); r += kMostRows)
        multiply_rows(call.scratch_logits + r * columns, columns, int(std::min<Index>(kMostRows, mine.end - r)), transposed, V, K,
                      call.dx + (r0 + r) * K, Start::kZero, static_cast<const T*>(nullptr));
    wait(team);
    if (call.dkernel) {
      Factor<T> by_x = none;
      by_x.x = call.x + r0 * K;
      by_x.stride = by_x.columns = K;
      by_x.out = call.dkernel;
      share_weight_gradients<T, 1>(team, call.scratch_logits, columns, rows, V, &by_x, 1, call.dbias, r0 > 0, scratch);
    }
    wait(team);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
