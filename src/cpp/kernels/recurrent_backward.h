// The backward pass of any cell, and the gradients of its inputs and weights.
#pragma once

#include "recurrent_layout.h"

namespace seqcore::SEQCORE_VARIANT {

// The layout with the scratch of the backward pass of one direction: the gradients of h and c that
// step s + 1 hands to step s, and products.
template <class T, Cell kCell>
struct BackwardLayout : Layout<T, kCell> {
  using Base = Layout<T, kCell>;
  T *dh, *dc, *product;
  BackwardLayout(const RecurrentCall<T>& c, int direction, const Team& team)
      : Base(c, direction, team) {
    dh = this->dir.scratch_state;
    dc = dh + this->B * this->state_stride;
    product = dc + this->B * this->state_stride;
  }
  T* dh_row(Index j) const { return dh + j * this->state_stride; }
  T* dc_row(Index j) const { return dc + j * this->state_stride; }
  T* product_row(Index j) const { return product + j * this->state_stride; }
  const T* dy_row(Index s, Index j) const {
    const auto& dy = this->call.dy;
    return dy.data + this->y_offset(dy.batch_stride, dy.step_stride, s, j);
  }
  // The gradients that multiply Uᵀ.
  T* recurrent_gradient_row(Index s, Index j) const {
    return CellOf<kCell>::kSeparateGradients ? this->recurrent_row(s, j) : this->gates_row(s, j);
  }
};

// Packs this thread's part of Uᵀ and Wᵀ; a barrier must follow.
template <class T, Cell kCell>
void pack_backward(const Layout<T, kCell>& layout, const Team& team, bool need_dx) {
  using Plain = typename Layout<T, kCell>::Plain;
  constexpr int G = Layout<T, kCell>::G;
  constexpr Index kColumns = Plain::kPanel * kLanes<T>;
  if (layout.transposes_in_place()) return;
  // Of a single step nothing is handed to a step before it, except the gradient of the initial
  // state.
  const bool need_state = layout.S > 1 || layout.dir.dh0 || kCell == Cell::kGruResetBefore;
  const Index state_panels = need_state ? Plain::panels(layout.H) : 0,
              input_panels = need_dx ? Plain::panels(layout.D) : 0;
  const Index gate_panels = Layout<T, kCell>::Gates::panels(layout.H);
  const bool torch = layout.call.layout == WeightLayout::kTorch;
  const auto pack = [&](const T* from, Index N, Index panel, Range part, T* packed) {
    dispatch_operand(layout.call.use_bf16, packed, [&](auto* to) {
      pack_panel_transposed<G>(from, torch ? N : G * layout.H, N, layout.H, panel, part,
                               to + panel * packed_depth_at(to, layout.gradient_columns) * kColumns,
                               layout.call.layout);
    });
  };
  for_my_transposed(state_panels + input_panels, gate_panels, team, [&](Index p, Range part) {
    if (p < state_panels)
      pack(layout.dir.recurrent, layout.H, p, part, layout.transposed_recurrent());
    else
      pack(layout.dir.kernel, layout.D, p - state_panels, part, layout.transposed_kernel());
  });
}

// Backpropagation through h_{t-1}·U: dh of rows j0...j0+n-1 and units of blocks [b0, b1) before
// step s, the gate gradients of step s times Uᵀ, plus the direct path of the GRU or of a masked
// step.
template <class T, Cell kCell>
void backprop_recurrent(const BackwardLayout<T, kCell>& layout, Index s, Index j0, Index n,
                        Index b0, Index b1) {
  using Plain = typename Layout<T, kCell>::Plain;
  const T* a[kMaxRows];
  T* c[kMaxRows];
  const T* scale = layout.dir.state_dropout;
  const bool carries = CellOf<kCell>::kHasDirectPath || layout.batch.mask;
  for (Index i = 0; i < n; ++i) {
    a[i] = layout.recurrent_gradient_row(s, j0 + i);
    c[i] = scale ? layout.product_row(j0 + i) : layout.dh_row(j0 + i);
  }
  const Start start = carries && !scale ? Start::kAccumulate : Start::kZero;
  if (layout.transposes_in_place())
    multiply_transposed<T, Layout<T, kCell>::G>(
        a, int(n), layout.dir.recurrent,
        {b0 * kLanes<T>, std::min<Index>(layout.H, b1 * kLanes<T>)}, layout.H, true, c, start);
  else
    multiply_blocks<Plain>(LhsRows<T>(a, n, layout.gradient_columns, layout.pairs), int(n),
                           layout.transposed_recurrent(), layout.gradient_columns, layout.H, b0, b1,
                           c, start, static_cast<const T*>(nullptr), s & 1);
  if (!scale) return;
  const Index u0 = b0 * kLanes<T>, u1 = std::min<Index>(layout.H, b1 * kLanes<T>);
  for (Index i = 0; i < n; ++i) {
    const T* row = scale + layout.batch.order[j0 + i] * layout.H;
    T* dh = layout.dh_row(j0 + i);
    for (Index u = u0; u < u1; ++u) dh[u] = (carries ? dh[u] : T(0)) + row[u] * c[i][u];
  }
}

// dL/dh of one block of a row at step s: the gradient from step s + 1 plus that of the output.
template <class P, class T, Cell kCell>
SEQCORE_INLINE P hidden_gradient(const BackwardLayout<T, kCell>& layout, Index s, Index j,
                                 Index unit, int count) {
  const auto& call = layout.call;
  P dh = load<P>(layout.dh_row(j) + unit);
  if (call.return_sequences && call.dy.data && !layout.output_is_zero(s, j))
    dh += load_n<P>(layout.dy_row(s, j) + unit, count);
  if (layout.dir.step_gradients)
    store_n(layout.dir.step_gradients + layout.row(s, j) * layout.H + unit, dh, count);
  return dh;
}

// A masked step repeats the state: no gradient reaches the gates, all of it the step before.
template <class T, Cell kCell, class P>
SEQCORE_INLINE void backward_masked(const Block<P>& block, const P& dh) {
  const P zero = set1<P>(0);
  for (int g = 0; g < CellOf<kCell>::kGates; ++g) {
    block.set_gate(g, zero);
    if constexpr (CellOf<kCell>::kSeparateGradients) block.set_recurrent(g, zero);
  }
  block.set_dh(dh);
}

// Calls f(block, unit, count) for blocks [b0, b1) of row j at step s.
template <class T, Cell kCell, class F>
SEQCORE_INLINE void for_each_backward_block(const BackwardLayout<T, kCell>& layout, Index s,
                                            Index j, Index b0, Index b1, F f) {
  using Math = CellOf<kCell>;
  for_each_block<T, Math::kGates>(layout.H, b0, b1, [&](auto tag, Index at, Index unit, int count) {
    auto block = layout.template block<decltype(tag)>(
        s, j, unit, count, layout.gates_row(s, j) + at,
        Math::kSeparateGradients ? layout.recurrent_row(s, j) + at : nullptr);
    const T* dropout = layout.dir.state_dropout;
    block.dropout_at = dropout ? dropout + layout.batch.order[j] * layout.H + unit : nullptr;
    block.h_at = layout.h_row(s, j) + unit;
    block.dh_at = layout.dh_row(j) + unit;
    if constexpr (Math::kHasC) block.dc_at = layout.dc_row(j) + unit;
    f(block, unit, count);
  });
}

// The second stage of the reset-before GRU: the gradient of r h_{t-1} is a product of its own.
template <class T, class A>
void backward_step_reset(const BackwardLayout<T, Cell::kGruResetBefore>& layout, const A& act,
                         Index s, Index j0, Index n, Index b0, Index b1) {
  using Plain = PanelLayout<T, 1>;
  const T* dn[kMaxRows];
  T* d_reset_h[kMaxRows];
  for (Index i = 0; i < n; ++i) {
    dn[i] = layout.recurrent_row(s, j0 + i);
    d_reset_h[i] = layout.product_row(j0 + i);
  }
  multiply_blocks<Plain>(LhsRows<T>(dn, n, layout.gradient_columns, layout.pairs), int(n),
                         layout.transposed_recurrent(), layout.gradient_columns, layout.H, b0, b1,
                         d_reset_h, Start::kZero);
  for (Index j = j0; j < j0 + n; ++j) {
    if (layout.masked(s, j)) continue;
    for_each_backward_block(layout, s, j, b0, b1, [&](const auto& block, Index unit, int) {
      using P = decltype(block.dh());
      GruResetBeforeCell::backward(act, block, load<P>(layout.product_row(j) + unit));
    });
  }
}

// The pointwise math of step s for rows j0...j0+n-1 and blocks [b0, b1): gates become gate
// gradients.
template <class T, Cell kCell, class A>
void backward_step(const BackwardLayout<T, kCell>& layout, const A& act, Index s, Index j0, Index n,
                   Index b0, Index b1) {
  using Math = CellOf<kCell>;
  constexpr Index kColumns = Index(Math::kGates) * kLanes<T>;
  const Index u0 = b0 * kLanes<T>, u1 = std::min(b1 * kLanes<T>, layout.H);
  for (Index j = j0; j < j0 + n; ++j) {
    const bool masked = layout.masked(s, j);
    // Rows of a step lie a whole sequence apart, so no prefetcher guesses the step before: without
    // these two lines SimpleRNN takes 8 % longer at the IMDB shapes, GRU 6, LSTM 5.
    if (s > 0) {
      prefetch_l2(layout.gates_row(s - 1, j) + b0 * kColumns, (b1 - b0) * kColumns);
      if (layout.call.return_sequences && layout.call.dy.data)
        prefetch_l1(layout.dy_row(s - 1, j) + u0, u1 - u0);
    }
    for_each_backward_block(layout, s, j, b0, b1, [&](const auto& block, Index unit, int count) {
      using P = decltype(block.dh());
      const P dh = hidden_gradient<P>(layout, s, j, unit, count);
      if (masked) return backward_masked<T, kCell>(block, dh);
      if (layout.batch.mask && !Math::kHasDirectPath) block.set_dh(set1<P>(0));
      if constexpr (kCell == Cell::kGruResetBefore)
        Math::backward_candidate(act, block, dh);
      else
        Math::backward(act, block, dh);
    });
  }
  if constexpr (kCell == Cell::kGruResetBefore) backward_step_reset(layout, act, s, j0, n, b0, b1);
}

// Initializes dh and dc of rows j0...j1-1 after their last step: the gradients of the final state
// and of the last output.
template <class T, Cell kCell>
void init_state_gradient(const BackwardLayout<T, kCell>& layout, Index j0, Index j1) {
  const auto& call = layout.call;
  const auto& dir = layout.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = layout.batch.order[j], length = layout.batch.lengths[b];
    T *dh = layout.dh_row(j), *dc = layout.dc_row(j);
    const bool seen =
        call.dy.data && !call.return_sequences && !(length && layout.output_is_zero(length - 1, j));
    const T* dy = seen ? call.dy.data + b * call.dy.batch_stride + dir.y_column : nullptr;
    for (Index u = 0; u < layout.padded_units; ++u) {
      const bool real = u < layout.H;
      dh[u] = (real && dir.dh_last ? dir.dh_last[b * layout.H + u] : T(0)) +
              (real && dy ? dy[u] : T(0));
      dc[u] = real && dir.dc_last ? dir.dc_last[b * layout.H + u] : T(0);
    }
  }
}

