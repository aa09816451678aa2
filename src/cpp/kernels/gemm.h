// Products on top of the tile: rows times packed panels, and the transposed product of the weights'
// gradients.
#pragma once

#include "tile.h"

namespace seqcore::SEQCORE_VARIANT {

// K is cut so that a block of a panel stays in the second-level cache. Fixed: it must not depend on
// the threads.
constexpr Index kBlockK = 512;
// In Xᵀ·G, K is cut so that a block of the panel stays in the first-level cache.
constexpr Index kBlockRows = 64;
constexpr int kMostRows = 256;  // rows of one call of `multiply`

// A packed matrix of more bytes than this is taken to lie beyond the second-level cache.
constexpr Index kCached = Index(1) << 20;

// Elements from row to row: an odd number of vectors, so that the rows of a tile do not fall on the
// same cache sets.
template <class T>
SEQCORE_INLINE Index row_stride(Index columns) {
  return (columns / kLanes<T> | 1) * kLanes<T>;
}

// Rows times one panel (NP = 1) or NP full panels: c(i, :) = start + a(i, :) · panel. next: null,
// or what comes after it.
template <class T, int NV, int NP, class E>
void multiply_panels(const E* const* a, Index ak, int rows, const E* panel, Index b_row,
                     Index b_panel, Index K, T* const* c, Start start, const T* bias,
                     const Given<E>* next) {
  constexpr int kTall = tallest(NV * NP);
  const int tiles = (rows + kTall - 1) / kTall;
  for (Index k = 0; k < K || k == 0; k += kBlockK) {
    const Index depth = std::min(kBlockK, K - k);
    const E* part[kMostRows];
    for (int i = 0; i < rows; ++i) part[i] = a[i] + k * ak;
    // The block after this one: of this panel, or the first of the next.
    const E* ahead = !next ? nullptr : k + kBlockK < K ? panel + (k + kBlockK) * b_row : next;
    Index waiting = ahead ? NV * depth : 0;  // cache lines still to be fetched
    for (int t = 0, i = 0; t < tiles; ++t) {
      const int height = (rows - i) / (tiles - t);
      const Start from = k ? Start::kAccumulate : start;
      const E* b = panel + k * b_row;
      const int lines = waiting <= 0 ? 0 : tiles < NV ? 2 : 1;
      if (lines == 0)
        tile_of_height<T, NV, NP, kTall, 0>(height, part + i, ak, b, b_row, b_panel, depth, c + i,
                                            from, bias, nullptr);
      if (lines == 1)
        tile_of_height<T, NV, NP, kTall, 1>(height, part + i, ak, b, b_row, b_panel, depth, c + i,
                                            from, bias, ahead);
      if (lines == 2)
        tile_of_height<T, NV, NP, kTall, 2>(height, part + i, ak, b, b_row, b_panel, depth, c + i,
                                            from, bias, ahead);
      ahead += lines * depth * Index(64 / sizeof(E));
      waiting -= lines * depth;
      i += height;
    }
  }
}

template <class T, int NV, class E>
void multiply_narrow(int vectors, const E* const* a, Index ak, int rows, const E* panel,
                     Index b_row, Index K, T* const* c, Start start, const T* bias) {
  if (vectors == NV)
    return multiply_panels<T, NV, 1>(a, ak, rows, panel, b_row, 0, K, c, start, bias, nullptr);
  if constexpr (NV > 1)
    multiply_narrow<T, NV - 1>(vectors, a, ak, rows, panel, b_row, K, c, start, bias);
}

// Full panels that one tile takes at once for few rows, so that enough accumulators are under way
// to hide the latency.
template <int PV>
SEQCORE_INLINE int panels_at_once(int rows) {
  return kRegisters < 32 ? (rows == 1 ? 2 : 1) : rows <= 2 ? 2 : 1;
}

// c(i, columns of panels [p0, p1)) = start + a(i, :) · B for up to kMostRows rows. B: packed with K
// rows, `vectors` in all. c points at the row's first packed column; bias likewise. `down`: the
// panels from the last to the first.
template <class T, int PV, class E>
void multiply(const E* const* a, Index ak, int rows, const E* packed, Index K, Index vectors,
              Index p0, Index p1, T* const* c, Start start, const T* bias = nullptr,
              bool down = false) {
  constexpr Index kColumns = Index(PV) * kLanes<T>;
  const int group = panels_at_once<PV>(rows);
  const Index whole = vectors / PV;  // full panels of the matrix
  const bool beyond = K * vectors * kLanes<T> * Index(sizeof(E)) > kCached;
  T* at[kMostRows];
  for (Index done = 0; done < p1 - p0;) {
    const Index left = p1 - p0 - done;
    int take = 1;
    while (take * 2 <= group && take * 2 <= left) take *= 2;
    Index p = down ? p1 - done - take : p0 + done;
    if (p + take > whole) {
      take = 1;
      p = down ? p1 - done - 1 : p0 + done;
    }
    for (int i = 0; i < rows; ++i) at[i] = c[i] + p * kColumns;
    const E* panel = packed + p * K * kColumns;
    const T* shift = bias ? bias + p * kColumns : nullptr;
    const Index following = down ? p - 1 : p + 1;
    const E* next = beyond && take == 1 && following >= 0 && following < whole
                        ? packed + following * K * kColumns
                        : nullptr;
    if (p >= whole) {
      const int width = int(vectors - p * PV);
      multiply_narrow<T, PV>(width, a, ak, rows, panel, Index(width) * kLanes<T>, K, at, start,
                             shift);
    } else if (take == 1) {
      multiply_panels<T, PV, 1>(a, ak, rows, panel, kColumns, 0, K, at, start, shift, next);
    } else if (take == 2) {
      multiply_panels<T, PV, 2>(a, ak, rows, panel, kColumns, K * kColumns, K, at, start, shift,
                                nullptr);
    } else if constexpr (kRegisters == 32) {
      multiply_panels<T, PV, 4>(a, ak, rows, panel, kColumns, K * kColumns, K, at, start, shift,
                                nullptr);
    }
    done += take;
  }
}

// The same with K cut outside the panels: for many rows of a long K, whose blocks are then read
// once for all panels.
template <class T, int PV, class E>
void multiply_deep(const E* const* a, int rows, const E* packed, Index K, Index vectors, Index p0,
                   Index p1, T* const* c, Start start) {
  constexpr Index kColumns = Index(PV) * kLanes<T>;
  const E* part[kMostRows];
  T* at[kMostRows];
  for (Index k = 0; k < K; k += kBlockK) {
    const Index depth = std::min(kBlockK, K - k);
    for (int i = 0; i < rows; ++i) part[i] = a[i] + k;
    for (Index p = p0; p < p1; ++p) {
      const int width = int(std::min<Index>(PV, vectors - p * PV));
      const E* block = packed + p * K * kColumns + k * width * kLanes<T>;
      for (int i = 0; i < rows; ++i) at[i] = c[i] + p * kColumns;
      const E* next = p + 1 < p1 ? packed + (p + 1) * K * kColumns + k * kColumns : nullptr;
      const Start from = k ? Start::kAccumulate : start;
      if (width == PV) {
        multiply_panels<T, PV, 1>(part, 1, rows, block, kColumns, 0, depth, at, from, nullptr,
                                  next);
      } else {
        multiply_narrow<T, PV>(width, part, 1, rows, block, Index(width) * kLanes<T>, depth, at,
                               from, nullptr);
      }
    }
  }
}

// The same for rows of c that hold exactly `columns` elements: the last vector is not written past
// its end.
template <class T, class E>
void multiply_exact(const E* const* a, int rows, const E* packed, Index K, Index columns,
                    T* const* c, Start start, const T* bias = nullptr) {
  using B = Blocks<T, 1>;
  constexpr Index kColumns = Index(B::kPanel) * kLanes<T>;
  const Index panels = B::panels(columns), vectors = B::vectors(columns);
  const Index whole = columns % kLanes<T> ? panels - 1 : panels;
  constexpr int kMany = 32;
  const bool deep = K > kBlockK && rows >= kMany && start != Start::kBias;
  const auto product = [&](Index p0, Index p1, T* const* to) {
    if (deep)
      multiply_deep<T, B::kPanel>(a, rows, packed, K, vectors, p0, p1, to, start);
    else
      multiply<T, B::kPanel>(a, 1, rows, packed, K, vectors, p0, p1, to, start, bias);
  };
  product(0, whole, c);
  if (whole == panels) return;
  const Index from = whole * kColumns, rest = columns - from;
  alignas(64) T part[kMostRows * kColumns];
  T* at[kMostRows];
  for (int i = 0; i < rows; ++i) {
    at[i] = part + i * kColumns - from;
    if (start == Start::kAccumulate)
      for (Index n = 0; n < kColumns; ++n)
        part[i * kColumns + n] = n < rest ? c[i][from + n] : T(0);
  }
  product(whole, panels, at);
  for (int i = 0; i < rows; ++i)
    for (Index n = 0; n < rest; ++n) c[i][from + n] = part[i * kColumns + n];
}

// The rows of a product's left factor, K elements each, and, if `scratch` is given, the pairs they
// become: kMostRows times pair_stride(K) of them.
SEQCORE_INLINE Index pair_stride(Index K) {
  return row_stride<float>(pairs_of(K) + kLanes<float> - 1);
}

template <class T>
struct LeftRows {
  const T* const* rows;
  const Pair* pairs[kMostRows];
  bool mixed;

