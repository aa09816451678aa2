// The panels that weights are packed into, and the register tile that multiplies with them.
//
//   One panel of LSTM weights, W lanes a vector:      The tile over it, MR rows by NV vectors:
//
//            i×W      f×W      c×W      o×W
//   k = 0  [......] [......] [......] [......]        a(0, k)    acc[0][0] ... acc[0][3]
//   k = 1  [......] [......] [......] [......]        a(1, k)    acc[1][0] ... acc[1][3]
//     ...                                               ...
//   k = K-1[......] [......] [......] [......]        acc[i][v] += a(i, k) · panel(k, v)
//
// A matrix (K, G·H) in Keras's order is cut into blocks of units; a block holds its W units' G
// gates side by side, so that a tile ends with every gate of its units. Panels are the blocks of
// one to four vectors; they follow one another, each stored as K rows. The last block of an LSTM
// may be narrower (W/2 or W/4 units), the last panel of a plain matrix has fewer vectors. Lanes
// past the last unit hold zeros.
//
// Every element of a product is one accumulator with k ascending, whatever the height of its tile
// or the thread: results are bitwise the same for every way to cut the work.
#pragma once

#include "bfloat16.h"

namespace seqcore::SEQCORE_VARIANT {

// The columns of a packed matrix of G gates with `units` units each.
template <class T, int G>
struct PanelLayout {
  static constexpr int kWidth = kLanes<T>;
  static constexpr int kPanel = G == 3 ? 3 : 4;  // vectors of a full panel
  // Units of the narrowest last block: 16 bytes, the smallest vector. An LSTM of 40 units is then
  // computed as 40, not as 48.
  static constexpr int kMinWidth = G == 4 ? std::max(kWidth / 4, int(16 / sizeof(T))) : kWidth;

  // Units in the last block, padded.
  static SEQCORE_INLINE int last_width(Index units) {
    const int rest = int(units % kWidth);
    int width = kWidth;
    while (rest > 0 && width / 2 >= rest && width / 2 >= kMinWidth) width /= 2;
    return width;
  }
  static SEQCORE_INLINE Index vectors(Index units) {
    if (units == 0) return 0;
    const Index full = (units - 1) / kWidth;
    return full * G + G * last_width(units) / kWidth;
  }
  static SEQCORE_INLINE Index columns(Index units) { return vectors(units) * kWidth; }
  static SEQCORE_INLINE Index panels(Index units) { return (vectors(units) + kPanel - 1) / kPanel; }
  static SEQCORE_INLINE int panel_vectors(Index units, Index panel) {
    return int(std::min<Index>(kPanel, vectors(units) - panel * kPanel));
  }

