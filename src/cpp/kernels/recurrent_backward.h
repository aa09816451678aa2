// The backward pass over any cell, and the gradients of its inputs and weights.
#pragma once

#include "recurrent_layout.h"

namespace seqcore::SEQCORE_VARIANT {

// Scratch of one direction on the way back: the gradient of h that step s + 1 hands to step s, dc
// likewise, and products.
template <class T, Cell kCell>
struct BackScan : Scan<T, kCell> {
  using Base = Scan<T, kCell>;
  T *dh, *dc, *product;
  BackScan(const RecurrentCall<T>& c, int direction, const Team& team) : Base(c, direction, team) {
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
  T* to_recurrent(Index s, Index j) const {
    return Base::Maths::kSeparate ? this->recurrent_row(s, j) : this->gates_row(s, j);
  }
};

template <class T, Cell kCell>
void pack_backward(const Scan<T, kCell>& scan, const Team& team, bool need_dx) {
  using Plain = typename Scan<T, kCell>::Plain;
  constexpr int G = Scan<T, kCell>::G;
  constexpr Index kColumns = Plain::kPanel * kLanes<T>;
  const Index state_panels = Plain::panels(scan.H),
              input_panels = need_dx ? Plain::panels(scan.D) : 0;
  const Index stride = G * scan.H;
  const Range mine = share(state_panels + input_panels, team);
  for (Index p = mine.begin; p < mine.end; ++p) {
    if (p < state_panels) {
      as_operand(scan.call.mixed, scan.transposed_recurrent(), [&](auto* to) {
        pack_panel_transposed<G>(scan.dir.recurrent, stride, scan.H, scan.H, p,
                                 to + p * depth_in(to, scan.back_columns) * kColumns);
      });
    } else {
      as_operand(scan.call.mixed, scan.transposed_kernel(), [&](auto* to) {
        const Index q = p - state_panels;
        pack_panel_transposed<G>(scan.dir.kernel, stride, scan.D, scan.H, q,
                                 to + q * depth_in(to, scan.back_columns) * kColumns);
      });
    }
  }
}

// dh of sequences j0...j0+n-1 and units of panels [p0, p1) as it leaves their step `s`: what they
// carry plus (their gate gradients)·Uᵀ.
template <class T, Cell kCell>
void hand_back(const BackScan<T, kCell>& scan, Index s, Index j0, Index n, Index p0, Index p1) {
  using Plain = typename Scan<T, kCell>::Plain;
  const T* a[kMostRows];
  T* c[kMostRows];
  const T* scale = scan.dir.h_scale;
  const bool carries = Scan<T, kCell>::Maths::kCarries || scan.map.mask;
  for (Index i = 0; i < n; ++i) {
    a[i] = scan.to_recurrent(s, j0 + i);
    c[i] = scale ? scan.product_row(j0 + i) : scan.dh_row(j0 + i);
  }
  LeftRows<T>(a, n, scan.back_columns, scan.pairs)
      .with(
          scan.transposed_recurrent(), scan.back_columns, [&](auto rows, auto packed, Index depth) {
            multiply<T, Plain::kPanel>(rows, 1, int(n), packed, depth, Plain::vectors(scan.H), p0,
                                       p1, c, carries && !scale ? Start::kAccumulate : Start::kZero,
                                       nullptr, s & 1);
          });
  if (!scale) return;
  const Index u0 = p0 * Plain::kPanel * kLanes<T>,
              u1 = std::min<Index>(scan.H, p1 * Plain::kPanel * kLanes<T>);
  for (Index i = 0; i < n; ++i) {
    const T* row = scale + scan.map.order[j0 + i] * scan.H;
    T* dh = scan.dh_row(j0 + i);
    for (Index u = u0; u < u1; ++u) dh[u] = (carries ? dh[u] : T(0)) + row[u] * c[i][u];
  }
}

// dL/dh of one block of a row at step s, from the steps after it and from the output.
template <class P, class T, Cell kCell>
SEQCORE_INLINE P gradient_of_h(const BackScan<T, kCell>& scan, Index s, Index j, Index unit,
                               int count) {
  const auto& call = scan.call;
  P dh = load<P>(scan.dh_row(j) + unit);
  if (call.sequences && call.dy.data && !scan.shows_zero(s, j))
    dh = add(dh, load_first<P>(scan.dy_row(s, j) + unit, count));
  if (scan.dir.step_gradients)
    store_first(scan.dir.step_gradients + scan.row(s, j) * scan.H + unit, dh, count);
  return dh;
}

// Pointwise maths of step s for rows j0...j0+n-1 and units of plain panels [p0, p1): gates become
// gate gradients.
template <class T, Cell kCell, class A>
void backward_step(const BackScan<T, kCell>& scan, const A& act, Index s, Index j0, Index n,
                   Index p0, Index p1) {
  using Maths = typename Scan<T, kCell>::Maths;
  using Gates = typename Scan<T, kCell>::Gates;
  constexpr int G = Maths::kGates;
  constexpr Index kRatio = G == 1 ? 1 : 4;  // panels of gates per plain panel
  const Index g0 = p0 * kRatio, g1 = std::min<Index>(p1 * kRatio, Gates::panels(scan.H));
  constexpr Index kUnits = 4 * kLanes<T>, kPanelColumns = Index(Gates::kPanel) * kLanes<T>;
  const Index u0 = p0 * kUnits, u1 = std::min(p1 * kUnits, scan.H);
  const auto each = [&](Index j, auto body) {
    for_each_block<T, G>(scan.H, g0, g1, [&](auto tag, Index at, Index unit, int count) {
      Block<T> b{};
      b.gates = scan.gates_row(s, j) + at;
      if constexpr (Maths::kSeparate) b.recurrent = scan.recurrent_row(s, j) + at;
      b.h_before = scan.h_row(s - 1, j) + unit;
      b.h_used = scan.used_h(s, j) + unit;
      b.scale = scan.dir.h_scale ? scan.dir.h_scale + scan.map.order[j] * scan.H + unit : nullptr;
      b.h = scan.h_row(s, j) + unit;
      if constexpr (Maths::kHasC) {
        b.c_before = scan.c_row(s - 1, j) + unit;
        b.c = scan.c_row(s, j) + unit;
        b.dc = scan.dc_row(j) + unit;
      }
      b.dh = scan.dh_row(j) + unit;
      b.count = count;
      body(tag, b, unit, count);
    });
  };
  for (Index j = j0; j < j0 + n; ++j) {
    const bool masked = scan.masked(s, j);
    if (s > 0) {
      fetch_far(scan.gates_row(s - 1, j) + g0 * kPanelColumns, (g1 - g0) * kPanelColumns);
      if (scan.call.sequences && scan.call.dy.data) fetch(scan.dy_row(s - 1, j) + u0, u1 - u0);
    }
    each(j, [&](auto tag, const Block<T>& b, Index unit, int count) {
      using P = decltype(tag);
      const P dh = gradient_of_h<P>(scan, s, j, unit, count);
      if (masked) {
        for (int g = 0; g < G; ++g) {
          store(b.gates + g * kSize<P>, fill<P>(0));
          if constexpr (Maths::kSeparate) store(b.recurrent + g * kSize<P>, fill<P>(0));
        }
        store(b.dh, dh);
      } else {
        if (scan.map.mask && !Maths::kCarries) store(b.dh, fill<P>(0));
        if constexpr (kCell == Cell::kGruResetBefore) {
          Maths::template backward_candidate<P>(act, b, dh);
        } else {
          Maths::template backward<P>(act, b, dh);
        }
      }
    });
  }
  if constexpr (kCell == Cell::kGruResetBefore) {
    const T* a[kMostRows];
    T* c[kMostRows];
    for (Index i = 0; i < n; ++i) {
      a[i] = scan.recurrent_row(s, j0 + i);
      c[i] = scan.product_row(j0 + i);
    }
    using Plain = typename Scan<T, kCell>::Plain;
    LeftRows<T>(a, n, scan.back_columns, scan.pairs)
        .with(scan.transposed_recurrent(), scan.back_columns,
              [&](auto rows, auto packed, Index depth) {
                multiply<T, Plain::kPanel>(rows, 1, int(n), packed, depth, Plain::vectors(scan.H),
                                           p0, p1, c, Start::kZero);
              });
    for (Index j = j0; j < j0 + n; ++j) {
      if (scan.masked(s, j)) continue;
      each(j, [&](auto tag, const Block<T>& b, Index unit, int) {
        using P = decltype(tag);
        Maths::template backward<P>(act, b, load<P>(scan.product_row(j) + unit));
      });
    }
  }
}

// Gradients that reach rows j0...j1-1 from after their last step: of the final state, and of the
// last output.
template <class T, Cell kCell>
void begin_rows_back(const BackScan<T, kCell>& scan, Index j0, Index j1) {
  const auto& call = scan.call;
  const auto& dir = scan.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = scan.map.order[j], length = scan.map.lengths[b];
    T *dh = scan.dh_row(j), *dc = scan.dc_row(j);
    const bool seen =
        call.dy.data && !call.sequences && !(length && scan.shows_zero(length - 1, j));
    const T* dy = seen ? call.dy.data + b * call.dy.batch_stride + dir.y_column : nullptr;
    for (Index u = 0; u < scan.padded_units; ++u) {
      const bool real = u < scan.H;
      dh[u] =
          (real && dir.dh_last ? dir.dh_last[b * scan.H + u] : T(0)) + (real && dy ? dy[u] : T(0));
      dc[u] = real && dir.dc_last ? dir.dc_last[b * scan.H + u] : T(0);
    }
  }
}

template <class T, Cell kCell>
void end_rows_back(const BackScan<T, kCell>& scan, Index j0, Index j1) {
  const auto& dir = scan.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = scan.map.order[j];
    if (dir.dh0) std::memcpy(dir.dh0 + b * scan.H, scan.dh_row(j), sizeof(T) * scan.H);
    if (dir.dc0) std::memcpy(dir.dc0 + b * scan.H, scan.dc_row(j), sizeof(T) * scan.H);
  }
}

