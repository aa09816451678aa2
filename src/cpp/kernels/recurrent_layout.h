// Rows, addresses and scratch memory of a recurrent call, and its division among threads: shared by
// the forward and the backward pass.
//
// Storage. Row (s, j) is step s of the j-th longest sequence; rows of a step follow one another,
// and so do the steps, so a padded step has no row. saved_h and saved_c start with the B rows of
// the initial state: the state before row (s, j) lies B rows before it in a batch without lengths.
// Gates are stored in packed order; the backward pass overwrites them by their gradients. Ragged
// batches read h in the place where it is saved: with a second copy SimpleRNN took
// 1.17 times its share of the padded batch instead of 1.09.
//
// Threads (`RecurrentCall::loop`, `shares_products`). Sequences: each thread takes some of them
// through all time steps, without a barrier; two directions go to two halves of the threads. A grid
// of sequences and units: all threads work on the same step, with one barrier after it, on one
// direction after the other. Where some threads have no part in the time loop, or the sequences do
// not divide evenly, or it is a grid, all share the products before and after it, which need no
// order in time (one LSTM sequence on 2 threads: 278 µs instead of 322). These products and the
// weight gradients are grids of their own.
#pragma once

#include "cells/gru.h"
#include "cells/lstm.h"
#include "cells/rnn.h"
#include "few_rows.h"

namespace seqcore::SEQCORE_VARIANT {

// The math of each cell.
template <Cell kCell>
struct CellOf;
template <>
struct CellOf<Cell::kRnn> : RnnCell {};
template <>
struct CellOf<Cell::kLstm> : LstmCell {};
template <>
struct CellOf<Cell::kGru> : GruCell {};
template <>
struct CellOf<Cell::kGruResetBefore> : GruResetBeforeCell {};

// Calls f(cell, activations) for the cell, as a compile-time constant, and the activations of a
// call. tanh and sigmoid are compiled in.
template <class T, class F>
void with_cell(const RecurrentCall<T>& call, F f) {
  const auto with_activations = [&](auto cell) {
    if (call.activation == Activation::kTanh &&
        (call.recurrent_activation == Activation::kSigmoid || call.cell == Cell::kRnn))
      f(cell, StaticActivations());
    else
      f(cell, RuntimeActivations{{call.activation}, {call.recurrent_activation}});
  };
  switch (call.cell) {
    case Cell::kRnn: return with_activations(std::integral_constant<Cell, Cell::kRnn>());
    case Cell::kLstm: return with_activations(std::integral_constant<Cell, Cell::kLstm>());
    case Cell::kGru: return with_activations(std::integral_constant<Cell, Cell::kGru>());
    case Cell::kGruResetBefore:
      return with_activations(std::integral_constant<Cell, Cell::kGruResetBefore>());
  }
}

// Rows of dx whose product goes through scratch memory at a time, with dropout and two directions.
constexpr int kScratchRows = 16;

// The sizes and addresses of one direction of a call.
template <class T, Cell kCell>
struct Layout {
  using Math = CellOf<kCell>;
  static constexpr int G = Math::kGates;
  using Gates = PanelLayout<T, G>;
  using Plain = PanelLayout<T, 1>;
  static constexpr int W = kLanes<T>;

  const RecurrentCall<T>& call;
  const RecurrentDirection<T>& dir;
  const PackedBatch& batch;
  Index B, S, D, H, gate_columns, padded_units, blocks;  // blocks of units, one vector each
  Index gate_stride, state_stride;  // from row to row: of gates; of c, dc and dh
  Index gradient_columns;  // columns of a row of gate gradients that multiply Uᵀ and Wᵀ
  T* local_gates;  // gates of a chunk of time steps, if they are not kept
  Bf16Pair* pairs;  // with use_bf16: the rows of a product as pairs
  T* scaled_x;  // with input_dropout: rows of x times their mask

  Layout(const RecurrentCall<T>& c, int direction, const Team& team)
      : call(c), dir(c.direction[direction]), batch(dir.batch), B(c.batch), S(c.steps),
        D(c.features), H(c.units), gate_columns(Gates::columns(c.units)),
        padded_units(Plain::columns(c.units)), blocks(Plain::vectors(c.units)),
        gate_stride(row_stride<T>(gate_columns)), state_stride(row_stride<T>(padded_units)),
        gradient_columns(G == 1 ? c.units : gate_columns),
        local_gates(dir.saved_gates ? dir.saved_gates + team.rank * Index(kMaxRows) * gate_stride
                                    : nullptr),
        pairs(c.use_bf16 && c.scratch_thread ? reinterpret_cast<Bf16Pair*>(thread_scratch(c, team))
                                             : nullptr),
        scaled_x(c.scratch_thread ? thread_scratch(c, team) + bf16_elements(c) : nullptr) {}
  // Scratch of a thread: pairs, then the rest. The widest left factor has the columns of gates,
  // inputs or units.
  static Index bf16_elements(const RecurrentCall<T>& call) {
    if (!kHasBf16<T> || !call.use_bf16) return 0;
    return kMaxRows *
           bf16_stride(std::max({Gates::columns(call.units), call.features, call.units}));
  }
  static Index thread_elements(const RecurrentCall<T>& call) {
    const Index rows_of_x = (call.drops_inputs() ? kMaxRows : kScratchRows) * call.features;
    return bf16_elements(call) +
           std::max(weight_scratch<T, G>(call.features + 2 * call.units), rows_of_x);
  }
  static T* thread_scratch(const RecurrentCall<T>& call, const Team& team) {
    return call.scratch_thread + team.rank * thread_elements(call);
  }