  // Calls f(packed column within the panel, Keras column, count, padded count) for each gate of
  // each block of a panel.
  template <class F>
  static SEQCORE_INLINE void for_each_segment(Index units, Index panel, F f) {
    if constexpr (G == 1) {
      for (int v = 0; v < panel_vectors(units, panel); ++v) {
        const Index unit = (panel * kPanel + v) * kWidth;
        f(Index(v) * kWidth, unit, int(std::min<Index>(kWidth, units - unit)), kWidth);
      }
    } else {
      const Index unit = panel * kWidth;
      const int count = int(std::min<Index>(kWidth, units - unit));
      const int width = count == kWidth ? kWidth : last_width(units);
      for (int gate = 0; gate < G; ++gate)
        f(Index(gate) * width, gate * units + unit, count, width);
    }
  }
};

// True if every block of a panel has all its units, so that its gates are whole vectors.
template <class T, int G>
SEQCORE_INLINE bool is_full(Index units, Index panel) {
  return (panel + 1) * (G == 1 ? PanelLayout<T, 1>::kPanel : 1) * kLanes<T> <= units;
}

// Calls f(packed column, Keras column) for each vector of a full panel.
template <class T, int G, class F>
SEQCORE_INLINE void for_each_full_vector(Index units, Index panel, F f) {
  constexpr int W = kLanes<T>;
  for (int v = 0; v < PanelLayout<T, G>::kPanel; ++v)
    f(Index(v) * W, G == 1 ? (panel * 4 + v) * W : v * units + panel * W);
}

// The row of a (G·units, K) matrix in PyTorch's order that is column `keras` of the (K, G·units)
// matrix in Keras's: the GRU's gates r and z change places.
template <int G>
SEQCORE_INLINE Index torch_row(Index units, Index keras) {
  if (G != 3 || keras >= 2 * units) return keras;
  return keras < units ? keras + units : keras - units;
}

// Panels that are packed side by side: 8 panels of 4 vectors of 64 bytes are 2 KiB of a row of the
// Keras matrix, which uses whole cache lines and few pages at a time.
constexpr Index kPanelsPerPass = 8;

// Rows of a matrix begin a part of its packing at an even one: two rows make a row of pairs.
constexpr Index kPackGrain = 2;

// Packs rows `part` of panels [p0, p1) of a (K, G·units) matrix with rows `stride` apart to their
// places in `to`, as T or as pairs.
template <int G, class T, class E>
void pack_panels(const T* from, Index stride, Index K, Range part, Index units, Index p0, Index p1,
                 E* to) {
  using P = Wide<T>;
  const Index depth = packed_depth<E>(K);
  constexpr Index kColumns = PanelLayout<T, G>::kPanel * kLanes<T>;
  for (Index first = p0; first < p1; first += kPanelsPerPass) {
    const Index last = std::min(first + kPanelsPerPass, p1),
                full = last - (is_full<T, G>(units, last - 1) ? 0 : 1);
    for (Index k = part.begin; k < part.end; k += kKPerElement<E>)
      for (Index p = first; p < full; ++p) {
        E* row = to + (p * depth + k / kKPerElement<E>)*kColumns;
        for_each_full_vector<T, G>(units, p, [&](Index column, Index keras) {
          pack_lanes<T>(row + column, kLanes<T>, k, K,
                        [&](Index i) { return load<P>(from + i * stride + keras); });
        });
      }
    if (full == last) continue;
    // The last panel of the matrix is narrower or has lanes to spare.
    const Index width = PanelLayout<T, G>::panel_vectors(units, full) * kLanes<T>;
    PanelLayout<T, G>::for_each_segment(
        units, full, [&](Index column, Index keras, int count, int padded) {
          E* out = to + full * depth * kColumns + column;
          for (Index k = part.begin; k < part.end; k += kKPerElement<E>)
            pack_lanes<T>(out + k / kKPerElement<E> * width, padded, k, K,
                          [&](Index i) { return load_n<P>(from + i * stride + keras, count); });
        });
  }
}

// A square block of vectors: vector i has `count` elements from from[i * stride] on; the lanes
// after them and the vectors from `rows` on are zeros.
template <class T>
using SquareBlock = ei::PacketBlock<Wide<T>, kLanes<T>>;
template <class T>
SEQCORE_INLINE void load_block(SquareBlock<T>& block, const T* from, Index stride, int rows,
                               int count) {
  using P = Wide<T>;
  constexpr int W = kLanes<T>;
  if (count == W && rows == W)
    for (int i = 0; i < W; ++i) block.packet[i] = load<P>(from + i * stride);
  else
    for (int i = 0; i < W; ++i)
      block.packet[i] = i < rows ? load_n<P>(from + i * stride, count) : set1<P>(0);
}

// pack_panels of a matrix in PyTorch's order, (G·units, K), which has contiguous k.
template <int G, class T, class E>
void pack_torch_panels(const T* from, Index K, Range part, Index units, Index p0, Index p1, E* to) {
  using L = PanelLayout<T, G>;
  constexpr Index W = kLanes<T>, kColumns = L::kPanel * W;
  const Index depth = packed_depth<E>(K);
  for (Index p = p0; p < p1; ++p) {
    const Index width = L::panel_vectors(units, p) * W;
    L::for_each_segment(units, p, [&](Index column, Index keras, int count, int padded) {
      const T* in = from + torch_row<G>(units, keras) * K;
      E* out = to + p * depth * kColumns + column;
      for (Index k = part.begin; k < part.end; k += W) {
        const int rows = int(std::min(W, part.end - k));
        SquareBlock<T> block;
        load_block(block, in + k, K, count, rows);
        ei::ptranspose(block);
        for (int i = 0; i < rows; i += kKPerElement<E>)
          pack_lanes<T>(out + (k + i) / kKPerElement<E> * width, padded, i, rows,
                        [&](Index n) { return block.packet[n]; });
      }
    });
  }
}

// Packs the bias of panels [p0, p1) to their places in `to`; null: zeros.
template <int G, class T>
void pack_bias(const T* bias, Index units, Index p0, Index p1, T* to,
               WeightLayout layout = WeightLayout::kKeras) {
  using L = PanelLayout<T, G>;
  constexpr Index kColumns = L::kPanel * kLanes<T>;
  if (bias && layout == WeightLayout::kTorch)
    return pack_torch_panels<G>(bias, 1, {0, 1}, units, p0, p1, to);
  if (bias) return pack_panels<G>(bias, G * units, 1, {0, 1}, units, p0, p1, to);
  for (Index n = p0 * kColumns; n < std::min(p1 * kColumns, L::columns(units)); ++n) to[n] = 0;
}

// Packs panel `panel` of the transpose of a (N, G·units) matrix, its rows from the gates' panels
// `part`: K runs over the packed gate columns (for G = 1 over the units only), the columns over the
// N rows. It multiplies gate gradients, which stay in packed order. Blocks at the edges are packed
// under a mask rather than element by element (0.7 % of a training step of PTB small). In PyTorch's
// layout `from` is (G·units, N), rows `stride` apart too.
template <int G, class T, class E>
void pack_panel_transposed(const T* from, Index stride, Index N, Index units, Index panel,
                           Range part, E* to, WeightLayout layout = WeightLayout::kKeras) {
  constexpr int kWidth = kLanes<T>;
  const int vectors = PanelLayout<T, 1>::panel_vectors(N, panel);
  const Index width = Index(vectors) * kWidth;
  Index k0 = part.begin * PanelLayout<T, G>::kPanel * kWidth;
  for (Index gates = part.begin; gates < part.end; ++gates) {
    PanelLayout<T, G>::for_each_segment(
        units, gates, [&](Index column, Index source, int count, int padded) {
          for (int v = 0; v < vectors; ++v) {
            const Index n0 = (panel * PanelLayout<T, 1>::kPanel + v) * kWidth;
            E* out = to + (k0 + column) / kKPerElement<E> * width + v * kWidth;
            const int rows = int(std::min<Index>(kWidth, N - n0)), lines = G == 1 ? count : padded;
            SquareBlock<T> block;
            if (layout == WeightLayout::kTorch) {
              load_block(block, from + torch_row<G>(units, source) * stride + n0, stride, count,
                         rows);
            } else {
              load_block(block, from + n0 * stride + source, stride, rows, count);
              ei::ptranspose(block);
            }
            for (int i = 0; i < lines; i += kKPerElement<E>)
              pack_lanes<T>(out + i / kKPerElement<E> * width, kWidth, i, lines,
                            [&](Index k) { return block.packet[k]; });
          }
        });
    k0 += PanelLayout<T, G>::panel_vectors(units, gates) * kWidth;
  }
}

// Calls f(panel, part) for this thread's share of packing `panels` transposed panels, whose rows
// come from `gate_panels` panels each: there may be fewer panels than threads.
template <class F>
SEQCORE_INLINE void for_my_transposed(Index panels, Index gate_panels, const Team& team, F f) {
  const Range mine = split_range(panels * gate_panels, team);
  for (Index at = mine.begin; at < mine.end;) {
    const Index panel = at / gate_panels, begin = at % gate_panels,
                end = std::min(gate_panels, begin + mine.end - at);
    f(panel, Range{begin, end});
    at += end - begin;
  }
}

// The initial value of the accumulators.
enum class Start { kZero, kBias, kAccumulate };

// c(row, :) = start + sum over k of a(row, k) · b(k, :) for MR rows and NP panels of NV vectors.
//
// E is T, or Bf16Pair: then K counts pairs of k, and nothing else changes, since both are one lane
// of a vector of floats. a, c: one pointer per row; a's elements are ak apart (1: A·B; the row
// stride of X: Xᵀ·B). b: rows of NV vectors, `b_row` elements apart, panels `b_panel` apart. bias:
// the packed vector of the panels' columns. ahead: null, or the operand of the next tiles, of which
// kPrefetchLines cache lines are prefetched at each k: a matrix larger than the second-level cache
// streams in while the tile computes.
template <class T, int MR, int NV, int NP, int kPrefetchLines, class E>
SEQCORE_INLINE void tile(const E* const* a, Index ak, const E* b, Index b_row, Index b_panel,
                         Index K, T* const* c, Start start, const T* bias,
                         const type_identity_t<E>* ahead) {
  using P = Wide<T>;
  constexpr int kVectors = NV * NP;
  P acc[MR][kVectors];
  if (start == Start::kAccumulate) {
    for (int i = 0; i < MR; ++i)
      for (int v = 0; v < kVectors; ++v) acc[i][v] = load<P>(c[i] + v * kLanes<T>);
  } else {
    for (int v = 0; v < kVectors; ++v) {
      const P first = start == Start::kBias ? load<P>(bias + v * kLanes<T>) : set1<P>(0);
      for (int i = 0; i < MR; ++i) acc[i][v] = first;
    }
  }
  const E* row[MR];
  for (int i = 0; i < MR; ++i) row[i] = a[i];
  for (Index k = 0, at = 0; k < K; ++k, at += ak) {
    const auto column = [&](int v) {
      return load_operand(b + (v / NV) * b_panel + (v % NV) * kLanes<T>);
    };
    if constexpr (kPrefetchLines > 0) {
      for (int line = 0; line < kPrefetchLines; ++line, ahead += 64 / sizeof(T))
        __builtin_prefetch(ahead, 0, 2);
    }
    // The side with fewer vectors stays in registers, the other passes through one of them: tiles
    // of 3 x 4 and 4 x 3 take 12 + 3 + 1 of 16 registers. With 4 columns in registers they took 17,
    // and AVX2 reached 40 % of the peak on an LSTM (PTB small) instead of 77.
    if constexpr (MR < kVectors) {
      Operand<E> scalars[MR];
      for (int i = 0; i < MR; ++i) scalars[i] = set1_operand(row[i][at]);
      for (int v = 0; v < kVectors; ++v) {
        const Operand<E> vector = column(v);
        for (int i = 0; i < MR; ++i) acc[i][v] = mul_add(scalars[i], vector, acc[i][v]);
      }
    } else {
      Operand<E> columns[kVectors];
      for (int v = 0; v < kVectors; ++v) columns[v] = column(v);
      for (int i = 0; i < MR; ++i) {
        const Operand<E> scalar = set1_operand(row[i][at]);
        for (int v = 0; v < kVectors; ++v) acc[i][v] = mul_add(scalar, columns[v], acc[i][v]);
      }
    }
    b += b_row;
  }
  for (int i = 0; i < MR; ++i)
    for (int v = 0; v < kVectors; ++v) store(c[i] + v * kLanes<T>, acc[i][v]);
}

// Vector registers: 32 with AVX-512, else 16.
#ifdef __AVX512F__
constexpr int kRegisters = 32;
#else
constexpr int kRegisters = 16;
#endif
// Rows of the tallest tile that stays in registers: its accumulators, the side with fewer vectors
// and one vector that passes through. 6 x 4 and 8 x 3 of 32 registers, 3 x 4 and 4 x 3 of 16.
// Two multiply-adds start per cycle and take 4, so 8 accumulators hide the latency; tiles of one or
// two vectors gain nothing from more rows than 8 (6 of 16 registers).
constexpr int max_tile_rows(int vectors) {
  int rows = kRegisters == 32 ? 8 : 6;
  while (rows > 1 && rows * vectors + std::min(rows, vectors) + 1 > kRegisters) --rows;
  return rows;
}

template <class T, int NV, int NP, int MR, int kPrefetchLines, class E>
SEQCORE_INLINE void tile_of_height(int height, const E* const* a, Index ak, const E* b, Index b_row,
                                   Index b_panel, Index K, T* const* c, Start start, const T* bias,
                                   const type_identity_t<E>* ahead) {
  if (height == MR)
    return tile<T, MR, NV, NP, kPrefetchLines, E>(a, ak, b, b_row, b_panel, K, c, start, bias,
                                                  ahead);
  if constexpr (MR > 1)
    tile_of_height<T, NV, NP, MR - 1, kPrefetchLines, E>(height, a, ak, b, b_row, b_panel, K, c,
                                                         start, bias, ahead);
}

}  // namespace seqcore::SEQCORE_VARIANT