// dx of rows j0...j1-1 of steps [s0, s1): gate gradients · Wᵀ; `add` adds to what another direction
// has left there.
template <class T, Cell kCell>
void input_gradient(const BackScan<T, kCell>& scan, Index s0, Index s1, Index j0, Index j1,
                    bool add, T* scratch) {
  const auto& call = scan.call;
  const T *a[kMostRows], *scales[kMostRows];
  T *c[kMostRows], *product[kMostRows];
  // A product that is to be scaled and then added goes through rows of its own.
  const bool scaled = scan.dir.x_scale, apart = scaled && add;
  const int limit = apart ? kApartRows : kMostRows;
  int rows = 0;
  const auto flush = [&] {
    LeftRows<T>(a, rows, scan.back_columns, scan.pairs)
        .with(scan.transposed_kernel(), scan.back_columns,
              [&](auto left, auto packed, Index depth) {
                multiply_exact(left, rows, packed, depth, scan.D, product,
                               add && !apart ? Start::kAccumulate : Start::kZero);
              });
    for (int i = 0; i < rows && scaled; ++i)
      for (Index d = 0; d < scan.D; ++d)
        c[i][d] = (apart ? c[i][d] : T(0)) + product[i][d] * scales[i][d];
    rows = 0;
  };
  for (Index s = s0; s < s1; ++s) {
    const Index n = scan.active_in(s, j0, j1);
    for (Index j = j0; j < j0 + n; ++j) {
      const Index b = scan.map.order[j];
      a[rows] = scan.gates_row(s, j);
      c[rows] = call.dx.data + b * call.dx.batch_stride + scan.time(s, j) * call.dx.step_stride;
      product[rows] = apart ? scratch + rows * scan.D : c[rows];
      scales[rows] = scaled ? scan.dir.x_scale + b * scan.D : nullptr;
      if (++rows == limit) flush();
    }
  }
  if (rows) flush();
}

