// Products on top of the tile: rows times packed panels.
#pragma once

#include "tile.h"

namespace seqcore::SEQCORE_VARIANT {

// Rows of one call of `multiply`: pointers to them are arrays on the stack, 2 KiB each.
constexpr int kMaxRows = 256;

// K is cut into blocks of 512: a block of a panel of 4 vectors of 64 bytes has 128 KiB and stays in
// the second-level cache for all rows. Sums would not change with another size, but none may depend
// on the number of threads.
constexpr Index kBlockK = 512;

// The second-level cache of today's server cores has 1 to 2 MiB. A larger packed matrix is
// prefetched while the tile computes.
constexpr Index kL2Bytes = Index(1) << 20;

// Elements from row to row: an odd number of vectors, so that the rows of a tile do not fall on the
// same cache sets.
template <class T>
SEQCORE_INLINE Index row_stride(Index columns) {
  return (columns / kLanes<T> | 1) * kLanes<T>;
}

// Rows times one panel (NP = 1) or NP full panels: c(i, :) = start + a(i, :) · panel. Rows are cut
// into tiles of equal height: 20 rows are 4 tiles of 5, not 6 + 6 + 6 + 2. next: null, or the panel
// to prefetch.
template <class T, int NV, int NP, class E>
void multiply_panels(const E* const* a, Index ak, int rows, const E* panel, Index b_row,
                     Index b_panel, Index K, T* const* c, Start start, const T* bias,
                     const type_identity_t<E>* next) {
  constexpr int kTall = max_tile_rows(NV * NP);
  const int tiles = (rows + kTall - 1) / kTall;
  for (Index k = 0; k < K || k == 0; k += kBlockK) {
    const Index depth = std::min(kBlockK, K - k);
    const E* part[kMaxRows];
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
void multiply_panel(int vectors, const E* const* a, Index ak, int rows, const E* panel, Index b_row,
                    Index K, T* const* c, Start start, const T* bias) {
  if (vectors == NV)
    return multiply_panels<T, NV, 1>(a, ak, rows, panel, b_row, 0, K, c, start, bias, nullptr);
  if constexpr (NV > 1)
    multiply_panel<T, NV - 1>(vectors, a, ak, rows, panel, b_row, K, c, start, bias);
}

// Full panels of one tile: a single row on one panel has 4 accumulators, too few to hide the
// latency of a multiply-add; two panels make it 8. Four panels lost: the time loop of one sequence
// took 5 % longer (LSTM) and 8 % (GRU), since two panels in alternating order find more of U in the
// first-level cache. One panel: LSTM 2 % faster than four, GRU 5 % slower.
template <int PV>
SEQCORE_INLINE int panels_per_tile(int rows) {
  return kRegisters < 32 ? (rows == 1 ? 2 : 1) : rows <= 2 ? 2 : 1;
}

// c(i, columns of panels [p0, p1)) = start + a(i, :) · B for up to kMaxRows rows. B: packed with K
// rows, `vectors` in all. c points at the row's first packed column; bias likewise. descending: the
// panels from the last to the first.
template <class T, int PV, class E>
void multiply(const E* const* a, int rows, const E* packed, Index K, Index vectors, Index p0,
              Index p1, T* const* c, Start start, const T* bias = nullptr,
              bool descending = false) {
  constexpr Index kColumns = Index(PV) * kLanes<T>;
  const int group = panels_per_tile<PV>(rows);
  const Index whole = vectors / PV;  // full panels of the matrix
  const bool exceeds_l2 = K * vectors * kLanes<T> * Index(sizeof(E)) > kL2Bytes;
  T* at[kMaxRows];
  for (Index done = 0; done < p1 - p0;) {
    const Index left = p1 - p0 - done;
    int take = int(std::min<Index>(group, left));
    Index p = descending ? p1 - done - take : p0 + done;
    if (p + take > whole) {
      take = 1;
      p = descending ? p1 - done - 1 : p0 + done;
    }
    for (int i = 0; i < rows; ++i) at[i] = c[i] + p * kColumns;
    const E* panel = packed + p * K * kColumns;
    const T* shift = bias ? bias + p * kColumns : nullptr;
    const Index following = descending ? p - 1 : p + 1;
    const E* next = exceeds_l2 && take == 1 && following >= 0 && following < whole
                        ? packed + following * K * kColumns
                        : nullptr;
    if (p >= whole) {
      const int width = int(vectors - p * PV);
      multiply_panel<T, PV>(width, a, 1, rows, panel, Index(width) * kLanes<T>, K, at, start,
                            shift);
    } else if (take == 1) {
      multiply_panels<T, PV, 1>(a, 1, rows, panel, kColumns, 0, K, at, start, shift, next);
    } else {
      multiply_panels<T, PV, 2>(a, 1, rows, panel, kColumns, K * kColumns, K, at, start, shift,
                                nullptr);
    }
    done += take;
  }
}

// The same with the loop over blocks of K outside the panels: for many rows of a long K, whose
// blocks are then read once for all panels.
template <class T, int PV, class E>
void multiply_blocked_k(const E* const* a, int rows, const E* packed, Index K, Index vectors,
                        Index p0, Index p1, T* const* c, Start start) {
  constexpr Index kColumns = Index(PV) * kLanes<T>;
  const E* part[kMaxRows];
  T* at[kMaxRows];
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
        multiply_panel<T, PV>(width, part, 1, rows, block, Index(width) * kLanes<T>, depth, at,
                              from, nullptr);
      }
    }
  }
}

