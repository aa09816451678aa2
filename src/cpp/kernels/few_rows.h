// Products of few rows. Packed weights pay where many rows or time steps share them: packing reads
// and writes a matrix once more than the product itself, and its copies displace the weights from
// the caches. Few rows read the matrix in Keras's order, where it lies. Every element is the same
// accumulator with k ascending, so that the results are those of the packed product, bit by bit.
#pragma once

#include "weight_gradient.h"

namespace seqcore::SEQCORE_VARIANT {

// Rows of one pass over a matrix.
constexpr int kRowsInPlace = 4;

// Blocks of units of one pass over the rows of a matrix: as many accumulators as registers hold.
template <int G>
constexpr int blocks_per_pass(int rows) {
  const int accumulators = kRegisters == 32 ? 24 : 12;
  return std::max(1, accumulators / (rows * G));
}

// c(i, packed columns of blocks [b, b + NB)) = start + a(i, :) · M for NR rows: M is (K, G·units)
// in Keras's order, the blocks are full.
template <class T, int G, int NR, int NB>
SEQCORE_INLINE void multiply_unpacked_blocks(const T* const* a, const T* from, Index K, Index units,
                                             Index b, T* const* c, Start start, const T* bias) {
  using P = Wide<T>;
  constexpr int W = kLanes<T>, V = G * NB;
  P acc[NR][V];
  for (int i = 0; i < NR; ++i)
    for (int v = 0; v < V; ++v)
      acc[i][v] = start == Start::kZero
                      ? set1<P>(0)
                      : load<P>((start == Start::kBias ? bias : c[i]) + (b * G + v) * W);
  const T* row = from + b * W;
  for (Index k = 0; k < K; ++k, row += G * units) {
    P scalar[NR];
    for (int i = 0; i < NR; ++i) scalar[i] = set1<P>(a[i][k]);
    for (int n = 0; n < NB; ++n)
      for (int g = 0; g < G; ++g) {
        const P vector = load<P>(row + g * units + n * W);
        for (int i = 0; i < NR; ++i)
          acc[i][n * G + g] = mul_add(scalar[i], vector, acc[i][n * G + g]);
      }
  }
  for (int i = 0; i < NR; ++i)
    for (int v = 0; v < V; ++v) store(c[i] + (b * G + v) * W, acc[i][v]);
}

template <class T, int G, int NR, int NB>
void multiply_unpacked_pass(Index blocks, const T* const* a, const T* from, Index K, Index units,
                            Index b, T* const* c, Start start, const T* bias) {
  if (blocks == NB)
    return multiply_unpacked_blocks<T, G, NR, NB>(a, from, K, units, b, c, start, bias);
  if constexpr (NB > 1)
    multiply_unpacked_pass<T, G, NR, NB - 1>(blocks, a, from, K, units, b, c, start, bias);
}

// The same for any full blocks [b0, b1) and up to kRowsInPlace rows.
template <class T, int G, int NR = kRowsInPlace>
void multiply_unpacked(const T* const* a, int rows, const T* from, Index K, Index units, Index b0,
                       Index b1, T* const* c, Start start, const T* bias) {
  if constexpr (NR > 1) {
    if (rows < NR)
      return multiply_unpacked<T, G, NR - 1>(a, rows, from, K, units, b0, b1, c, start, bias);
  }
  constexpr int kBlocks = blocks_per_pass<G>(NR);
  for (Index b = b0; b < b1; b += kBlocks)
    multiply_unpacked_pass<T, G, NR, kBlocks>(std::min<Index>(kBlocks, b1 - b), a, from, K, units,
                                              b, c, start, bias);
}

// c(i, n) = start + g(i, :) · M(n, :) for a range of rows n, from a multiple of a vector on, of a
// (N, G·units) matrix in Keras's order: k runs over the packed gate columns (for G = 1 over the
// units only), as in pack_panel_transposed. padded: whole vectors of c are written; else nothing
// past the range.
template <class T, int G, int NR>
void multiply_transposed_rows(const T* const* g, const T* from, Range range, Index units,
                              bool padded, T* const* c, Start start) {
  using P = Wide<T>;
  using L = PanelLayout<T, G>;
  constexpr Index W = kLanes<T>;
  const Index stride = G * units;
  for (Index n0 = range.begin; n0 < range.end; n0 += W) {
    const int rows = int(std::min(W, range.end - n0)), written = padded ? int(W) : rows;
    P acc[NR];
    for (int i = 0; i < NR; ++i)
      acc[i] = start == Start::kAccumulate ? load_n<P>(c[i] + n0, written) : set1<P>(0);
    Index k0 = 0;
    for (Index p = 0; p < L::panels(units); ++p) {
      L::for_each_segment(units, p, [&](Index column, Index source, int count, int width) {
        // Rows times gates are more streams than the hardware prefetches: 570 µs instead of 820
        // for 650 x 2600 floats that lie in no cache.
        for (int i = 0; i < rows; ++i)
          __builtin_prefetch(from + (n0 + i) * stride + source + 2 * W);
        SquareBlock<T> block;
        load_block(block, from + n0 * stride + source, stride, rows, count);
        ei::ptranspose(block);
        const auto add = [&](int k) SEQCORE_INLINE_LAMBDA {
          for (int i = 0; i < NR; ++i)
            acc[i] = mul_add(set1<P>(g[i][k0 + column + k]), block.packet[k], acc[i]);
        };
        const int lines = G == 1 ? count : width;
        if (lines == W)
          for (int k = 0; k < W; ++k) add(k);
        else
          for (int k = 0; k < lines; ++k) add(k);
      });
      k0 += L::panel_vectors(units, p) * W;
    }
    for (int i = 0; i < NR; ++i) store_n(c[i] + n0, acc[i], written);
  }
}

template <class T, int G, int NR = kRowsInPlace>
void multiply_transposed(const T* const* g, int rows, const T* from, Range range, Index units,
                         bool padded, T* const* c, Start start) {
  if constexpr (NR > 1) {
    if (rows < NR)
      return multiply_transposed<T, G, NR - 1>(g, rows, from, range, units, padded, c, start);
  }
  multiply_transposed_rows<T, G, NR>(g, from, range, units, padded, c, start);
}

}  // namespace seqcore::SEQCORE_VARIANT