// Sequences j0...j1-1 back through all of time, by one thread, with their dx if there is no other
// direction to wait for.
template <class T, Cell kCell, class A>
void backward_rows(const BackScan<T, kCell>& scan, const A& act, const Team& team, Index j0,
                   Index j1, T* scratch) {
  const Index panels = BackScan<T, kCell>::Plain::panels(scan.H);
  const bool with_dx = scan.call.dx.data && scan.call.directions == 1 &&
                       scan.call.partition == Partition::kSequences;
  begin_rows_back(scan, j0, j1);
  Index waiting = 0, end = 0;  // steps [s, end) whose dx is still to be done, `waiting` rows
  for (Index s = scan.S - 1; s >= 0; --s) {
    const Index n = scan.active_in(s, j0, j1);
    if (!n) continue;
    if (!waiting) {
      if (stopped(team)) return;
      end = s + 1;
    }
    const Index later = s + 1 < scan.S ? scan.active_in(s + 1, j0, j1) : 0;
    if (later) hand_back(scan, s + 1, j0, later, 0, panels);
    backward_step(scan, act, s, j0, n, 0, panels);
    waiting += n;
    if (s == 0 || waiting + n > kMostRows) {
      if (with_dx) input_gradient(scan, s, end, j0, j1, false, scratch);
      waiting = 0;
    }
  }
  const Index first = scan.active_in(0, j0, j1);
  if (scan.dir.dh0 && first) hand_back(scan, 0, j0, first, 0, panels);
  end_rows_back(scan, j0, j1);
}