template <class T, Cell kCell>
void write_initial_gradient(const BackwardLayout<T, kCell>& layout, Index j0, Index j1) {
  const auto& dir = layout.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = layout.batch.order[j];
    if (dir.dh0) std::memcpy(dir.dh0 + b * layout.H, layout.dh_row(j), sizeof(T) * layout.H);
    if (dir.dc0) std::memcpy(dir.dc0 + b * layout.H, layout.dc_row(j), sizeof(T) * layout.H);
  }
}

// dx of rows j0...j1-1 of steps [s0, s1), and of these vectors of its columns: gate gradients · Wᵀ;
// `add` adds to the dx of the other direction. (Prefetching the rows of dx before they are written
// made it 0 to 3 % slower.)
template <class T, Cell kCell>
void input_gradient(const BackwardLayout<T, kCell>& layout, Index s0, Index s1, Index j0, Index j1,
                    Range vectors, bool add, T* scratch) {
  const auto& call = layout.call;
  const Range columns{vectors.begin * kLanes<T>, std::min(vectors.end * kLanes<T>, layout.D)};
  const T *a[kMaxRows], *scales[kMaxRows];
  T *c[kMaxRows], *product[kMaxRows];
  // A product that is to be scaled and then added goes through rows of its own.
  const bool scaled = layout.dir.input_dropout, through_scratch = scaled && add;
  const int limit = through_scratch ? kScratchRows : kMaxRows;
  int rows = 0;
  const auto flush = [&] {
    const Start start = add && !through_scratch ? Start::kAccumulate : Start::kZero;
    if (layout.transposes_in_place())
      multiply_transposed<T, Layout<T, kCell>::G>(a, rows, layout.dir.kernel, columns, layout.H,
                                                  false, product, start);
    else
      LhsRows<T>(a, rows, layout.gradient_columns, layout.pairs)
          .dispatch(layout.transposed_kernel(), layout.gradient_columns,
                    [&](auto left, auto packed, Index depth) {
                      multiply_unpadded(left, rows, packed, depth, layout.D, vectors.begin,
                                        vectors.end, product, start);
                    });
    for (int i = 0; i < rows && scaled; ++i)
      for (Index d = columns.begin; d < columns.end; ++d)
        c[i][d] = (through_scratch ? c[i][d] : T(0)) + product[i][d] * scales[i][d];
    rows = 0;
  };
  for (Index s = s0; s < s1; ++s) {
    const Index n = layout.active_in(s, j0, j1);
    for (Index j = j0; j < j0 + n; ++j) {
      const Index b = layout.batch.order[j];
      a[rows] = layout.gates_row(s, j);
      c[rows] = call.dx.data +
                layout.offset(call.dx.batch_stride, call.dx.step_stride, layout.time(s, j), j);
      product[rows] = through_scratch ? scratch + rows * layout.D : c[rows];
      scales[rows] = scaled ? layout.dir.input_dropout + b * layout.D : nullptr;
      if (++rows == limit) flush();
    }
  }
  if (rows) flush();
}