  // Packed weights: W, U, input bias, recurrent bias; in the backward pass Uᵀ, Wᵀ.
  T* packed_kernel() const { return dir.scratch_pack; }
  T* packed_recurrent() const { return dir.scratch_pack + D * gate_columns; }
  T* packed_bias() const { return packed_recurrent() + H * gate_columns; }
  T* packed_recurrent_bias() const { return packed_bias() + gate_columns; }
  T* transposed_recurrent() const { return dir.scratch_pack; }
  T* transposed_kernel() const { return dir.scratch_pack + gradient_columns * padded_units; }

  // Whether a single step takes x·W and h·U block by block, not one after the other: the calls of a
  // stream, in turn from the first block to the last and back, then find most of both in the
  // caches.
  bool joins_products() const {
    return S == 1 && !call.use_bf16 && !call.shares_products && !dir.input_dropout &&
           kCell != Cell::kGruResetBefore;
  }
  // Whether the backward pass reads the weights where they lie: a transposed product in place takes
  // half as long as one with packing, so it may be done once or twice.
  bool transposes_in_place() const { return call.in_place && B * S <= kRowsInPlace; }

  Index row(Index s, Index j) const { return batch.offset[s] + j; }
  Index time(Index s, Index j) const {
    return dir.reverse ? batch.lengths[batch.order[j]] - 1 - s : s;
  }
  // Where step `t` of row j lies in a sequence of the caller with these strides.
  Index offset(Index batch_stride, Index step_stride, Index t, Index j) const {
    return batch.order[j] * batch_stride + (call.unpadded ? batch.offset[t] : t) * step_stride;
  }
  const T* x_row(Index s, Index j) const {
    return call.x.data + offset(call.x.batch_stride, call.x.step_stride, time(s, j), j);
  }
  bool masked(Index s, Index j) const {
    return batch.mask && !batch.mask[batch.order[j] * S + time(s, j)];
  }
  // Keras outputs zeros before the first step that is not masked.
  bool before_first_valid(Index s, Index j) const {
    return batch.mask && s < batch.first_valid[batch.order[j]];
  }
  bool output_is_zero(Index s, Index j) const {
    return before_first_valid(s, j) || (call.zero_masked && masked(s, j));
  }
  Index y_offset(Index batch_stride, Index step_stride, Index s, Index j) const {
    return offset(batch_stride, step_stride, call.processing_order ? s : time(s, j), j) +
           dir.y_column;
  }
  T* h_row(Index s, Index j) const { return dir.saved_h + state_row(batch, s, j) * H; }
  T* c_row(Index s, Index j) const {
    return dir.saved_c +
           (call.keep_gates ? state_row(batch, s, j) : ((s + 1) & 1) * B + j) * state_stride;
  }
  const T* dropped_h(Index s, Index j) const {
    return dir.saved_dropped_h ? dir.saved_dropped_h + row(s, j) * H : h_row(s - 1, j);
  }
  T* recurrent_row(Index s, Index j) const {
    return dir.saved_recurrent + (call.keep_gates ? row(s, j) : j) * gate_stride;
  }
  T* gates_row(Index s, Index j) const { return dir.saved_gates + row(s, j) * gate_stride; }
  // The block of step s of row j from `unit` on, without the fields of the backward pass.
  template <class P>
  SEQCORE_INLINE Block<P> block(Index s, Index j, Index unit, int count, T* gates,
                                T* recurrent) const {
    Block<P> b{};
    b.gates_at = gates;
    b.recurrent_at = recurrent;
    b.h_before_at = h_row(s - 1, j) + unit;
    b.h_dropped_at = dropped_h(s, j) + unit;
    if constexpr (Math::kHasC) {
      b.c_before_at = c_row(s - 1, j) + unit;
      b.c_at = c_row(s, j) + unit;
    }
    b.count = count;
    return b;
  }
  // Number of active rows at step s among j0...j1-1.
  Index active_in(Index s, Index j0, Index j1) const {
    const Index n = std::min<Index>(batch.active[s], j1) - j0;
    return n > 0 ? n : 0;
  }
};

// Calls f(P(), packed column, first unit, units) for each of the blocks [b0, b1) of a row of gates,
// with the vector type P of the block's padded width.
template <class T, int G, class F>
SEQCORE_INLINE void for_each_block(Index units, Index b0, Index b1, F f) {
  using B = PanelLayout<T, G>;
  constexpr int W = kLanes<T>;
  for (Index b = b0; b < b1; ++b) {
    const Index unit = b * W, at = b * G * W;
    const int count = int(std::min<Index>(W, units - unit));
    const int width = count == W ? W : B::last_width(units);
    if (width == W) f(Wide<T>(), at, unit, count);
    if constexpr (G == 4 && W / 2 >= B::kMinWidth) {
      if (width == W / 2) f(Vec<T, W / 2>(), at, unit, count);
    }
    if constexpr (G == 4 && W / 4 >= B::kMinWidth) {
      if (width == W / 4) f(Vec<T, W / 4>(), at, unit, count);
    }
  }
}

// Calls f(steps, sequences) for pieces of at most kMaxRows of rows `mine`, of one or several steps.
template <class F>
void for_pieces(const PackedBatch& batch, Range mine, const Team& team, F f) {
  Index s = 0;
  for (Index r = mine.begin; r < mine.end && !stopped(team);) {
    while (batch.offset[s + 1] <= r) ++s;
    const Index j = r - batch.offset[s], left = std::min(mine.end - r, Index(kMaxRows));
    Index steps = 1, rows = std::min<Index>(batch.active[s] - j, left);
    // Whole steps of the same number of sequences together.
    if (j == 0 && rows == batch.active[s])
      while (batch.active[s + steps] == rows && (steps + 1) * rows <= left) ++steps;
    f(Range{s, s + steps}, Range{j, j + rows});
    r += steps * rows;
  }
}

// This thread's part of a product that all threads share, with `vectors` vectors of columns in
// blocks of `width`: calls f(steps, sequences, blocks).
template <class F>
void for_my_pieces(const PackedBatch& batch, Index vectors, Index width, const Team& team, F f) {
  const GridPlace place = place_in(product_grid(batch.rows, vectors, width, team.size), team);
  if (!place.works) return;
  const Range blocks =
      split_range((vectors + width - 1) / width, place.column, place.grid.column_parts);
  for_pieces(batch, split_range(batch.rows, place.row, place.grid.row_parts), team,
             [&](Range steps, Range rows) { f(steps, rows, blocks); });
}

// The sequences of this thread, one of `parts`: each gets about the same number of real time steps.
// A single sequence belongs to rank 0, which asks for interrupts.
inline Range split_sequences(const PackedBatch& batch, const Team& team, int parts) {
  const auto edge = [&](int part) {
    const Index wanted = batch.rows * part / parts;
    Index j = 0, steps = 0;
    for (; j < batch.sequences && steps + batch.lengths[batch.order[j]] / 2 <= wanted; ++j)
      steps += batch.lengths[batch.order[j]];
    return part == parts ? batch.sequences : j;
  };
  if (team.rank >= parts) return {0, 0};
  return {team.rank ? edge(team.rank) : 0, edge(team.rank + 1)};
}

// The threads of `part`, a direction's part of a team, that have sequences in the time loop.
template <class T>
SEQCORE_INLINE int sequence_parts(const RecurrentCall<T>& call, const Team& part) {
  return std::min(call.loop.row_parts, part.size);
}

// The part of the team that works on direction d, as this thread sees it; size 0 where it has none.
inline Team direction_team(const Team& team, int d, int directions) {
  Team part = team;
  if (directions == 1 || team.size == 1) return part;
  const int first = team.size / 2;
  const int mine = team.rank < first ? 0 : 1;
  part.rank = mine ? team.rank - first : team.rank;
  part.size = mine == d ? (d ? team.size - first : first) : 0;
  // Rank 0 of the second half is not the thread that may ask for interrupts.
  if (team.rank) part.interrupted = nullptr;
  return part;
}

template <class T, Cell kCell>
void recurrent_sizes(const RecurrentCall<T>& call, RecurrentSizes& sizes) {
  using Gates = PanelLayout<T, CellOf<kCell>::kGates>;
  const Index H = call.units, D = call.features;
  const Index gate_columns = Gates::columns(H), padded_units = PanelLayout<T, 1>::columns(H);
  sizes.gate_stride = row_stride<T>(gate_columns);
  sizes.state_stride = row_stride<T>(padded_units);
  sizes.forward_pack = (D + H + 2) * gate_columns;
  sizes.backward_pack = gate_columns * (padded_units + PanelLayout<T, 1>::columns(D));
  sizes.thread_scratch = Layout<T, kCell>::thread_elements(call);
  sizes.chunk_rows = kMaxRows;
}

}  // namespace seqcore::SEQCORE_VARIANT