// All sequences, the units of each step shared by the team.
template <class T, Cell kCell, class A>
void backward_units(const BackScan<T, kCell>& scan, const A& act, const Team& team) {
  constexpr Index kUnits = 4 * kLanes<T>;
  const Range rows = share(scan.B, team), mine = share(scan.H, team, kUnits);
  const Index p0 = mine.begin / kUnits,
              p1 = mine.begin < mine.end ? (mine.end + kUnits - 1) / kUnits : p0;
  begin_rows_back(scan, rows.begin, rows.end);
  wait(team);
  for (Index s = scan.S - 1; s >= -1; --s) {
    if (!stopped(team)) {
      for (Index j = 0; j < scan.map.active[s < 0 ? 0 : s]; j += kMostRows) {
        const Index later = s + 1 < scan.S ? scan.active_in(s + 1, j, j + kMostRows) : 0;
        if (later && (s >= 0 || scan.dir.dh0)) hand_back(scan, s + 1, j, later, p0, p1);
        if (s >= 0) backward_step(scan, act, s, j, scan.active_in(s, j, j + kMostRows), p0, p1);
      }
    }
    if (!end_round(team, scan.S - 1 - s)) break;
  }
  end_rows_back(scan, rows.begin, rows.end);
}

// The gradients of one direction's weights, their columns shared by the team.
template <class T, Cell kCell>
void weights_gradient(const BackScan<T, kCell>& scan, const Team& team, T* scratch) {
  constexpr int G = Scan<T, kCell>::G;
  const auto& dir = scan.dir;
  const auto& x = scan.call.x;
  const Index R = scan.map.rows, H = scan.H;
  const ScanOrder steps_of_x{&dir.map, x.batch_stride, x.step_stride, dir.reverse},
      states_before{&dir.map, 0, 0, 0, H};
  const T* h = dir.saved_used_h ? dir.saved_used_h : dir.saved_h;
  // Without lengths the state before row r is row r of saved_h, which begins with the initial
  // states.
  const bool in_order = dir.saved_used_h || R == scan.B * scan.S;
  const Factor<T> by_x{x.data, 0, scan.D, 0, G, dir.dkernel, &steps_of_x, dir.x_scale, scan.D};
  const Factor<T> by_h{h, H, H, 0, G, dir.drecurrent, in_order ? nullptr : &states_before};
  const auto gradients = [&](const T* g, const Factor<T>* factors, int count, T* bias) {
    share_weight_gradients<T, G>(team, scan.call.mixed, PlainRows<T>{g, scan.gate_stride}, R, H,
                                 factors, count, bias, false, scratch);
  };
  if constexpr (kCell == Cell::kGru) {
    gradients(dir.saved_gates, &by_x, 1, dir.dbias);
    gradients(dir.saved_recurrent, &by_h, 1, dir.dbias ? dir.dbias + G * H : nullptr);
  } else if constexpr (kCell == Cell::kGruResetBefore) {
    const Factor<T> factors[] = {by_x,
                                 {h, H, H, 0, 2, dir.drecurrent, by_h.order},
                                 {dir.saved_reset_h, H, H, 2, 1, dir.drecurrent}};
    gradients(dir.saved_gates, factors, 3, dir.dbias);
  } else {
    const Factor<T> factors[] = {by_x, by_h};
    gradients(dir.saved_gates, factors, 2, dir.dbias);
  }
}