// The backward pass of sequences j0...j1-1, by one thread, with their dx where no other direction
// adds to it.
template <class T, Cell kCell, class A>
void backward_sequences(const BackwardLayout<T, kCell>& layout, const A& act, const Team& team,
                        Index j0, Index j1, T* scratch) {
  const Index blocks = layout.blocks;
  const bool with_dx =
      layout.call.dx.data && layout.call.directions == 1 && !layout.call.shares_products;
  init_state_gradient(layout, j0, j1);
  Index pending = 0, end = 0;  // steps [s, end), of `pending` rows, whose dx is not yet computed
  for (Index s = layout.S - 1; s >= 0; --s) {
    const Index n = layout.active_in(s, j0, j1);
    if (!n) continue;
    if (!pending) {
      if (stopped(team)) return;
      end = s + 1;
    }
    const Index later = s + 1 < layout.S ? layout.active_in(s + 1, j0, j1) : 0;
    if (later) backprop_recurrent(layout, s + 1, j0, later, 0, blocks);
    backward_step(layout, act, s, j0, n, 0, blocks);
    pending += n;
    if (s == 0 || pending + n > kMaxRows) {
      if (with_dx)
        input_gradient(layout, s, end, j0, j1, {0, PanelLayout<T, 1>::vectors(layout.D)}, false,
                       scratch);
      pending = 0;
    }
  }
  const Index first = layout.active_in(0, j0, j1);
  if (layout.dir.dh0 && first) backprop_recurrent(layout, 0, j0, first, 0, blocks);
  write_initial_gradient(layout, j0, j1);
}