  LeftRows(const T* const* a, Index count, Index K, Pair* scratch) : rows(a), mixed(scratch) {
    if constexpr (kMixed<T>) {
      for (Index i = 0; mixed && i < count; ++i) {
        pair_row(a[i], K, scratch + i * pair_stride(K));
        pairs[i] = scratch + i * pair_stride(K);
      }
    }
  }
  // Calls f(rows, packed, K) with rows and packed matrix of the same kind; `packed` holds pairs if
  // the rows are to be pairs.
  template <class F>
  SEQCORE_INLINE void with(const T* packed, Index K, F f) const {
    if constexpr (kMixed<T>) {
      if (mixed)
        return f(static_cast<const Pair* const*>(pairs), reinterpret_cast<const Pair*>(packed),
                 pairs_of(K));
    }
    f(rows, packed, K);
  }
};

// Calls f(packed) with the type that products multiply.
template <class T, class F>
SEQCORE_INLINE void as_operand(bool mixed, T* packed, F f) {
  if constexpr (kMixed<T>) {
    if (mixed) return f(reinterpret_cast<Pair*>(packed));
  }
  f(packed);
}
// Rows of a packed matrix that K rows take, and the one that holds row k.
template <class E>
SEQCORE_INLINE Index depth_in(const E*, Index K) {
  return depth_of<E>(K);
}
template <class E>
SEQCORE_INLINE Index row_in(const E*, Index k) {
  return k / kDepth<E>;
}

// out(i, :) = start + sum over rows r of x(r, i) · panel(r, :) for i < columns: `depth` rows of
// `vectors` vectors of a panel.
template <class T, int PV, class E>
void accumulate_transposed(const E* x, Index x_stride, Index columns, const E* panel, int vectors,
                           Index panel_stride, Index depth, T* out, Index out_stride, Start start) {
  const E* a[kMostRows];
  T* c[kMostRows];
  for (Index i = 0; i < columns; i += kMostRows) {
    const int rows = int(std::min<Index>(kMostRows, columns - i));
    for (int n = 0; n < rows; ++n) {
      a[n] = x + i + n;
      c[n] = out + (i + n) * out_stride;
    }
    multiply_narrow<T, PV>(vectors, a, x_stride, rows, panel, panel_stride, depth, c, start,
                           static_cast<const T*>(nullptr));
  }
}

// Where the rows of a left factor stand, in the order of a scan: row r is step s of the j-th
// longest sequence.
struct ScanOrder {
  const RowMap* map;
  Index batch_stride, step_stride;  // of a sequence that the user gave
  int reverse;
  Index state_stride = 0;  // instead: of saved states, the row before each step