template <class T, Cell kCell, class A>
void recurrent_backward(const RecurrentCall<T>& call, const A& act, const Team& team) {
  T* scratch = Scan<T, kCell>::thread_scratch(call, team) + Scan<T, kCell>::pair_elements(call);
  for (int d = 0; d < call.directions; ++d)
    pack_backward(BackScan<T, kCell>(call, d, team), team, call.dx.data);
  wait(team);
  for (int d = 0; d < call.directions; ++d) {
    const BackScan<T, kCell> scan(call, d, team);
    if (call.partition == Partition::kUnits) {
      backward_units(scan, act, team);
      continue;
    }
    const Team part = team_of(team, d, call.directions);
    if (!part.size) continue;
    const Range mine = share_rows(scan.map, part);
    for (Index j = mine.begin; j < mine.end; j += kMostRows)
      backward_rows(scan, act, team, j, std::min(j + kMostRows, mine.end), scratch);
  }
  call.partition == Partition::kProducts ? rest(team) : wait(team);
  if (call.dx.data) {
    // Fewer sequences than threads: some steps of all of them for each.
    const RowMap& map = call.direction[0].map;
    const bool by_steps = call.batch < team.size;
    const Range rows = by_steps ? Range{0, call.batch} : share_rows(map, team);
    const Range steps = by_steps ? share(call.steps, team) : Range{0, call.steps};
    for (Index j = rows.begin; j < rows.end; ++j) {
      const Index b = map.order[j];
      for (Index s = std::max<Index>(map.lengths[b], steps.begin); s < steps.end; ++s)
        std::memset(call.dx.data + b * call.dx.batch_stride + s * call.dx.step_stride, 0,
                    sizeof(T) * call.features);
    }
    for (int d = 0;
         d < call.directions && (call.directions > 1 || call.partition != Partition::kSequences);
         ++d) {
      // The second direction adds to rows of dx that the first one may have left to another thread.
      if (d && by_steps) wait(team);
      input_gradient(BackScan<T, kCell>(call, d, team), steps.begin, steps.end, rows.begin,
                     rows.end, d > 0, scratch);
    }
  }
  for (int d = 0; d < call.directions; ++d) {
    if (!call.direction[d].dkernel) continue;
    const Team part =
        call.partition == Partition::kSequences ? team_of(team, d, call.directions) : team;
    if (part.size) weights_gradient(BackScan<T, kCell>(call, d, team), part, scratch);
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