// Calls whole(p0, p1) for the panels within vectors [v0, v1) of a plain matrix, and part(from, to)
// for the vectors of a panel that is cut.
template <class Part, class Whole>
SEQCORE_INLINE void for_cut_panels(Index vectors, Index v0, Index v1, Index width, Part part,
                                   Whole whole) {
  if (v0 >= v1) return;
  const Index first = (v0 + width - 1) / width,
              last = v1 == vectors ? (vectors + width - 1) / width : v1 / width;
  if (first > last || first * width > v1) return part(v0, v1);
  if (v0 < first * width) part(v0, first * width);
  if (first < last) whole(first, last);
  if (last * width < v1) part(last * width, v1);
}

// Vectors [from, to) of one panel of a plain matrix with so many columns; the rows of c begin at
// vector `from`.
template <class T, class E>
void multiply_cut_panel(const E* const* a, int rows, const E* packed, Index K, Index columns,
                        Index from, Index to, T* const* c, Start start, const T* bias) {
  using B = PanelLayout<T, 1>;
  const Index p = from / B::kPanel, inside = from % B::kPanel;
  multiply_panel<T, B::kPanel>(int(to - from), a, 1, rows,
                               packed + (p * K * B::kPanel + inside) * kLanes<T>,
                               Index(B::panel_vectors(columns, p)) * kLanes<T>, K, c, start,
                               bias ? bias + from * kLanes<T> : nullptr);
}

// multiply for vectors [v0, v1) of rows of c of exactly `columns` elements: nothing is written past
// their end.
template <class T, class E>
void multiply_unpadded(const E* const* a, int rows, const E* packed, Index K, Index columns,
                       Index v0, Index v1, T* const* c, Start start, const T* bias = nullptr) {
  using B = PanelLayout<T, 1>;
  constexpr Index kColumns = Index(B::kPanel) * kLanes<T>;
  const Index panels = B::panels(columns), vectors = B::vectors(columns);
  const Index padded = (columns % kLanes<T> ? panels - 1 : panels) * B::kPanel;
  constexpr int kManyRows = 32;  // enough tiles to use a block of K of all panels from the cache
  const bool blocked = K > kBlockK && rows >= kManyRows && start != Start::kBias;
  T* at[kMaxRows];
  for_cut_panels(
      vectors, v0, std::min(v1, padded), B::kPanel,
      [&](Index from, Index to) {
        for (int i = 0; i < rows; ++i) at[i] = c[i] + from * kLanes<T>;
        multiply_cut_panel(a, rows, packed, K, columns, from, to, at, start, bias);
      },
      [&](Index p0, Index p1) {
        if (blocked)
          multiply_blocked_k<T, B::kPanel>(a, rows, packed, K, vectors, p0, p1, c, start);
        else
          multiply<T, B::kPanel>(a, rows, packed, K, vectors, p0, p1, c, start, bias);
      });
  // Of a last panel whose last vector is not whole, through a copy.
  const Index first = std::max(v0, padded);
  if (first >= v1) return;
  const Index from = first * kLanes<T>, rest = std::min(columns, v1 * kLanes<T>) - from;
  alignas(64) T copy[kMaxRows * kColumns];
  for (int i = 0; i < rows; ++i) {
    at[i] = copy + i * kColumns;
    if (start == Start::kAccumulate)
      for (Index n = 0; n < kColumns; ++n) at[i][n] = n < rest ? c[i][from + n] : T(0);
  }
  multiply_cut_panel(a, rows, packed, K, columns, first, v1, at, start, bias);
  for (int i = 0; i < rows; ++i)
    for (Index n = 0; n < rest; ++n) c[i][from + n] = at[i][n];
}