  // Calls f(i, sequence, offset) for rows r0 + i, i < depth.
  template <class F>
  SEQCORE_INLINE void rows(Index r0, Index depth, F f) const {
    Index s = 0;
    while (depth && map->offset[s + 1] <= r0) ++s;
    for (Index i = 0, j = r0 - map->offset[s]; i < depth; ++i) {
      const Index b = map->order[j], t = reverse ? map->lengths[b] - 1 - s : s;
      f(i, b,
        state_stride ? state_row(*map, s - 1, j) * state_stride
                     : b * batch_stride + t * step_stride);
      if (++j == map->active[s]) ++s, j = 0;
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
  const ScanOrder* order = nullptr;
  const T* scale = nullptr;
  Index scale_stride = 0;
};

// Columns that a factor takes in a block of left factors: whole vectors.
template <class T>
SEQCORE_INLINE Index left_columns(Index columns) {
  return (columns + kLanes<T> - 1) / kLanes<T> * kLanes<T>;
}

// Copies a block of rows of a factor from r0 on, as T or as pairs of rows, `to_stride` apart, and
// asks for the block after it.
template <class T, class E>
void copy_left(const Factor<T>& factor, Index r0, Index R, E* to, Index to_stride) {
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
    for (Index k = 0; k < depth; k += kDepth<E>)
      for (Index n = 0; n < factor.columns; n += kLanes<T>)
        pack_lanes<T>(to + k / kDepth<E> * to_stride + n, kLanes<T>, k, depth, [&](Index i) {
          fetch_far(rows[i + kBlockRows] + n, 1);
          return read(i, n, int(std::min<Index>(kLanes<T>, factor.columns - n)));
        });
  };
  if (factor.scale)
    copy([&](Index i, Index n, int count) {
      return mul(load_first<P>(rows[i] + n, count), load_first<P>(scales[i] + n, count));
    });
  else
    copy([&](Index i, Index n, int count) { return load_first<P>(rows[i] + n, count); });
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
SEQCORE_INLINE void put_row(Index units, Index begin, Index end, const Products<T>& products,
                            Index row, int first_gate, int gates, bool add, T* to) {
  using P = Wide<T>;
  constexpr int W = kLanes<T>;
  constexpr Index kWidest = Index(Blocks<T, G>::kPanel) * W;
  for (Index p = begin; p < end; ++p) {
    const T* sums = products.sums(p);
    if (is_full<T, G>(units, p)) {
      const T* product = row < 0 ? sums : sums + (row + 1) * kWidest;
      full_vectors<T, G>(units, p, [&](Index column, Index keras) {
        if (G == 3 && (column < first_gate * W || column >= (first_gate + gates) * W)) return;
        const P value = load<P>(product + column);
        store(to + keras, add ? ei::padd(load<P>(to + keras), value) : value);
      });
      continue;
    }
    const T* product =
        row < 0 ? sums : sums + kWidest + row * Blocks<T, G>::panel_vectors(units, p) * W;
    int gate = 0;
    Blocks<T, G>::segments(units, p, [&](Index column, Index keras, int n, int) {
      if (G != 3 || (gate >= first_gate && gate < first_gate + gates))
        for (int i = 0; i < n; ++i)
          to[keras + i] = add ? to[keras + i] + product[column + i] : product[column + i];
      ++gate;
    });
  }
}

constexpr int kMostFactors = 3;
// Columns of x in one pass: their products for a few panels stay in the second-level cache, beside
// a block of x.
constexpr Index kColumnsTogether = 768;

// Elements of the products of some panels that fit the second-level cache together.
template <class T>
constexpr Index kProductsBudget = 768 * 1024 / sizeof(T);

// Panels whose products fit there for `columns` columns of x: x is read once for all of them.
template <class T, int G>
SEQCORE_INLINE Index panels_together(Index columns) {
  return std::max<Index>(
      1, kProductsBudget<T> / (std::max<Index>(1, columns) * Blocks<T, G>::kPanel * kLanes<T>));
}

// From row to row of a block of left factors with `columns` columns in all.
template <class T>
SEQCORE_INLINE Index left_stride(Index columns) {
  return row_stride<T>(std::min(columns, kColumnsTogether) + kMostFactors * kLanes<T>);
}

// Scratch of weight_gradients for factors of `columns` columns in all.
template <class T, int G>
Index weight_scratch(Index columns) {
  return kBlockRows * Blocks<T, G>::kPanel * kLanes<T> + 2 * kProductsBudget<T> +
         kBlockRows * left_stride<T>(columns);
}

// The rows of a product's second factor g, as they stand.
template <class T>
struct PlainRows {
  const T* g;
  Index stride;
  // n elements of row r from `column` on.
  SEQCORE_INLINE Wide<T> read(Index r, Index column, int n) const {
    fetch_far(g + (r + kBlockRows) * stride + column, 1);
    return load_first<Wide<T>>(g + r * stride + column, n);
  }
};

// Copies rows [r0, r0 + depth) of one panel of g, as T or as pairs of rows, and adds their sum to
// `sums`.
template <class T, int G, class Rows, class E>
void copy_panel(const Rows& g, Index r0, Index depth, Index units, Index panel, E* copy, T* sums) {
  using B = Blocks<T, G>;
  using P = Wide<T>;
  constexpr int W = kLanes<T>;
  const int vectors = B::panel_vectors(units, panel);
  const Index width = Index(vectors) * W;
  for (int v = 0; v < vectors; ++v) {
    const Index column = (panel * B::kPanel + v) * W;
    // The rows of a plain matrix end with its last column.
    const int n = G == 1 ? int(std::min<Index>(W, units - column)) : W;
    P sum = load<P>(sums + v * W);
    for (Index i = 0; i < depth; i += kDepth<E>)
      pack_lanes<T>(copy + i / kDepth<E> * width + v * W, W, i, depth, [&](Index k) {
        const P value = g.read(r0 + k, column, n);
        sum = add(sum, value);
        return value;
      });
    store(sums + v * W, sum);
  }
}

// The gradients of the columns of panels [p0, p1): blocks of x and g (in packed order) are copied
// so that the tile reads straight on, and the bias's gradient is summed on the way. `add` adds to
// what stands at `out`. scratch: weight_scratch of all factors' columns, kColumnsTogether at most.
// E: T, or Pair for products of pairs.
template <class T, int G, class E, class Rows>
void weight_gradients_of(const Rows& g, Index R, Index units, Index p0, Index p1,
                         const Factor<T>* factors, int count, T* bias, bool add, T* scratch) {
  using B = Blocks<T, G>;
  constexpr int W = kLanes<T>;
  constexpr Index kWidest = Index(B::kPanel) * W;
  Index columns = 0;
  for (int f = 0; f < count; ++f) columns += factors[f].columns;
  const Index together = panels_together<T, G>(columns), step = (columns + 1) * kWidest,
              stride = left_stride<T>(columns);
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
      for (int f = 0; f < count; x += left_columns<T>(factors[f++].columns))
        copy_left(factors[f], r, R, x, stride);
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
                                              depth_of<E>(depth), out + factor.first * W, width,
                                              r ? Start::kAccumulate : Start::kZero);
          x += left_columns<T>(factor.columns);
          out += factor.columns * width;
        }
      }
    }
    const Products<T> products{first, begin, step};
    Index row = 0;
    for (int f = 0; f < count; ++f)
      for (Index i = 0; i < factors[f].columns; ++i, ++row)
        put_row<T, G>(units, begin, end, products, row, factors[f].first, factors[f].count, add,
                      factors[f].out + i * G * units);
    if (bias) put_row<T, G>(units, begin, end, products, -1, 0, G, add, bias);
  }
}

