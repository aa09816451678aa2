// Dense layer: y = f(x·W + b).
#pragma once

#include "activations.h"
#include "weight_gradient.h"

namespace seqcore::SEQCORE_VARIANT {

template <class A, class T>
void activate_with(A act, T* x, Index count) {
  using P = Wide<T>;
  for (Index i = 0; i < count; i += kLanes<T>) {
    const int n = int(std::min<Index>(kLanes<T>, count - i));
    store_n(x + i, act(load_n<P>(x + i, n)), n);
  }
}

template <class T>
void activate(T* x, Index count, Activation activation) {
  if (activation != Activation::kLinear) activate_with(RuntimeActivation{activation}, x, count);
}

// Scratch elements of one thread for the bfloat16 pairs of a product.
template <class T>
Index dense_bf16_elements(const DenseCall<T>& call) {
  return kHasBf16<T> && call.use_bf16 ? kMaxRows * bf16_stride(std::max(call.inputs, call.outputs))
                                      : 0;
}

template <class T>
void dense_sizes(const DenseCall<T>& call, DenseSizes& sizes) {
  const Index columns = PanelLayout<T, 1>::columns(call.outputs);
  sizes.pack =
      std::max((call.inputs + 1) * columns, call.outputs * PanelLayout<T, 1>::columns(call.inputs));
  sizes.rows = call.activation == Activation::kLinear ? 0 : call.rows * columns;
  sizes.thread = dense_bf16_elements(call) + weight_scratch<T, 1>(call.inputs);
}

// Packs the kernel and, after it, the bias.
template <class T>
void pack_dense(bool use_bf16, const T* kernel, const T* bias, Index K, Index N, T* to,
                const Team& team) {
  using B = PanelLayout<T, 1>;
  const Range mine = split_range(B::panels(N), team);
  dispatch_operand(use_bf16, to, [&](auto* packed) {
    pack_panels<1>(kernel, N, K, {0, K}, N, mine.begin, mine.end, packed);
  });
  pack_bias<1>(bias, N, mine.begin, mine.end, to + K * B::columns(N));
}

template <class T>
void pack_dense_transposed(bool use_bf16, const T* kernel, Index K, Index N, T* to,
                           const Team& team) {
  using B = PanelLayout<T, 1>;
  dispatch_operand(use_bf16, to, [&](auto* packed) {
    for_my_transposed(B::panels(K), B::panels(N), team, [&](Index p, Range part) {
      pack_panel_transposed<1>(kernel, N, K, N, p, part,
                               packed + p * packed_depth_at(packed, N) * B::kPanel * kLanes<T>);
    });
  });
}

// Calls f(first row, rows) for the rows of this thread, kMaxRows at most at a time.
template <class F>
SEQCORE_INLINE void for_my_rows(Index rows, const Team& team, F f) {
  const Range mine = split_range(rows, team);
  for (Index r = mine.begin; r < mine.end && !stopped(team); r += kMaxRows)
    f(r, int(std::min<Index>(kMaxRows, mine.end - r)));
}

// Calls f(first row, rows, vectors) for this thread's part of a product with N columns.
template <class T, class F>
SEQCORE_INLINE void for_my_part(Index rows, Index N, const Team& team, F f) {
  const Index vectors = PanelLayout<T, 1>::vectors(N);
  const GridPlace place = place_in(product_grid(rows, vectors, 1, team.size), team);
  if (!place.works) return;
  const Range mine = split_range(rows, place.row, place.grid.row_parts),
              columns = split_range(vectors, place.column, place.grid.column_parts);
  for (Index r = mine.begin; r < mine.end && !stopped(team); r += kMaxRows)
    f(r, int(std::min<Index>(kMaxRows, mine.end - r)), columns);
}

// Rows of x·B for these vectors of columns of a packed B (K, N); rows of y have exactly N elements.
// pairs: null, or scratch for the rows of x as bfloat16 pairs.
template <class T>
void multiply_rows(const T* x, Index x_stride, int rows, const T* packed, Index K, Index N,
                   Range vectors, T* y, Start start, const T* bias, Bf16Pair* pairs) {
  const T* a[kMaxRows];
  T* c[kMaxRows];
  for (int i = 0; i < rows; ++i) {
    a[i] = x + i * x_stride;
    c[i] = y + i * N;
  }
  LhsRows<T>(a, rows, K, pairs).dispatch(packed, K, [&](auto left, auto right, Index depth) {
    multiply_unpadded(left, rows, right, depth, N, vectors.begin, vectors.end, c, start, bias);
  });
}

template <class T>
T* dense_thread(const DenseCall<T>& call, const Team& team) {
  return call.scratch_thread +
         team.rank * (dense_bf16_elements(call) + weight_scratch<T, 1>(call.inputs));
}
template <class T>
Bf16Pair* thread_pairs(const DenseCall<T>& call, const Team& team) {
  return dense_bf16_elements(call) ? reinterpret_cast<Bf16Pair*>(dense_thread(call, team))
                                   : nullptr;
}

template <class T>
void dense_forward(const DenseCall<T>& call, const Team& team) {
  const Index K = call.inputs, N = call.outputs;
  if (!call.packed) {
    pack_dense(call.use_bf16, call.kernel, call.bias, K, N, call.scratch_pack, team);
    wait(team);
  }
  const T* bias = call.scratch_pack + K * PanelLayout<T, 1>::columns(N);
  Bf16Pair* pairs = thread_pairs(call, team);
  for_my_part<T>(call.rows, N, team, [&](Index r, int rows, Range vectors) {
    multiply_rows(call.x + r * K, K, rows, call.scratch_pack, K, N, vectors, call.y + r * N,
                  Start::kBias, bias, pairs);
    const Index from = vectors.begin * kLanes<T>, to = std::min(N, vectors.end * kLanes<T>);
    if (to - from == N) return activate(call.y + r * N, rows * N, call.activation);
    for (Index i = r; i < r + rows; ++i)
      activate(call.y + i * N + from, to - from, call.activation);
  });
}

// With g = dy f'(y): dx = g·Wᵀ, dW = xᵀ·g, db = sum of the rows of g.
template <class T>
void dense_backward(const DenseCall<T>& call, const Team& team) {
  using P = Wide<T>;
  const Index K = call.inputs, N = call.outputs, columns = PanelLayout<T, 1>::columns(N);
  const bool linear = call.activation == Activation::kLinear;
  const RuntimeActivation act{call.activation};
  if (call.dx) pack_dense_transposed(call.use_bf16, call.kernel, K, N, call.scratch_pack, team);
  if (!linear) {
    const Range mine = split_range(call.rows, team);
    for (Index r = mine.begin; r < mine.end; ++r)
      for (Index n = 0; n < N; n += kLanes<T>) {
        const int count = int(std::min<Index>(kLanes<T>, N - n));
        const P y = load_n<P>(call.y + r * N + n, count),
                dy = load_n<P>(call.dy + r * N + n, count);
        store(call.scratch_rows + r * columns + n, dy * act.derivative(y));
      }
  }
  wait(team);
  const T* g = linear ? call.dy : call.scratch_rows;
  const Index stride = linear ? N : columns;
  if (call.dx)
    for_my_part<T>(call.rows, K, team, [&](Index r, int rows, Range vectors) {
      multiply_rows(g + r * stride, stride, rows, call.scratch_pack, N, K, vectors, call.dx + r * K,
                    Start::kZero, static_cast<const T*>(nullptr), thread_pairs(call, team));
    });
  if (!call.dkernel) return;
  const WeightTerm<T> by_x{call.x, K, K, 0, 1, call.dkernel};
  T* scratch = dense_thread(call, team) + dense_bf16_elements(call);
  team_weight_gradients<T, 1>(team, call.use_bf16, MatrixRows<T>{g, stride}, call.rows, N, &by_x, 1,
                              call.dbias, false, scratch);
}

}  // namespace seqcore::SEQCORE_VARIANT
