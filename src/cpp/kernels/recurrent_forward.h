// The forward pass of any cell: both directions, lengths, masks, dropout, and the ways to share the
// work.
#pragma once

#include "recurrent_layout.h"

namespace seqcore::SEQCORE_VARIANT {

// Packs this thread's part of the weights of one direction; a barrier must follow.
template <class T, Cell kCell>
void pack_forward(const Layout<T, kCell>& layout, const Team& team) {
  using Gates = typename Layout<T, kCell>::Gates;
  constexpr int G = Layout<T, kCell>::G;
  const auto& dir = layout.dir;
  const Index panels = Gates::panels(layout.H), stride = G * layout.H;
  // Of weights that are read in place only a last panel that is not full, if there is one.
  const Index first = !layout.call.in_place || panels == 0  ? 0
                      : is_full<T, G>(layout.H, panels - 1) ? panels
                                                            : panels - 1;
  // Rows of W and after them of U: there may be fewer panels than threads.
  const Index first_of_u = (layout.D + kPackGrain - 1) / kPackGrain * kPackGrain;
  const Range rows = split_range(first_of_u + layout.H, team, kPackGrain),
              of_w{rows.begin, std::min(rows.end, layout.D)},
              of_u{std::max(rows.begin - first_of_u, Index(0)), rows.end - first_of_u},
              mine = split_range(panels, team);
  const auto pack = [&](const T* from, Index K, Range part, T* packed) {
    if (part.begin >= part.end) return;
    dispatch_operand(layout.call.use_bf16, packed, [&](auto* to) {
      if (layout.call.layout == WeightLayout::kTorch)
        pack_torch_panels<G>(from, K, part, layout.H, 0, panels, to);
      else
        pack_panels<G>(from, stride, K, part, layout.H, first, panels, to);
    });
  };
  pack(dir.kernel, layout.D, of_w, layout.packed_kernel());
  pack(dir.recurrent, layout.H, of_u, layout.packed_recurrent());
  pack_bias<G>(dir.bias, layout.H, mine.begin, mine.end, layout.packed_bias(), layout.call.layout);
  if constexpr (kCell == Cell::kGru)
    pack_bias<G>(dir.recurrent_bias, layout.H, mine.begin, mine.end, layout.packed_recurrent_bias(),
                 layout.call.layout);
}

// c = start + rows · M for blocks [b0, b1) of the gates: M is W or U, `from` in Keras's order and
// `packed` in panels.
template <class T, Cell kCell>
void multiply_gates(const Layout<T, kCell>& layout, const LhsRows<T>& lhs, int rows, const T* from,
                    const T* packed, Index K, Index b0, Index b1, T* const* c, Start start,
                    const T* bias, bool descending) {
  using Gates = typename Layout<T, kCell>::Gates;
  if (layout.call.in_place) {
    const Index full = std::min(b1, layout.H / kLanes<T>);
    for (int i = 0; i < rows && b0 < full; i += kRowsInPlace)
      multiply_unpacked<T, Layout<T, kCell>::G>(lhs.rows + i, std::min(kRowsInPlace, rows - i),
                                                from, K, layout.H, b0, full, c + i, start, bias);
    b0 = std::max(b0, full);
    if (b0 >= b1) return;
  }
  multiply_blocks<Gates>(lhs, rows, packed, K, layout.H, b0, b1, c, start, bias, descending);
}

// x_t·W + b for rows j0...j1-1 of steps [s0, s1), at most kMaxRows of them, and for these blocks of
// the units, into gates(s, j).
// (Prefetching the rows of x of the next steps made the forward pass 1 to 2 % slower: the copy of a
// row hides its own latency.)
template <class T, Cell kCell, class GatesOf>
void input_product(const Layout<T, kCell>& layout, Index s0, Index s1, Index j0, Index j1,
                   Range blocks, GatesOf gates) {
  const T* a[kMaxRows];
  T* c[kMaxRows];
  int rows = 0;
  const auto& dir = layout.dir;
  for (Index s = s0; s < s1; ++s) {
    const Index n = layout.active_in(s, j0, j1);
    for (Index j = j0; j < j0 + n; ++j, ++rows) {
      a[rows] = layout.x_row(s, j);
      if (dir.input_dropout) {
        const T* scale = dir.input_dropout + layout.batch.order[j] * layout.D;
        T* to = layout.scaled_x + rows * layout.D;
        for (Index d = 0; d < layout.D; ++d) to[d] = a[rows][d] * scale[d];
        a[rows] = to;
      }
      c[rows] = gates(s, j);
    }
  }
  multiply_gates(layout, LhsRows<T>(a, rows, layout.D, layout.pairs), rows, dir.kernel,
                 layout.packed_kernel(), layout.D, blocks.begin, blocks.end, c, Start::kBias,
                 layout.packed_bias(), false);
}

// Writes h of one block of a row after step s: the state, its dropped copy for the next step, and
// y.
template <class P, class T, Cell kCell>
SEQCORE_INLINE void write_output(const Layout<T, kCell>& layout, Index s, Index j, Index unit,
                                 int count, P h) {
  const auto& call = layout.call;
  const auto& dir = layout.dir;
  if (layout.masked(s, j)) {
    h = load_n<P>(layout.h_row(s - 1, j) + unit, count);
    if constexpr (CellOf<kCell>::kHasC)
      store(layout.c_row(s, j) + unit, load<P>(layout.c_row(s - 1, j) + unit));
  }
  store_n(layout.h_row(s, j) + unit, h, count);
  if (dir.saved_dropped_h && s + 1 < layout.S && j < layout.batch.active[s + 1]) {
    const T* scale =
        dir.state_dropout ? dir.state_dropout + layout.batch.order[j] * layout.H + unit : nullptr;
    store_n(dir.saved_dropped_h + layout.row(s + 1, j) * layout.H + unit,
            scale ? h * load_n<P>(scale, count) : h, count);
  }
  if (call.return_sequences && !call.y_is_h) {
    T* y = call.y.data + layout.y_offset(call.y.batch_stride, call.y.step_stride, s, j) + unit;
    store_n(y, layout.output_is_zero(s, j) ? set1<P>(0) : h, count);
  }
}

// The pointwise math of step s for rows j0...j0+n-1 and blocks [b0, b1), and its outputs. gates,
// recurrent: the rows of h_{t-1}'s products; only the reset-after GRU uses recurrent.
template <class T, Cell kCell, class A>
void finish_step(const Layout<T, kCell>& layout, const A& act, Index s, Index j0, Index n, Index b0,
                 Index b1, T* const* gates, T* const* recurrent) {
  // Inlined by force: called for each block, it cost 2.7 % of the instructions of a small GRU.
  for (Index i = 0; i < n; ++i)
    for_each_block<T, CellOf<kCell>::kGates>(
        layout.H, b0, b1, [&](auto tag, Index at, Index unit, int count) SEQCORE_INLINE_LAMBDA {
          const auto block = layout.template block<decltype(tag)>(
              s, j0 + i, unit, count, gates[i] + at,
              kCell == Cell::kGru ? recurrent[i] + at : nullptr);
          write_output(layout, s, j0 + i, unit, count, CellOf<kCell>::forward(act, block));
        });
}

// The step of the reset-before GRU has two products: the gates z and r are the first two vectors of
// each panel, the candidate is the third.
template <class T, class A>
void forward_step_reset_before(const Layout<T, Cell::kGruResetBefore>& layout, const A& act,
                               Index s, Index j0, Index n, Index p0, Index p1,
                               const LhsRows<T>& lhs, T* const* gates) {
  using Math = CellOf<Cell::kGruResetBefore>;
  constexpr Index kColumns = 3 * kLanes<T>, kCandidate = 2 * kLanes<T>;
  T *reset_h[kMaxRows], *at[kMaxRows];
  for (Index i = 0; i < n; ++i)
    reset_h[i] = layout.dir.saved_reset_h +
                 (layout.call.keep_gates ? layout.row(s, j0 + i) : j0 + i) * layout.H;
  for (Index p = p0; p < p1; ++p) {
    for (Index i = 0; i < n; ++i) at[i] = gates[i] + p * kColumns;
    lhs.dispatch(layout.packed_recurrent(), layout.H, [&](auto rows, auto packed, Index depth) {
      multiply_panels<T, 2, 1>(rows, 1, int(n), packed + p * depth * kColumns, kColumns, 0, depth,
                               at, Start::kAccumulate, nullptr, nullptr);
    });
    for (Index i = 0; i < n; ++i)
      for_each_block<T, 3>(layout.H, p, p + 1, [&](auto tag, Index column, Index unit, int count) {
        const auto block = layout.template block<decltype(tag)>(s, j0 + i, unit, count,
                                                                gates[i] + column, nullptr);
        store_n(reset_h[i] + unit, Math::forward_reset(act, block), count);
      });
  }
  const LhsRows<T> reset_lhs(reset_h, n, layout.H, layout.pairs);
  for (Index p = p0; p < p1; ++p) {
    for (Index i = 0; i < n; ++i) at[i] = gates[i] + p * kColumns + kCandidate;
    reset_lhs.dispatch(
        layout.packed_recurrent(), layout.H, [&](auto rows, auto packed, Index depth) {
          multiply_panels<T, 1, 1>(rows, 1, int(n), packed + p * depth * kColumns + kCandidate,
                                   kColumns, 0, depth, at, Start::kAccumulate, nullptr, nullptr);
        });
    finish_step(layout, act, s, j0, n, p, p + 1, gates, static_cast<T* const*>(nullptr));
  }
}

// One step for rows j0...j0+n-1 (n <= kMaxRows) and blocks [b0, b1) of the units: h_{t-1}·U panel
// by panel, and the math of each panel while its gates are in the first-level cache.
template <class T, Cell kCell, class A, class GatesOf>
void forward_step(const Layout<T, kCell>& layout, const A& act, Index s, Index j0, Index n,
                  Index b0, Index b1, GatesOf gates_row) {
  using Gates = typename Layout<T, kCell>::Gates;
  const T *h[kMaxRows], *x[kMaxRows];
  T *gates[kMaxRows], *recurrent[kMaxRows];
  const bool joined = layout.joins_products();
  for (Index i = 0; i < n; ++i) {
    h[i] = layout.dropped_h(s, j0 + i);
    if (joined) x[i] = layout.x_row(s, j0 + i);
    gates[i] = gates_row(s, j0 + i);
    recurrent[i] = kCell == Cell::kGru ? layout.recurrent_row(s, j0 + i) : gates[i];
  }
  const LhsRows<T> lhs(h, n, layout.H, layout.pairs), x_lhs(x, 0, layout.D, nullptr);
  if constexpr (kCell == Cell::kGruResetBefore) {
    return forward_step_reset_before(layout, act, s, j0, n, b0, b1, lhs, gates);
  } else {
    // Blocks of a tile's panels; where b0 lies within a panel, the first tile is smaller.
    constexpr Index kBlocks = Gates::kPanel / Layout<T, kCell>::G;
    const Index group = layout.call.in_place ? blocks_per_pass<Layout<T, kCell>::G>(int(n))
                                             : kBlocks * panels_per_tile<Gates::kPanel>(int(n));
    const Start start = kCell == Cell::kGru ? Start::kBias : Start::kAccumulate;
    // Every other step takes the panels from the last to the first: it begins with the part of U
    // that the caches still hold. (Keeping a part of U in the first-level cache, by prefetching the
    // rest past it, made the time loop of one sequence 4 % faster: not worth a second kind of
    // tile.)
    const bool descending = (s ^ layout.call.descending) & 1;
    const Index first = b0 / kBlocks, last = (b1 + kBlocks - 1) / kBlocks,
                tiles = (last - first) * kBlocks;
    for (Index done = 0; done < tiles; done += group) {
      const Index some = std::min(group, tiles - done),
                  at = first * kBlocks + (descending ? tiles - done - some : done),
                  from = std::max(at, b0), to = std::min(at + some, b1);
      if (joined)
        multiply_gates(layout, x_lhs, int(n), layout.dir.kernel, layout.packed_kernel(), layout.D,
                       from, to, gates, Start::kBias, layout.packed_bias(), descending);
      multiply_gates(layout, lhs, int(n), layout.dir.recurrent, layout.packed_recurrent(), layout.H,
                     from, to, recurrent, start, layout.packed_recurrent_bias(), descending);
      finish_step(layout, act, s, j0, n, from, to, gates, recurrent);
    }
  }
}

// Writes the initial states of rows j0...j1-1.
template <class T, Cell kCell>
void init_state(const Layout<T, kCell>& layout, Index j0, Index j1) {
  const auto& dir = layout.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = layout.batch.order[j];
    T* h = layout.h_row(-1, j);
    for (Index u = 0; u < layout.H; ++u) h[u] = dir.h0 ? dir.h0[b * layout.H + u] : T(0);
    if (dir.saved_dropped_h && j < layout.batch.active[0]) {
      T* used = dir.saved_dropped_h + j * layout.H;
      for (Index u = 0; u < layout.H; ++u)
        used[u] = dir.state_dropout ? h[u] * dir.state_dropout[b * layout.H + u] : h[u];
    }
    if constexpr (CellOf<kCell>::kHasC) {
      T* c = layout.c_row(-1, j);
      for (Index u = 0; u < layout.padded_units; ++u)
        c[u] = dir.c0 && u < layout.H ? dir.c0[b * layout.H + u] : T(0);
    }
  }
}

