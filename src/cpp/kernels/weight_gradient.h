// The gradients of weights: the transposed product xᵀ·g over all rows of a call, in Keras's order.
#pragma once

#include "gemm.h"

namespace seqcore::SEQCORE_VARIANT {

// out(i, :) = start + sum over rows r of x(r, i) · panel(r, :) for i < columns: `depth` rows of
// `vectors` vectors of a panel.
template <class T, int PV, class E>
void accumulate_transposed(const E* x, Index x_stride, Index columns, const E* panel, int vectors,
                           Index panel_stride, Index depth, T* out, Index out_stride, Start start) {
  const E* a[kMaxRows];
  T* c[kMaxRows];
  for (Index i = 0; i < columns; i += kMaxRows) {
    const int rows = int(std::min<Index>(kMaxRows, columns - i));
    for (int n = 0; n < rows; ++n) {
      a[n] = x + i + n;
      c[n] = out + (i + n) * out_stride;
    }
    multiply_panel<T, PV>(vectors, a, x_stride, rows, panel, panel_stride, depth, c, start,
                          static_cast<const T*>(nullptr));
  }
}

// Where the rows of a left factor stand, in the order of a scan: row r is step s of the j-th
// longest sequence.
struct SequenceRows {
  const PackedBatch* batch;
  Index batch_stride, step_stride;  // of a sequence that the user gave
  int reverse;
  Index state_stride = 0;  // instead: of saved states, the row before each step

