// Dense layer and softmax cross-entropy in one.
//
// The classes are cut into slices. For each slice the team packs its columns of W and their
// transpose, and every thread takes its rows through it: logits, exponentials relative to the
// largest logit so far (Milakov & Gimelshein 2018, "Online normalizer calculation for softmax"),
// and their part of dx, while all of it is still in the second-level cache. W is thus read from
// memory once. For the gradient of W remains one factor per row and slice, applied where a panel of
// the gradient of the logits is copied.
//
//   slice s of row r:     l = x·W_s + b_s           m' = max(m, max l)
//                         e_s = exp(l - m')         sum = sum · exp(m - m') + Σ e_s
//   after all slices:     loss = log sum + m - l_target
//                         factor_s = weight / sum · exp(m_s - m)
//   gradient of l:        factor_s e_s - weight · (1 at the target)
#pragma once

#include "dense.h"

namespace seqcore::SEQCORE_VARIANT {

// Classes of a slice: whole panels of every vector width. The last slice has 0.5 to 1.5 times as
// many. Two slices of W and Wᵀ in turn are 512 · 2K · 2 floats, 5 MB at 650 inputs; whole packed
// copies for 10,000 classes took 52 MB.
constexpr Index kSliceClasses = 512, kMaxClasses = kSliceClasses * 3 / 2;
// Rows that go through a slice together: their logits, 128 · 512 floats, are 256 KiB and stay in
// the second-level cache.
constexpr Index kSliceRows = 128;
// Exponentials that are kept for the gradient of W: 2^23 elements, 32 MiB of floats, or kSliceRows
// rows where even they have more, so that memory does not grow with the number of rows.
constexpr Index kLogitsBudget = Index(1) << 23;

template <class P>
SEQCORE_INLINE Scalar<P> max_element(const Scalar<P>* x, Index count) {
  using T = Scalar<P>;
  P top = set1<P>(-std::numeric_limits<T>::infinity());
  Index i = 0;
  for (; i + kSize<P> <= count; i += kSize<P>) top = ei::pmax(top, load<P>(x + i));
  T result = ei::predux_max(top);
  for (; i < count; ++i) result = x[i] > result ? x[i] : result;
  return result;
}

// x becomes exp(x - shift); returns the sum, in an order fixed by `count`. Lanes up to the next
// whole vector are written.
template <class P>
SEQCORE_INLINE Scalar<P> exponentials(Scalar<P>* x, Index count, Scalar<P> shift) {
  using T = Scalar<P>;
  P sum = set1<P>(0);
  Index i = 0;
  for (; i + kSize<P> <= count; i += kSize<P>) {
    const P e = exp(load<P>(x + i) - set1<P>(shift));
    store(x + i, e);
    sum += e;
  }
  T total = ei::predux(sum);
  if (i < count) {
    alignas(64) T part[kSize<P>];
    const int n = int(count - i);
    store(part, exp(load_n<P>(x + i, n) - set1<P>(shift)));
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
  for (; i + kSize<P> <= count; i += kSize<P>) store(x + i, load<P>(x + i) * set1<P>(factor));
  for (; i < count; ++i) x[i] *= factor;
}

template <class T>
void softmax(T* x, Index rows, Index columns, const Team& team) {
  using P = Wide<T>;
  for_my_rows(rows, team, [&](Index r, int n) {
    for (T* row = x + r * columns; row < x + (r + n) * columns; row += columns)
      scale_by<P>(row, columns, T(1) / exponentials<P>(row, columns, max_element<P>(row, columns)));
  });
}

// Scratch of one call: for a block of rows, and two slices in turn.
template <class T>
struct SoftmaxScratch {
  using B = PanelLayout<T, 1>;
  Index block;  // rows of a block
  Index slices;  // of all classes
  Index stride;  // elements from row to row of the exponentials
  Index pack;  // elements of one packed slice: W_s, its bias, W_sᵀ

  explicit SoftmaxScratch(const LinearSoftmaxCall<T>& call)
      : slices(std::max<Index>(1, (call.classes + kSliceClasses / 2 - 1) / kSliceClasses)),
        stride(row_stride<T>(
            B::columns(call.dkernel ? call.classes : std::min(call.classes, kMaxClasses)))),
        pack(kMaxClasses * (call.inputs + 1 + (call.dx ? B::columns(call.inputs) : 0))) {
    block = std::min(call.rows, std::max(kSliceRows, kLogitsBudget / stride));
  }
  // Per row: max_logit, sum_exp, target_logit, scale; the shift and then the factor of each slice;
  // the column of W of the target.
  Index row_elements(const LinearSoftmaxCall<T>& call) const {
    return 4 + slices + (call.dx ? call.inputs : 0);
  }
};

// Scratch of one thread: pairs of a group of rows; then dx of the group of one slice, or the
// scratch of the weight gradients.
template <class T>
Index softmax_bf16_elements(const LinearSoftmaxCall<T>& call) {
  return kHasBf16<T> && call.use_bf16 ? kSliceRows * bf16_stride(std::max(call.inputs, kMaxClasses))
                                      : 0;
}
template <class T>
Index softmax_thread_scratch(const LinearSoftmaxCall<T>& call) {
  return softmax_bf16_elements(call) +
         std::max(kSliceRows * PanelLayout<T, 1>::columns(call.inputs),
                  weight_scratch<T, 1>(call.inputs));
}

template <class T>
void linear_softmax_sizes(const LinearSoftmaxCall<T>& call, LinearSoftmaxSizes& sizes) {
  const SoftmaxScratch<T> scratch(call);
  sizes.pack = 2 * scratch.pack;
  sizes.logits = scratch.block * scratch.stride;
  sizes.rows = scratch.block * scratch.row_elements(call);
  sizes.thread = softmax_thread_scratch(call);
}

// The gradient of the logits, computed from the exponentials as it is read.
template <class T>
struct SoftmaxRows {
  const T* exponentials;
  Index stride;
  const T* factors;  // of slice s and row r at s * rows + r
  Index rows, slices;
  const int32_t* targets;
  const T* weights;  // or null

  SEQCORE_INLINE Wide<T> read(Index r, Index column, int n) const {
    using P = Wide<T>;
    const Index slice = std::min(column / kSliceClasses, slices - 1);
    const P value =
        load_n<P>(exponentials + r * stride + column, n) * set1<P>(factors[slice * rows + r]);
    const Index at = targets[r] - column;
    if (at < 0 || at >= kLanes<T>) return value;
    alignas(64) T part[kLanes<T>];
    store(part, value);
    part[at] -= weights ? weights[r] : T(1);
    return load<P>(part);
  }
};

// One block of rows of a call, with the addresses that follow from it.
template <class T>
struct SoftmaxBlock {
  using P = Wide<T>;
  using B = PanelLayout<T, 1>;
  static constexpr Index kColumns = Index(B::kPanel) * kLanes<T>;

  const LinearSoftmaxCall<T>& call;
  const SoftmaxScratch<T>& scratch;
  Index first, rows;  // of the call's rows
  T *max_logit, *sum_exp, *target_logit;  // (rows) over the slices so far
  T* scale;  // (rows) exp(m - m') of the current slice
  T *factors, *target_columns;  // (slices, rows), (rows, K)

  SoftmaxBlock(const LinearSoftmaxCall<T>& c, const SoftmaxScratch<T>& s, Index r0)
      : call(c), scratch(s), first(r0), rows(std::min(s.block, c.rows - r0)),
        max_logit(c.scratch_rows), sum_exp(max_logit + rows), target_logit(sum_exp + rows),
        scale(target_logit + rows), factors(scale + rows),
        target_columns(factors + s.slices * rows) {}

  Index begin(Index slice) const { return slice * kSliceClasses; }
  Index width(Index slice) const {
    return slice + 1 < scratch.slices ? kSliceClasses : call.classes - begin(slice);
  }
  T* packed(Index slice) const { return call.scratch_pack + (slice & 1) * scratch.pack; }
  T* packed_bias(Index slice) const { return packed(slice) + call.inputs * kMaxClasses; }
  T* transposed(Index slice) const { return packed_bias(slice) + kMaxClasses; }
  T* logits(Index slice, Index r) const {
    return call.scratch_logits + r * scratch.stride + (call.dkernel ? begin(slice) : 0);
  }
  T weight(Index r) const { return call.weights ? call.weights[first + r] : T(1); }

  // Packs this thread's part of W_s, blocks of a panel of rows by a panel of columns, and next to
  // each the same block transposed, while it is in the cache. A slice has too few panels of columns
  // to be shared by them alone.
  void pack(Index slice, const Team& team) const {
    const Index K = call.inputs, V = call.classes, count = width(slice);
    const T* from = call.kernel + begin(slice);
    const Index blocks = B::panels(K);
    const Range mine = split_range(B::panels(count) * blocks, team);
    for (Index at = mine.begin; at < mine.end; ++at) {
      const Index p = at / blocks, q = at % blocks;
      const Range rows_of_block{q * kColumns, std::min((q + 1) * kColumns, K)};
      dispatch_operand(call.use_bf16, packed(slice), [&](auto* to) {
        pack_panels<1>(from, V, K, rows_of_block, count, p, p + 1, to);
      });
      if (q == 0)
        pack_bias<1>(call.bias ? call.bias + begin(slice) : nullptr, count, p, p + 1,
                     packed_bias(slice));
      if (!call.dx) continue;
      const Index column = p * kColumns, columns = std::min(kColumns, count - column);
      dispatch_operand(call.use_bf16, transposed(slice), [&](auto* to) {
        pack_panel_transposed<1>(
            from + column, V, K, columns, q, {0, 1},
            to + q * packed_depth_at(to, count) * kColumns +
                packed_depth_at(to, column) * B::panel_vectors(K, q) * kLanes<T>);
      });
    }
  }

  void init_row(Index r) const {
    max_logit[r] = -std::numeric_limits<T>::infinity();
    sum_exp[r] = 0;
    target_logit[r] = 0;
    call.correct[first + r] = 1;
  }

  // The logits of one row and slice become exponentials; the sum of earlier slices is scaled to the
  // new largest logit.
  void exponentiate(Index slice, Index r) const {
    T* row = logits(slice, r);
    const Index count = width(slice), target = call.targets[first + r] - begin(slice);
    const T before = max_logit[r], top = max_element<P>(row, count);
    uint8_t& correct = call.correct[first + r];
    max_logit[r] = top > before ? top : before;
    if (target >= 0 && target < count) {
      // Of equal logits the first class counts.
      target_logit[r] = row[target];
      correct = target_logit[r] == top && target_logit[r] > before;
      for (Index n = 0; correct && n < target; ++n) correct = row[n] != top;
    } else if (target < 0) {
      correct = correct && !(top > target_logit[r]);
    }
    const T shift = shift_of(max_logit[r]);
    factors[slice * rows + r] = shift;
    scale[r] = exp_of(shift_of(before) - shift);
    sum_exp[r] = sum_exp[r] * scale[r] + exponentials<P>(row, count, shift);
  }

  // Takes rows [r0, r0 + n) through one slice.
  void forward(Index slice, Index r0, int n, T* scratch_thread) const {
    T* scratch_dx = scratch_thread + softmax_bf16_elements(call);
    Bf16Pair* pairs =
        softmax_bf16_elements(call) ? reinterpret_cast<Bf16Pair*>(scratch_thread) : nullptr;
    const Index K = call.inputs, count = width(slice);
    const T* a[kSliceRows];
    T* c[kSliceRows];
    for (int i = 0; i < n; ++i) {
      a[i] = call.x + (first + r0 + i) * K;
      c[i] = logits(slice, r0 + i);
    }
    multiply_packed<B>(LhsRows<T>(a, n, K, pairs), n, packed(slice), K, count, 0, B::panels(count),
                       c, Start::kBias, packed_bias(slice));
    for (int i = 0; i < n; ++i) exponentiate(slice, r0 + i);
    if (!call.dx) return;
    const Index columns = B::columns(K);
    for (int i = 0; i < n; ++i) {
      a[i] = c[i];
      c[i] = scratch_dx + i * columns;
    }
    multiply_packed<B>(LhsRows<T>(a, n, count, pairs), n, transposed(slice), count, K, 0,
                       B::panels(K), c, Start::kZero);
    for (int i = 0; i < n; ++i) {
      const Index r = r0 + i, target = call.targets[first + r] - begin(slice);
      T* __restrict dx = call.dx + (first + r) * K;
      const T* __restrict part = c[i];
      const T factor = scale[r];
      if (slice)
        for (Index k = 0; k < K; ++k) dx[k] = dx[k] * factor + part[k];
      else
        std::memcpy(dx, part, sizeof(T) * size_t(K));
      if (target >= 0 && target < count) save_target_column(slice, r, target);
    }
  }

  void save_target_column(Index slice, Index r, Index target) const {
    const Index K = call.inputs;
    for (Index q = 0; q < B::panels(K); ++q) {
      const Index lanes = Index(B::panel_vectors(K, q)) * kLanes<T>,
                  used = std::min(lanes, K - q * kColumns);
      T* to = target_columns + r * K + q * kColumns;
      dispatch_operand(call.use_bf16, transposed(slice), [&](auto* from) {
        const auto* row = from + q * packed_depth_at(from, width(slice)) * kColumns +
                          packed_row(from, target) * lanes;
        for (Index k = 0; k < used; ++k) to[k] = unpack_element(row[k], target);
      });
    }
  }

  // Loss, factors of the slices, and dx of a row after its last slice.
  void finish_row(Index r) const {
    const T w = weight(r), over_sum = w / sum_exp[r];
    call.losses[first + r] = std::log(sum_exp[r]) + (max_logit[r] - target_logit[r]);
    for (Index slice = 0; slice < scratch.slices; ++slice) {
      T& factor = factors[slice * rows + r];
      factor = over_sum * exp_of(factor - max_logit[r]);
    }
    if (!call.dx) return;
    T* dx = call.dx + (first + r) * call.inputs;
    const T* column = target_columns + r * call.inputs;
    for (Index k = 0; k < call.inputs; ++k) dx[k] = dx[k] * over_sum - w * column[k];
  }

  static T shift_of(T top) { return top == -std::numeric_limits<T>::infinity() ? T(0) : top; }
  static T exp_of(T x) { return ei::pfirst(exp(set1<P>(x))); }
};

// loss_r = log sum_v exp(x_r·W_v + b_v) - (x_r·W_t + b_t)
template <class T>
void linear_softmax(const LinearSoftmaxCall<T>& call, const Team& team) {
  const SoftmaxScratch<T> sizes(call);
  T* scratch = call.scratch_thread + team.rank * softmax_thread_scratch(call);
  T* scratch_weights = scratch + softmax_bf16_elements(call);
  for (Index r0 = 0; r0 < call.rows; r0 += sizes.block) {
    const SoftmaxBlock<T> block(call, sizes, r0);
    const Range mine = split_range(block.rows, team);
    for (Index r = mine.begin; r < mine.end; ++r) block.init_row(r);
    const int groups = int((mine.end - mine.begin + kSliceRows - 1) / kSliceRows);
    for (Index slice = 0; slice < sizes.slices; ++slice) {
      block.pack(slice, team);
      wait(team);
      for (int g = 0; g < groups && !stopped(team); ++g) {
        const Range part = split_range(mine.end - mine.begin, g, groups);
        block.forward(slice, mine.begin + part.begin, int(part.end - part.begin), scratch);
      }
    }
    for (Index r = mine.begin; r < mine.end; ++r) block.finish_row(r);
    wait(team);
    if (call.dkernel) {
      const WeightTerm<T> by_x{
          call.x + r0 * call.inputs, call.inputs, call.inputs, 0, 1, call.dkernel};
      const SoftmaxRows<T> gradient{call.scratch_logits,
                                    sizes.stride,
                                    block.factors,
                                    block.rows,
                                    sizes.slices,
                                    call.targets + r0,
                                    call.weights ? call.weights + r0 : nullptr};
      team_weight_gradients<T, 1>(team, call.use_bf16, gradient, block.rows, call.classes, &by_x, 1,
                                  call.dbias, r0 > 0, scratch_weights);
    }
    wait(team);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