// The backward pass of all sequences; the team shares the rows and the units of each step.
template <class T, Cell kCell, class A>
void backward_grid(const BackwardLayout<T, kCell>& layout, const A& act, const Team& team) {
  const GridPlace place = place_in(layout.call.loop, team);
  const Range states = split_range(layout.B, team),
              blocks = split_range(layout.blocks, place.column, place.grid.column_parts);
  init_state_gradient(layout, states.begin, states.end);
  wait(team);
  for (Index s = layout.S - 1; s >= -1; --s) {
    const Range rows =
        split_range(layout.batch.active[s < 0 ? 0 : s], place.row, place.grid.row_parts);
    if (place.works && !stopped(team)) {
      for (Index j = rows.begin; j < rows.end; j += kMaxRows) {
        const Index end = std::min(j + kMaxRows, rows.end),
                    later = s + 1 < layout.S ? layout.active_in(s + 1, j, end) : 0;
        if (later && (s >= 0 || layout.dir.dh0))
          backprop_recurrent(layout, s + 1, j, later, blocks.begin, blocks.end);
        if (s >= 0) backward_step(layout, act, s, j, end - j, blocks.begin, blocks.end);
      }
    }
    if (!end_round(team, layout.S - 1 - s)) break;
  }
  write_initial_gradient(layout, states.begin, states.end);
}

