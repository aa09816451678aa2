// The gradients of weights: transposed products xᵀ·g over all rows of a call, in Keras's order or
// in PyTorch's.
//
// x and g are copied in blocks of kBlockRows rows, so that the tile reads both without gaps: a
// block of x for all panels of a pass, a block of g for one panel. The sums of a pass,
// kColumnsPerPass columns of x by panels_per_pass panels of g, stay in the second-level cache until
// the last row.
#pragma once

#include "gemm.h"

namespace seqcore::SEQCORE_VARIANT {

// A block of 64 rows of a panel of g has 64 · 4 · 64 bytes = 16 KiB, half of a first-level cache.
// Copies of x in blocks, instead of a copy of all of it: SimpleRNN from 70 to 80 % of the peak at
// the stories shapes, from 62 to 68 at the IMDB shapes.
constexpr Index kBlockRows = 64;

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

// The addresses of rows of a sequence (or of saved states) in processing order: row r is step s of
// the j-th longest sequence.
struct SequenceRows {
  const PackedBatch* batch;
  Index batch_stride, step_stride;  // of the user's sequence
  int reverse, unpadded;  // as in RecurrentCall
  Index state_stride = 0;  // of saved states instead; the row is the one before each step

  // Calls f(i, sequence, offset) for rows r0 + i, i < depth.
  template <class F>
  SEQCORE_INLINE void rows(Index r0, Index depth, F f) const {
    Index s = 0;
    while (depth && batch->offset[s + 1] <= r0) ++s;
    for (Index i = 0, j = r0 - batch->offset[s]; i < depth; ++i) {
      const Index b = batch->order[j], t = reverse ? batch->lengths[b] - 1 - s : s;
      f(i, b,
        state_stride ? state_row(*batch, s - 1, j) * state_stride
                     : b * batch_stride + (unpadded ? batch->offset[t] : t) * step_stride);
      if (++j == batch->active[s]) ++s, j = 0;
    }
  }
};

// One weight whose gradient is xᵀ·g.
template <class T>
struct WeightTerm {
  const T* x;  // (R, columns)
  Index stride, columns;  // stride: from row to row, unless `order` is given
  int first, count;  // gates of g that belong to this weight (G = 1 or 4: all)
  T* out;  // (columns, G·units) in Keras's order, or (G·units, columns) in PyTorch's
  const SequenceRows* order = nullptr;  // where x is a sequence in the user's order, or states
  const T* scale = nullptr;  // (B, columns) dropout mask of x by sequence, or null
  Index scale_stride = 0;
  Index torch_stride = 0;  // from row to row of `out` in PyTorch's order; 0: it is in Keras's
};

// Columns of a term in a block of x: whole vectors.
template <class T>
SEQCORE_INLINE Index lhs_columns(Index columns) {
  return (columns + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Copies a block of rows of x from r0 on, as T or as pairs of rows, `to_stride` apart, and
// prefetches the block after it (the prefetches of blocks and time steps: 2 to 8 % of a training
// step).
template <class T, class E>
void copy_lhs(const WeightTerm<T>& term, Index r0, Index R, E* to, Index to_stride) {
  using P = Wide<T>;
  const Index depth = std::min(kBlockRows, R - r0), seen = std::min(2 * kBlockRows, R - r0);
  const T *rows[2 * kBlockRows], *scales[2 * kBlockRows];
  if (term.order) {
    term.order->rows(r0, seen, [&](Index i, Index sequence, Index offset) {
      rows[i] = term.x + offset;
      if (term.scale) scales[i] = term.scale + sequence * term.scale_stride;
    });
  } else {
    for (Index i = 0; i < seen; ++i) rows[i] = term.x + (r0 + i) * term.stride;
  }
  // Past the last row, any valid row: it is only prefetched.
  for (Index i = std::max(seen, kBlockRows); i < depth + kBlockRows; ++i)
    rows[i] = rows[i - kBlockRows];
  const auto copy = [&](auto read) {
    for (Index k = 0; k < depth; k += kKPerElement<E>)
      for (Index n = 0; n < term.columns; n += kLanes<T>)
        pack_lanes<T>(to + k / kKPerElement<E> * to_stride + n, kLanes<T>, k, depth, [&](Index i) {
          prefetch_l2(rows[i + kBlockRows] + n, 1);
          return read(i, n, int(std::min<Index>(kLanes<T>, term.columns - n)));
        });
  };
  if (term.scale)
    copy([&](Index i, Index n, int count) {
      return load_n<P>(rows[i] + n, count) * load_n<P>(scales[i] + n, count);
    });
  else
    copy([&](Index i, Index n, int count) { return load_n<P>(rows[i] + n, count); });
}

// The products of the panels of a pass: for each panel the bias sums, then a row for each column
// of x.
template <class T>
struct Products {
  const T* first;  // of panel `begin`
  Index begin, step;  // from panel to panel
  SEQCORE_INLINE const T* sums(Index p) const { return first + (p - begin) * step; }
};

// Stores row `row` of the products (-1: the bias sums) at `to`, a row of a gradient in Keras's
// order.
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

// Stores rows [first, first + columns) of the products at `to`, (G·units, columns) in PyTorch's
// order with rows `stride` apart.
template <class T, int G>
void store_torch_gradient(Index units, Index begin, Index end, const Products<T>& products,
                          Index first, Index columns, T* to, Index stride) {
  using L = PanelLayout<T, G>;
  constexpr Index W = kLanes<T>;
  for (Index p = begin; p < end; ++p) {
    const Index width = L::panel_vectors(units, p) * W;
    const T* rows = products.sums(p) + L::kPanel * W + first * width;
    L::for_each_segment(units, p, [&](Index column, Index keras, int count, int) {
      T* out = to + torch_row<G>(units, keras) * stride;
      for (Index i = 0; i < columns; i += W) {
        const int some = int(std::min(W, columns - i));
        SquareBlock<T> block;
        load_block(block, rows + i * width + column, width, some, count);
        ei::ptranspose(block);
        for (int u = 0; u < count; ++u) store_n(out + u * stride + i, block.packet[u], some);
      }
    });
  }
}
// The same of the bias sums.
template <class T, int G>
void store_torch_bias(Index units, Index begin, Index end, const Products<T>& products, T* to) {
  for (Index p = begin; p < end; ++p)
    PanelLayout<T, G>::for_each_segment(units, p, [&](Index column, Index keras, int count, int) {
      std::memcpy(to + torch_row<G>(units, keras), products.sums(p) + column,
                  sizeof(T) * size_t(count));
    });
}

constexpr int kMaxTerms = 3;  // weights whose gradients share one pass over g (reset-before GRU)

// The products of a pass may take 768 KiB of the second-level cache (1 MiB), next to a block of x.
template <class T>
constexpr Index kProductsBudget = 768 * 1024 / sizeof(T);

// Columns of x of one pass: 768 columns of a panel of 64 floats are 192 KiB, so that a pass has at
// least four panels, for which a block of x (64 rows, 192 KiB) is read once.
constexpr Index kColumnsPerPass = 768;

// Panels of one pass for `columns` columns of x.
template <class T, int G>
SEQCORE_INLINE Index panels_per_pass(Index columns) {
  return std::max<Index>(1, kProductsBudget<T> / (std::max<Index>(1, columns) *
                                                  PanelLayout<T, G>::kPanel * kLanes<T>));
}

// Elements from row to row of a block of x with `columns` columns in all terms.
template <class T>
SEQCORE_INLINE Index lhs_stride(Index columns) {
  return row_stride<T>(std::min(columns, kColumnsPerPass) + kMaxTerms * kLanes<T>);
}

// Scratch elements of one thread for terms of `columns` columns in all.
template <class T, int G>
Index weight_scratch(Index columns) {
  return kBlockRows * PanelLayout<T, G>::kPanel * kLanes<T> + 2 * kProductsBudget<T> +
         kBlockRows * lhs_stride<T>(columns);
}

// The rows of g where it is a matrix in memory.
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

// The products of a pass: all rows of x and g for panels [p0, p1), into `products` (zeroed bias
// sums first). block_x, block_g: scratch for the copies.
template <class T, int G, class E, class Rows>
void accumulate_pass(const Rows& g, Index R, Index units, Index p0, Index p1,
                     const WeightTerm<T>* terms, int count, T* products, Index step, E* block_x,
                     Index stride, E* block_g) {
  using B = PanelLayout<T, G>;
  constexpr int W = kLanes<T>;
  for (Index r = 0; r < R || r == 0; r += kBlockRows) {
    const Index depth = std::min(kBlockRows, R - r);
    const Start start = r ? Start::kAccumulate : Start::kZero;
    E* x = block_x;
    for (int f = 0; f < count; x += lhs_columns<T>(terms[f++].columns))
      copy_lhs(terms[f], r, R, x, stride);
    for (Index p = p0; p < p1; ++p) {
      const int vectors = B::panel_vectors(units, p);
      const Index width = Index(vectors) * W;
      T* sums = products + (p - p0) * step;
      copy_panel<T, G>(g, r, depth, units, p, block_g, sums);
      T* out = sums + Index(B::kPanel) * W;
      x = block_x;
      for (int f = 0; f < count; ++f) {
        const WeightTerm<T>& term = terms[f];
        accumulate_transposed<T, B::kPanel>(
            x, stride, term.columns, block_g + term.first * W, G == 3 ? term.count : vectors, width,
            packed_depth<E>(depth), out + term.first * W, width, start);
        x += lhs_columns<T>(term.columns);
        out += term.columns * width;
      }
    }
  }
}

// Rows up to which the gradients are written as they are computed, without copies in panels. Twelve
// rows took a third longer that way: their gates do not fit the first-level cache.
constexpr Index kFewRows = 4;

// The gradients of the columns of panels [p0, p1) of R rows, in Keras's order. x: scratch for the
// rows of a term.
template <class T, int G, Index R>
void few_rows_gradients(const MatrixRows<T>& g, Index units, Index p0, Index p1,
                        const WeightTerm<T>* terms, int count, T* bias, T* x, Index stride) {
  using P = Wide<T>;
  using L = PanelLayout<T, G>;
  // Calls f(column of g, Keras column, elements) for each vector, or less at the end.
  const auto vectors = [&](auto f) SEQCORE_INLINE_LAMBDA {
    for (Index p = p0; p < p1; ++p) {
      const Index at = p * L::kPanel * kLanes<T>;
      if (is_full<T, G>(units, p))
        for_each_full_vector<T, G>(units, p, [&](Index column, Index keras) SEQCORE_INLINE_LAMBDA {
          f(at + column, keras, kLanes<T>);
        });
      else
        L::for_each_segment(units, p,
                            [&](Index column, Index keras, int n, int)
                                SEQCORE_INLINE_LAMBDA { f(at + column, keras, n); });
    }
  };
  for (int t = 0; t < count; ++t) {
    const WeightTerm<T>& term = terms[t];
    copy_lhs(term, 0, R, x, stride);
    for (Index i = 0; i < term.columns; ++i) {
      T* out = term.out + i * G * units;
      P scalar[R];
      for (Index r = 0; r < R; ++r) scalar[r] = set1<P>(x[r * stride + i]);
      vectors([&](Index column, Index keras, int n) SEQCORE_INLINE_LAMBDA {
        P sum = set1<P>(0);
        for (Index r = 0; r < R; ++r)
          sum = mul_add(scalar[r], load_n<P>(g.g + r * g.stride + column, n), sum);
        store_n(out + keras, sum, n);
      });
    }
  }
  if (bias)
    vectors([&](Index column, Index keras, int n) SEQCORE_INLINE_LAMBDA {
      P sum = set1<P>(0);
      for (Index r = 0; r < R; ++r) sum += load_n<P>(g.g + r * g.stride + column, n);
      store_n(bias + keras, sum, n);
    });
}

// The gradients of the columns of panels [p0, p1) and of the bias; `add` adds to the values at
// `out`. scratch: weight_scratch of all terms' columns, kColumnsPerPass at most. E: T, or Bf16Pair.
template <class T, int G, class E, class Rows>
void weight_gradients_of(const Rows& g, Index R, Index units, Index p0, Index p1,
                         const WeightTerm<T>* terms, int count, T* bias, bool add, T* scratch) {
  constexpr Index kWidest = Index(PanelLayout<T, G>::kPanel) * kLanes<T>;
  Index columns = 0;
  for (int f = 0; f < count; ++f) columns += terms[f].columns;
  const Index group = panels_per_pass<T, G>(columns), step = (columns + 1) * kWidest,
              stride = lhs_stride<T>(columns);
  E* block_g = reinterpret_cast<E*>(scratch);
  T* first = scratch + kBlockRows * kWidest;
  E* block_x = reinterpret_cast<E*>(first + 2 * kProductsBudget<T>);
  if constexpr (std::is_same_v<E, T> && std::is_same_v<Rows, MatrixRows<T>>) {
    bool plain = R > 0 && R <= kFewRows && !add;
    for (int f = 0; f < count; ++f) plain = plain && terms[f].count == G && !terms[f].torch_stride;
    if (plain) {
      const auto few = R == 1   ? few_rows_gradients<T, G, 1>
                       : R == 2 ? few_rows_gradients<T, G, 2>
                       : R == 3 ? few_rows_gradients<T, G, 3>
                                : few_rows_gradients<T, G, 4>;
      return few(g, units, p0, p1, terms, count, bias, block_x, stride);
    }
  }
  for (Index begin = p0; begin < p1; begin += group) {
    const Index end = std::min(begin + group, p1);
    for (Index n = 0; n < (end - begin) * step; n += step)
      for (Index i = 0; i < kWidest; ++i) first[n + i] = 0;
    accumulate_pass<T, G>(g, R, units, begin, end, terms, count, first, step, block_x, stride,
                          block_g);
    const Products<T> products{first, begin, step};
    Index row = 0;
    for (int f = 0; f < count; row += terms[f++].columns) {
      const WeightTerm<T>& term = terms[f];
      if (term.torch_stride) {
        store_torch_gradient<T, G>(units, begin, end, products, row, term.columns, term.out,
                                   term.torch_stride);
        continue;
      }
      for (Index i = 0; i < term.columns; ++i)
        store_gradient_row<T, G>(units, begin, end, products, row + i, term.first, term.count, add,
                                 term.out + i * G * units);
    }
    if (!bias) continue;
    if (terms[0].torch_stride)
      store_torch_bias<T, G>(units, begin, end, products, bias);
    else
      store_gradient_row<T, G>(units, begin, end, products, -1, 0, G, add, bias);
  }
}

template <class T, int G, class Rows>
void weight_gradients(bool use_bf16, const Rows& g, Index R, Index units, Index p0, Index p1,
                      const WeightTerm<T>* terms, int count, T* bias, bool add, T* scratch) {
  if constexpr (kHasBf16<T>) {
    if (use_bf16)
      return weight_gradients_of<T, G, Bf16Pair>(g, R, units, p0, p1, terms, count, bias, add,
                                                 scratch);
  }
  weight_gradients_of<T, G, T>(g, R, units, p0, p1, terms, count, bias, add, scratch);
}

// The parts of the terms in columns [begin, end) of all terms together; returns their number.
template <class T>
int slice_terms(const WeightTerm<T>* terms, int count, Index begin, Index end, Index out_stride,
                WeightTerm<T>* parts) {
  int some = 0;
  Index before = 0;
  for (int f = 0; f < count; before += terms[f++].columns) {
    const Index from = std::max(begin, before) - before,
                to = std::min(end, before + terms[f].columns) - before;
    if (from >= to) continue;
    parts[some] = terms[f];
    parts[some].x += from;
    if (parts[some].scale) parts[some].scale += from;
    parts[some].out += from * (terms[f].torch_stride ? 1 : out_stride);
    parts[some++].columns = to - from;
  }
  return some;
}

// The gradients shared by a team: each thread takes some panels of g and some columns of x.
template <class T, int G, class Rows>
void team_weight_gradients(const Team& team, bool use_bf16, const Rows& g, Index R, Index units,
                           const WeightTerm<T>* terms, int count, T* bias, bool add, T* scratch) {
  using B = PanelLayout<T, G>;
  Index columns = 0;
  for (int f = 0; f < count; ++f) columns += terms[f].columns;
  const GridPlace place =
      place_in(gradient_grid(columns, B::vectors(units), B::kPanel, team.size), team);
  if (!place.works) return;
  const Range panels = split_range(B::panels(units), place.column, place.grid.column_parts),
              mine = split_range(columns, place.row, place.grid.row_parts);
  const Index passes = (mine.end - mine.begin + kColumnsPerPass - 1) / kColumnsPerPass;
  for (Index pass = 0; pass < passes; ++pass) {
    const Range part = split_range(mine.end - mine.begin, int(pass), int(passes));
    const Index begin = mine.begin + part.begin, end = mine.begin + part.end;
    WeightTerm<T> parts[kMaxTerms];
    const int some = slice_terms(terms, count, begin, end, G * units, parts);
    // A few panels at a time, so that an interruption is noticed.
    // Of few rows more, which take little time and leave long parts of a row of the gradient.
    const Index group = panels_per_pass<T, G>(end - begin) * (R <= kFewRows ? 16 : 1);
    for (Index p = panels.begin; p < panels.end && !stopped(team); p += group)
      weight_gradients<T, G>(use_bf16, g, R, units, p, std::min(p + group, panels.end), parts, some,
                             begin == 0 ? bias : nullptr, add, scratch);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