template <class T, int G, class Rows>
void weight_gradients(bool mixed, const Rows& g, Index R, Index units, Index p0, Index p1,
                      const Factor<T>* factors, int count, T* bias, bool add, T* scratch) {
  if constexpr (kMixed<T>) {
    if (mixed)
      return weight_gradients_of<T, G, Pair>(g, R, units, p0, p1, factors, count, bias, add,
                                             scratch);
  }
  weight_gradients_of<T, G, T>(g, R, units, p0, p1, factors, count, bias, add, scratch);
}

// The parts of the factors that columns [begin, end) of all of them together fall on; returns their
// number.
template <class T>
int factors_of(const Factor<T>* factors, int count, Index begin, Index end, Index out_stride,
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
void share_weight_gradients(const Team& team, bool mixed, const Rows& g, Index R, Index units,
                            const Factor<T>* factors, int count, T* bias, bool add, T* scratch) {
  constexpr Index kFewPanels = 8;
  Index columns = 0;
  for (int f = 0; f < count; ++f) columns += factors[f].columns;
  Range panels{0, Blocks<T, G>::panels(units)}, mine{0, columns};
  if (panels.end >= kFewPanels * team.size)
    panels = share(panels.end, team);
  else
    mine = share(columns, team);
  const Index passes = (mine.end - mine.begin + kColumnsTogether - 1) / kColumnsTogether;
  for (Index pass = 0; pass < passes; ++pass) {
    const Range part = share(mine.end - mine.begin, int(pass), int(passes));
    const Index begin = mine.begin + part.begin, end = mine.begin + part.end;
    Factor<T> parts[kMostFactors];
    const int some = factors_of(factors, count, begin, end, G * units, parts);
    // A few panels at a time, so that an interruption is noticed.
    const Index together = panels_together<T, G>(end - begin);
    for (Index p = panels.begin; p < panels.end && !stopped(team); p += together)
      weight_gradients<T, G>(mixed, g, R, units, p, std::min(p + together, panels.end), parts, some,
                             begin == 0 ? bias : nullptr, add, scratch);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