// Writes the final states of rows j0...j1-1, the last output, and zeros past the end of a sequence.
template <class T, Cell kCell>
void write_final_state(const Layout<T, kCell>& layout, Index j0, Index j1) {
  const auto& call = layout.call;
  const auto& dir = layout.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = layout.batch.order[j], length = layout.batch.lengths[b], H = layout.H;
    const T* h = layout.h_row(length - 1, j);
    if (dir.h_last) {
      std::memcpy(dir.h_last + b * H, h, sizeof(T) * H);
      if constexpr (CellOf<kCell>::kHasC)
        std::memcpy(dir.c_last + b * H, layout.c_row(length - 1, j), sizeof(T) * H);
    }
    T* y = call.y.data + b * call.y.batch_stride + dir.y_column;
    if (call.return_sequences) {
      for (Index s = length; s < layout.S && !call.unpadded; ++s)
        std::memset(y + s * call.y.step_stride, 0, sizeof(T) * H);
    } else if (length && layout.output_is_zero(length - 1, j)) {
      std::memset(y, 0, sizeof(T) * H);
    } else {
      std::memcpy(y, h, sizeof(T) * H);
    }
  }
}

// Takes sequences j0...j1-1 through all time steps, by one thread.
template <class T, Cell kCell, class A>
void forward_sequences(const Layout<T, kCell>& layout, const A& act, const Team& team, Index j0,
                       Index j1) {
  init_state(layout, j0, j1);
  for (Index s0 = 0, s1; s0 < layout.S; s0 = s1) {
    s1 = std::min(layout.S, s0 + std::max<Index>(1, kMaxRows / (j1 - j0)));
    if (!layout.active_in(s0, j0, j1) || stopped(team)) break;
    const auto gates = [&](Index s, Index j) {
      if (layout.call.keep_gates) return layout.gates_row(s, j);
      return layout.local_gates + ((s - s0) * (j1 - j0) + j - j0) * layout.gate_stride;
    };
    if (!layout.call.shares_products && !layout.joins_products())
      input_product(layout, s0, s1, j0, j1, {0, layout.blocks}, gates);
    for (Index s = s0; s < s1; ++s) {
      const Index n = layout.active_in(s, j0, j1);
      if (n) forward_step(layout, act, s, j0, n, 0, layout.blocks, gates);
    }
  }
  write_final_state(layout, j0, j1);
}