// The weight gradients of one direction; the team shares their columns.
template <class T, Cell kCell>
void weight_gradients_of_direction(const BackwardLayout<T, kCell>& layout, const Team& team,
                                   T* scratch) {
  constexpr int G = Layout<T, kCell>::G;
  const auto& dir = layout.dir;
  const auto& x = layout.call.x;
  const Index R = layout.batch.rows, H = layout.H;
  const SequenceRows steps_of_x{&dir.batch, x.batch_stride, x.step_stride, dir.reverse,
                                layout.call.unpadded},
      states_before{&dir.batch, 0, 0, 0, 0, H};
  const T* h = dir.saved_dropped_h ? dir.saved_dropped_h : dir.saved_h;
  // Without lengths the state before row r is row r of saved_h, which begins with the initial
  // states.
  const bool in_order = dir.saved_dropped_h || R == layout.B * layout.S;
  const bool torch = layout.call.layout == WeightLayout::kTorch;
  const WeightTerm<T> by_x{
      x.data,      0,           layout.D,          0,        G,
      dir.dkernel, &steps_of_x, dir.input_dropout, layout.D, torch ? layout.D : 0};
  const WeightTerm<T> by_h{h,
                           H,
                           H,
                           0,
                           G,
                           dir.drecurrent,
                           in_order ? nullptr : &states_before,
                           nullptr,
                           0,
                           torch ? H : 0};
  const auto gradients = [&](const T* g, const WeightTerm<T>* terms, int count, T* bias) {
    team_weight_gradients<T, G>(team, layout.call.use_bf16, MatrixRows<T>{g, layout.gate_stride}, R,
                                H, terms, count, bias, false, scratch);
  };
  if constexpr (kCell == Cell::kGru) {
    gradients(dir.saved_gates, &by_x, 1, dir.dbias);
    gradients(dir.saved_recurrent, &by_h, 1, dir.drecurrent_bias);
  } else if constexpr (kCell == Cell::kGruResetBefore) {
    const WeightTerm<T> terms[] = {by_x,
                                   {h, H, H, 0, 2, dir.drecurrent, by_h.order},
                                   {dir.saved_reset_h, H, H, 2, 1, dir.drecurrent}};
    gradients(dir.saved_gates, terms, 3, dir.dbias);
  } else {
    const WeightTerm<T> terms[] = {by_x, by_h};
    gradients(dir.saved_gates, terms, 2, dir.dbias);
  }
}

// dx of all rows, shared by the team. Padded steps get zeros; a thread that took whole sequences of
// one direction through the time loop has computed the others already.
template <class T, Cell kCell>
void input_gradients(const RecurrentCall<T>& call, const Team& team, T* scratch) {
  const PackedBatch& batch = call.direction[0].batch;
  const Range mine = split_range(call.batch, team);
  for (Index j = mine.begin; j < mine.end && !call.unpadded; ++j) {
    const Index b = batch.order[j];
    for (Index s = batch.lengths[b]; s < call.steps; ++s)
      std::memset(call.dx.data + b * call.dx.batch_stride + s * call.dx.step_stride, 0,
                  sizeof(T) * call.features);
  }
  if (call.directions == 1 && !call.shares_products) return;
  for (int d = 0; d < call.directions; ++d) {
    // The second direction adds to rows of dx that another thread may have written.
    if (d) wait(team);
    const BackwardLayout<T, kCell> layout(call, d, team);
    for_my_pieces(layout.batch, PanelLayout<T, 1>::vectors(layout.D), 1, team,
                  [&](Range steps, Range rows, Range vectors) {
                    input_gradient(layout, steps.begin, steps.end, rows.begin, rows.end, vectors,
                                   d > 0, scratch);
                  });
  }
}

template <class T, Cell kCell, class A>
void recurrent_backward(const RecurrentCall<T>& call, const A& act, const Team& team) {
  T* scratch = Layout<T, kCell>::thread_scratch(call, team) + Layout<T, kCell>::bf16_elements(call);
  for (int d = 0; d < call.directions; ++d)
    pack_backward(BackwardLayout<T, kCell>(call, d, team), team, call.dx.data);
  wait(team);
  const bool shares_units = call.loop.column_parts > 1;
  for (int d = 0; d < call.directions; ++d) {
    const BackwardLayout<T, kCell> layout(call, d, team);
    if (shares_units) {
      backward_grid(layout, act, team);
      continue;
    }
    const Team part = direction_team(team, d, call.directions);
    if (!part.size) continue;
    const Range mine = split_sequences(layout.batch, part, sequence_parts(call, part));
    for (Index j = mine.begin; j < mine.end; j += kMaxRows)
      backward_sequences(layout, act, team, j, std::min(j + kMaxRows, mine.end), scratch);
  }
  wait(team);
  if (call.dx.data) input_gradients<T, kCell>(call, team, scratch);
  for (int d = 0; d < call.directions; ++d) {
    if (!call.direction[d].dkernel) continue;
    const Team part = call.shares_products ? team : direction_team(team, d, call.directions);
    if (part.size)
      weight_gradients_of_direction(BackwardLayout<T, kCell>(call, d, team), part, scratch);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