// Elements from row to row of the pairs of LhsRows.
SEQCORE_INLINE Index bf16_stride(Index K) {
  return row_stride<float>(pair_count(K) + kLanes<float> - 1);
}

// The rows of the left factor of a product, K elements each, and, if `scratch` is given, the pairs
// that they are rounded to: kMaxRows · bf16_stride(K) of them.
template <class T>
struct LhsRows {
  const T* const* rows;
  const Bf16Pair* pairs[kMaxRows];
  bool use_bf16;

  LhsRows(const T* const* a, Index count, Index K, Bf16Pair* scratch) : rows(a), use_bf16(scratch) {
    if constexpr (kHasBf16<T>) {
      for (Index i = 0; use_bf16 && i < count; ++i) {
        to_bf16_row(a[i], K, scratch + i * bf16_stride(K));
        pairs[i] = scratch + i * bf16_stride(K);
      }
    }
  }
  // Calls f(rows, packed, depth) with rows and packed matrix both of T, or both of pairs.
  template <class F>
  SEQCORE_INLINE void dispatch(const T* packed, Index K, F f) const {
    if constexpr (kHasBf16<T>) {
      if (use_bf16)
        return f(static_cast<const Bf16Pair* const*>(pairs),
                 reinterpret_cast<const Bf16Pair*>(packed), pair_count(K));
    }
    f(rows, packed, K);
  }
};

// multiply for panels of layout L, with rows and packed matrix of T or of pairs.
template <class L, class T>
void multiply_packed(const LhsRows<T>& lhs, int rows, const T* packed, Index K, Index units,
                     Index p0, Index p1, T* const* c, Start start, const T* bias = nullptr,
                     bool descending = false) {
  lhs.dispatch(packed, K, [&](auto a, auto b, Index depth) {
    multiply<T, L::kPanel>(a, rows, b, depth, L::vectors(units), p0, p1, c, start, bias,
                           descending);
  });
}

// multiply_packed for blocks of units [b0, b1): a block has kLanes<T> units, so that a panel of a
// matrix with one gate holds four of them, any other panel one.
template <class L, class T>
void multiply_blocks(const LhsRows<T>& lhs, int rows, const T* packed, Index K, Index units,
                     Index b0, Index b1, T* const* c, Start start, const T* bias = nullptr,
                     bool descending = false) {
  constexpr bool kPlain = std::is_same_v<L, PanelLayout<T, 1>>;
  constexpr Index kBlocks = kPlain ? L::kPanel : 1;
  const auto whole = [&](Index p0, Index p1) {
    multiply_packed<L>(lhs, rows, packed, K, units, p0, p1, c, start, bias, descending);
  };
  if constexpr (kPlain) {
    const auto part = [&](Index from, Index to) {
      T* at[kMaxRows];
      for (int i = 0; i < rows; ++i) at[i] = c[i] + from * kLanes<T>;
      lhs.dispatch(packed, K, [&](auto a, auto b, Index depth) {
        multiply_cut_panel(a, rows, b, depth, units, from, to, at, start, bias);
      });
    };
    for_cut_panels(L::vectors(units), b0, b1, kBlocks, part, whole);
  } else {
    whole(b0, b1);
  }
}

// Calls f(packed) with the operand type of the products: T, or Bf16Pair.
template <class T, class F>
SEQCORE_INLINE void dispatch_operand(bool use_bf16, T* packed, F f) {
  if constexpr (kHasBf16<T>) {
    if (use_bf16) return f(reinterpret_cast<Bf16Pair*>(packed));
  }
  f(packed);
}
// Packed rows of K rows, and the packed row that holds row k.
template <class E>
SEQCORE_INLINE Index packed_depth_at(const E*, Index K) {
  return packed_depth<E>(K);
}
template <class E>
SEQCORE_INLINE Index packed_row(const E*, Index k) {
  return k / kKPerElement<E>;
}

}  // namespace seqcore::SEQCORE_VARIANT