// The input products of all rows, shared by the team; a barrier must follow.
template <class T, Cell kCell>
void input_products(const Layout<T, kCell>& layout, const Team& team) {
  using Gates = typename Layout<T, kCell>::Gates;
  const Index width = Layout<T, kCell>::G == 1 ? 1 : Gates::kPanel;  // a block of units
  for_my_pieces(layout.batch, Gates::vectors(layout.H), width, team,
                [&](Range steps, Range rows, Range blocks) {
                  input_product(layout, steps.begin, steps.end, rows.begin, rows.end, blocks,
                                [&](Index s, Index j) { return layout.gates_row(s, j); });
                });
}

// Takes all sequences through all time steps; the team shares the rows and the units of each step.
template <class T, Cell kCell, class A>
void forward_grid(const Layout<T, kCell>& layout, const A& act, const Team& team) {
  const auto gates = [&](Index s, Index j) { return layout.gates_row(s, j); };
  const GridPlace place = place_in(layout.call.loop, team);
  const Range states = split_range(layout.B, team),
              blocks = split_range(layout.blocks, place.column, place.grid.column_parts);
  init_state(layout, states.begin, states.end);
  wait(team);
  for (Index s = 0; s < layout.S; ++s) {
    const Range rows = split_range(layout.batch.active[s], place.row, place.grid.row_parts);
    if (place.works && !stopped(team))
      for (Index j = rows.begin; j < rows.end; j += kMaxRows)
        forward_step(layout, act, s, j, std::min(rows.end - j, Index(kMaxRows)), blocks.begin,
                     blocks.end, gates);
    if (!end_round(team, s)) break;
  }
  write_final_state(layout, states.begin, states.end);
}

template <class T, Cell kCell, class A>
void recurrent_forward(const RecurrentCall<T>& call, const A& act, const Team& team) {
  if (!call.packed) {
    for (int d = 0; d < call.directions; ++d) pack_forward(Layout<T, kCell>(call, d, team), team);
    wait(team);
  }
  const bool shares_units = call.loop.column_parts > 1;
  if (call.shares_products) {
    for (int d = 0; d < call.directions; ++d) input_products(Layout<T, kCell>(call, d, team), team);
    if (!shares_units) wait(team);
  }
  for (int d = 0; d < call.directions; ++d) {
    const Layout<T, kCell> layout(call, d, team);
    if (shares_units) {
      forward_grid(layout, act, team);
      continue;
    }
    const Team part = direction_team(team, d, call.directions);
    if (!part.size) continue;
    const Range mine = split_sequences(layout.batch, part, sequence_parts(call, part));
    for (Index j = mine.begin; j < mine.end; j += kMaxRows)
      forward_sequences(layout, act, team, j, std::min(j + kMaxRows, mine.end));
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