  // Calls f(i, sequence, offset) for rows r0 + i, i < depth.
  template <class F>
  SEQCORE_INLINE void rows(Index r0, Index depth, F f) const {
    Index s = 0;
    while (depth && batch->offset[s + 1] <= r0) ++s;
    for (Index i = 0, j = r0 - batch->offset[s]; i < depth; ++i) {
      const Index b = batch->order[j], t = reverse ? batch->lengths[b] - 1 - s : s;
      f(i, b,
        state_stride ? state_row(*batch, s - 1, j) * state_stride
                     : b * batch_stride + t * step_stride);
      if (++j == batch->active[s]) ++s, j = 0;
    }
  }
};

// One matrix whose gradient is xᵀ·g: x (R, columns), and the vectors of g's panel that belong to it
// (of full panels; with G = 1 or 4 all of them), in Keras's order at `out` (columns, G·units). Row
// r of x stands r * stride from the first, or, if x is a sequence, where `order` says, and is
// multiplied with the row of its sequence in `scale` if there is one.
template <class T>
struct Factor {
  const T* x;
  Index stride, columns;
  int first, count;
  T* out;
  const SequenceRows* order = nullptr;
  const T* scale = nullptr;
  Index scale_stride = 0;
};

// Columns that a factor takes in a block of left factors: whole vectors.
template <class T>
SEQCORE_INLINE Index lhs_columns(Index columns) {
  return (columns + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Copies a block of rows of a factor from r0 on, as T or as pairs of rows, `to_stride` apart, and
// asks for the block after it.
template <class T, class E>
void copy_lhs(const Factor<T>& factor, Index r0, Index R, E* to, Index to_stride) {
  using P = Wide<T>;
  const Index depth = std::min(kBlockRows, R - r0), seen = std::min(2 * kBlockRows, R - r0);
  const T *rows[2 * kBlockRows], *scales[2 * kBlockRows];
  if (factor.order) {
    factor.order->rows(r0, seen, [&](Index i, Index sequence, Index offset) {
      rows[i] = factor.x + offset;
      if (factor.scale) scales[i] = factor.scale + sequence * factor.scale_stride;
    });
  } else {
    for (Index i = 0; i < seen; ++i) rows[i] = factor.x + (r0 + i) * factor.stride;
  }
  // Past the last row, some row that is there: it is only asked for.
  for (Index i = std::max(seen, kBlockRows); i < depth + kBlockRows; ++i)
    rows[i] = rows[i - kBlockRows];
  const auto copy = [&](auto read) {
    for (Index k = 0; k < depth; k += kKPerElement<E>)
      for (Index n = 0; n < factor.columns; n += kLanes<T>)
        pack_lanes<T>(to + k / kKPerElement<E> * to_stride + n, kLanes<T>, k, depth, [&](Index i) {
          prefetch_l2(rows[i + kBlockRows] + n, 1);
          return read(i, n, int(std::min<Index>(kLanes<T>, factor.columns - n)));
        });
  };
  if (factor.scale)
    copy([&](Index i, Index n, int count) {
      return load_n<P>(rows[i] + n, count) * load_n<P>(scales[i] + n, count);
    });
  else
    copy([&](Index i, Index n, int count) { return load_n<P>(rows[i] + n, count); });
}

// Where the products of panel p for a row of a weight stand: sums of the bias first, then a row for
// each column of x.
template <class T>
struct Products {
  const T* first;  // of panel `begin`
  Index begin, step;  // from panel to panel
  SEQCORE_INLINE const T* sums(Index p) const { return first + (p - begin) * step; }
};

// Moves n products to `to`, row `row` of a gradient in Keras's order (row -1: the bias).
template <class T, int G>
SEQCORE_INLINE void store_gradient_row(Index units, Index begin, Index end,
                                       const Products<T>& products, Index row, int first_gate,
                                       int gates, bool add, T* to) {
  using P = Wide<T>;
  constexpr int W = kLanes<T>;
  constexpr Index kWidest = Index(PanelLayout<T, G>::kPanel) * W;
  for (Index p = begin; p < end; ++p) {
    const T* sums = products.sums(p);
    if (is_full<T, G>(units, p)) {
      const T* product = row < 0 ? sums : sums + (row + 1) * kWidest;
      for_each_full_vector<T, G>(units, p, [&](Index column, Index keras) {
        if (G == 3 && (column < first_gate * W || column >= (first_gate + gates) * W)) return;
        const P value = load<P>(product + column);
        store(to + keras, add ? ei::padd(load<P>(to + keras), value) : value);
      });
      continue;
    }
    const T* product =
        row < 0 ? sums : sums + kWidest + row * PanelLayout<T, G>::panel_vectors(units, p) * W;
    int gate = 0;
    PanelLayout<T, G>::for_each_segment(units, p, [&](Index column, Index keras, int n, int) {
      if (G != 3 || (gate >= first_gate && gate < first_gate + gates))
        for (int i = 0; i < n; ++i)
          to[keras + i] = add ? to[keras + i] + product[column + i] : product[column + i];
      ++gate;
    });
  }
}

constexpr int kMaxFactors = 3;
// Columns of x in one pass: their products for a few panels stay in the second-level cache, beside
// a block of x.
constexpr Index kColumnsPerPass = 768;

// Elements of the products of some panels that fit the second-level cache together.
template <class T>
constexpr Index kProductsBudget = 768 * 1024 / sizeof(T);

// Panels whose products fit there for `columns` columns of x: x is read once for all of them.
template <class T, int G>
SEQCORE_INLINE Index panels_per_pass(Index columns) {
  return std::max<Index>(1, kProductsBudget<T> / (std::max<Index>(1, columns) *
                                                  PanelLayout<T, G>::kPanel * kLanes<T>));
}

// From row to row of a block of left factors with `columns` columns in all.
template <class T>
SEQCORE_INLINE Index lhs_stride(Index columns) {
  return row_stride<T>(std::min(columns, kColumnsPerPass) + kMaxFactors * kLanes<T>);
}

// Scratch of weight_gradients for factors of `columns` columns in all.
template <class T, int G>
Index weight_scratch(Index columns) {
  return kBlockRows * PanelLayout<T, G>::kPanel * kLanes<T> + 2 * kProductsBudget<T> +
         kBlockRows * lhs_stride<T>(columns);
}

// The rows of a product's second factor g, as they stand.
template <class T>
struct MatrixRows {
  const T* g;
  Index stride;
  // n elements of row r from `column` on.
  SEQCORE_INLINE Wide<T> read(Index r, Index column, int n) const {
    prefetch_l2(g + (r + kBlockRows) * stride + column, 1);
    return load_n<Wide<T>>(g + r * stride + column, n);
  }
};

// Copies rows [r0, r0 + depth) of one panel of g, as T or as pairs of rows, and adds their sum to
// `sums`.
template <class T, int G, class Rows, class E>
void copy_panel(const Rows& g, Index r0, Index depth, Index units, Index panel, E* copy, T* sums) {
  using B = PanelLayout<T, G>;
  using P = Wide<T>;
  constexpr int W = kLanes<T>;
  const int vectors = B::panel_vectors(units, panel);
  const Index width = Index(vectors) * W;
  for (int v = 0; v < vectors; ++v) {
    const Index column = (panel * B::kPanel + v) * W;
    // The rows of a plain matrix end with its last column.
    const int n = G == 1 ? int(std::min<Index>(W, units - column)) : W;
    P sum = load<P>(sums + v * W);
    for (Index i = 0; i < depth; i += kKPerElement<E>)
      pack_lanes<T>(copy + i / kKPerElement<E> * width + v * W, W, i, depth, [&](Index k) {
        const P value = g.read(r0 + k, column, n);
        sum += value;
        return value;
      });
    store(sums + v * W, sum);
  }
}

// The gradients of the columns of panels [p0, p1): blocks of x and g (in packed order) are copied
// so that the tile reads straight on, and the bias's gradient is summed on the way. `add` adds to
// what stands at `out`. scratch: weight_scratch of all factors' columns, kColumnsPerPass at most.
// E: T, or Pair for products of pairs.
template <class T, int G, class E, class Rows>
void weight_gradients_of(const Rows& g, Index R, Index units, Index p0, Index p1,
                         const Factor<T>* factors, int count, T* bias, bool add, T* scratch) {
  using B = PanelLayout<T, G>;
  constexpr int W = kLanes<T>;
  constexpr Index kWidest = Index(B::kPanel) * W;
  Index columns = 0;
  for (int f = 0; f < count; ++f) columns += factors[f].columns;
  const Index together = panels_per_pass<T, G>(columns), step = (columns + 1) * kWidest,
              stride = lhs_stride<T>(columns);
  E* copy = reinterpret_cast<E*>(scratch);
  T* first = scratch + kBlockRows * kWidest;
  E* left = reinterpret_cast<E*>(first + 2 * kProductsBudget<T>);
  for (Index begin = p0; begin < p1; begin += together) {
    const Index end = std::min(begin + together, p1);
    for (Index n = 0; n < (end - begin) * step; n += step)
      for (Index i = 0; i < kWidest; ++i) first[n + i] = 0;
    for (Index r = 0; r < R || r == 0; r += kBlockRows) {
      const Index depth = std::min(kBlockRows, R - r);
      E* x = left;
      for (int f = 0; f < count; x += lhs_columns<T>(factors[f++].columns))
        copy_lhs(factors[f], r, R, x, stride);
      for (Index p = begin; p < end; ++p) {
        const int vectors = B::panel_vectors(units, p);
        const Index width = Index(vectors) * W;
        T* sums = first + (p - begin) * step;
        copy_panel<T, G>(g, r, depth, units, p, copy, sums);
        T* out = sums + kWidest;
        x = left;
        for (int f = 0; f < count; ++f) {
          const Factor<T>& factor = factors[f];
          accumulate_transposed<T, B::kPanel>(x, stride, factor.columns, copy + factor.first * W,
                                              G == 3 ? factor.count : vectors, width,
                                              packed_depth<E>(depth), out + factor.first * W, width,
                                              r ? Start::kAccumulate : Start::kZero);
          x += lhs_columns<T>(factor.columns);
          out += factor.columns * width;
        }
      }
    }
    const Products<T> products{first, begin, step};
    Index row = 0;
    for (int f = 0; f < count; ++f)
      for (Index i = 0; i < factors[f].columns; ++i, ++row)
        store_gradient_row<T, G>(units, begin, end, products, row, factors[f].first,
                                 factors[f].count, add, factors[f].out + i * G * units);
    if (bias) store_gradient_row<T, G>(units, begin, end, products, -1, 0, G, add, bias);
  }
}

template <class T, int G, class Rows>
void weight_gradients(bool use_bf16, const Rows& g, Index R, Index units, Index p0, Index p1,
                      const Factor<T>* factors, int count, T* bias, bool add, T* scratch) {
  if constexpr (kHasBf16<T>) {
    if (use_bf16)
      return weight_gradients_of<T, G, Bf16Pair>(g, R, units, p0, p1, factors, count, bias, add,
                                                 scratch);
  }
  weight_gradients_of<T, G, T>(g, R, units, p0, p1, factors, count, bias, add, scratch);
}

// The parts of the factors that columns [begin, end) of all of them together fall on; returns their
// number.
template <class T>
int slice_factors(const Factor<T>* factors, int count, Index begin, Index end, Index out_stride,
                  Factor<T>* parts) {
  int some = 0;
  Index before = 0;
  for (int f = 0; f < count; before += factors[f++].columns) {
    const Index from = std::max(begin, before) - before,
                to = std::min(end, before + factors[f].columns) - before;
    if (from >= to) continue;
    parts[some] = factors[f];
    parts[some].x += from;
    if (parts[some].scale) parts[some].scale += from;
    parts[some].out += from * out_stride;
    parts[some++].columns = to - from;
  }
  return some;
}

// weight_gradients shared by a team: its panels, or, where there are few, the columns of x.
template <class T, int G, class Rows>
void team_weight_gradients(const Team& team, bool use_bf16, const Rows& g, Index R, Index units,
                           const Factor<T>* factors, int count, T* bias, bool add, T* scratch) {
  constexpr Index kFewPanels = 8;
  Index columns = 0;
  for (int f = 0; f < count; ++f) columns += factors[f].columns;
  Range panels{0, PanelLayout<T, G>::panels(units)}, mine{0, columns};
  if (panels.end >= kFewPanels * team.size)
    panels = split_range(panels.end, team);
  else
    mine = split_range(columns, team);
  const Index passes = (mine.end - mine.begin + kColumnsPerPass - 1) / kColumnsPerPass;
  for (Index pass = 0; pass < passes; ++pass) {
    const Range part = split_range(mine.end - mine.begin, int(pass), int(passes));
    const Index begin = mine.begin + part.begin, end = mine.begin + part.end;
    Factor<T> parts[kMaxFactors];
    const int some = slice_factors(factors, count, begin, end, G * units, parts);
    // A few panels at a time, so that an interruption is noticed.
    const Index together = panels_per_pass<T, G>(end - begin);
    for (Index p = panels.begin; p < panels.end && !stopped(team); p += together)
      weight_gradients<T, G>(use_bf16, g, R, units, p, std::min(p + together, panels.end), parts,
                             some, begin == 0 ? bias : nullptr, add, scratch);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
