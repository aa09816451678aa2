// The forward pass over any cell: both directions, lengths, masks, dropout, and the three ways to
// share the work.
#pragma once

#include "recurrent_layout.h"

namespace seqcore::SEQCORE_VARIANT {

// Packs what `team` needs of one direction; a barrier must follow.
template <class T, Cell kCell>
void pack_forward(const Scan<T, kCell>& scan, const Team& team) {
  using Gates = typename Scan<T, kCell>::Gates;
  constexpr int G = Scan<T, kCell>::G;
  constexpr Index kColumns = Gates::kPanel * kLanes<T>;
  const auto& dir = scan.dir;
  const Index panels = Gates::panels(scan.H), stride = G * scan.H;
  const Range mine = share(panels, team);
  as_operand(scan.call.mixed, scan.packed_kernel(), [&](auto* to) {
    pack_panels<G>(dir.kernel, stride, scan.D, scan.H, mine.begin, mine.end, to);
  });
  as_operand(scan.call.mixed, scan.packed_recurrent(), [&](auto* to) {
    pack_panels<G>(dir.recurrent, stride, scan.H, scan.H, mine.begin, mine.end, to);
  });
  T* bias = scan.packed_bias();
  if (dir.bias) {
    pack_panels<G>(dir.bias, stride, 1, scan.H, mine.begin, mine.end, bias);
    if (kCell == Cell::kGru)
      pack_panels<G>(dir.bias + stride, stride, 1, scan.H, mine.begin, mine.end,
                     bias + scan.gate_columns);
  } else {
    for (Index n = mine.begin * kColumns; n < std::min(mine.end * kColumns, scan.gate_columns); ++n)
      bias[n] = bias[scan.gate_columns + n] = 0;
  }
}

// x_t·W + b for rows j0...j0+n-1 of steps [s0, s1), into gates(s, j).
template <class T, Cell kCell, class GatesOf>
void input_product(const Scan<T, kCell>& scan, Index s0, Index s1, Index j0, Index j1,
                   GatesOf gates) {
  using Gates = typename Scan<T, kCell>::Gates;
  const T* a[kMostRows];
  T* c[kMostRows];
  int rows = 0;
  const auto& dir = scan.dir;
  for (Index s = s0; s < s1; ++s) {
    const Index n = scan.active_in(s, j0, j1);
    for (Index j = j0; j < j0 + n; ++j, ++rows) {
      a[rows] = scan.x_row(s, j);
      if (dir.x_scale) {
        const T* scale = dir.x_scale + scan.map.order[j] * scan.D;
        T* to = scan.scaled_x + rows * scan.D;
        for (Index d = 0; d < scan.D; ++d) to[d] = a[rows][d] * scale[d];
        a[rows] = to;
      }
      c[rows] = gates(s, j);
    }
  }
  LeftRows<T>(a, rows, scan.D, scan.pairs)
      .with(scan.packed_kernel(), scan.D, [&](auto left, auto packed, Index depth) {
        multiply<T, Gates::kPanel>(left, 1, rows, packed, depth, Gates::vectors(scan.H), 0,
                                   Gates::panels(scan.H), c, Start::kBias, scan.packed_bias());
      });
}

// What one row shows after a step, and what the next step sees of it.
template <class P, class T, Cell kCell>
SEQCORE_INLINE void emit(const Scan<T, kCell>& scan, Index s, Index j, Index unit, int count, P h) {
  const auto& call = scan.call;
  const auto& dir = scan.dir;
  if (scan.masked(s, j)) {
    h = load_first<P>(scan.h_row(s - 1, j) + unit, count);
    if constexpr (Scan<T, kCell>::Maths::kHasC)
      store(scan.c_row(s, j) + unit, load<P>(scan.c_row(s - 1, j) + unit));
  }
  store_first(scan.h_row(s, j) + unit, h, count);
  if (dir.saved_used_h && s + 1 < scan.S && j < scan.map.active[s + 1]) {
    const T* scale = dir.h_scale ? dir.h_scale + scan.map.order[j] * scan.H + unit : nullptr;
    store_first(dir.saved_used_h + scan.row(s + 1, j) * scan.H + unit,
                scale ? mul(h, load_first<P>(scale, count)) : h, count);
  }
  if (call.sequences && !call.y_is_h) {
    T* y = call.y.data + scan.y_offset(call.y.batch_stride, call.y.step_stride, s, j) + unit;
    store_first(y, scan.shows_zero(s, j) ? fill<P>(0) : h, count);
  }
}

// One step for rows j0...j0+n-1 (n <= kMostRows) and the units of panels [p0, p1).
template <class T, Cell kCell, class A, class GatesOf>
void forward_step(const Scan<T, kCell>& scan, const A& act, Index s, Index j0, Index n, Index p0,
                  Index p1, GatesOf gates) {
  using Gates = typename Scan<T, kCell>::Gates;
  using Maths = typename Scan<T, kCell>::Maths;
  constexpr int G = Maths::kGates, PV = Gates::kPanel;
  const Index vectors = Gates::vectors(scan.H);
  const T* a[kMostRows];
  T *c[kMostRows], *g[kMostRows];
  for (Index i = 0; i < n; ++i) {
    a[i] = scan.used_h(s, j0 + i);
    g[i] = gates(s, j0 + i);
    c[i] = kCell == Cell::kGru ? scan.recurrent_row(s, j0 + i) : g[i];
  }
  const auto block = [&](Index i, Index at, Index unit, int count) {
    const Index j = j0 + i;
    Block<T> b{};
    b.gates = g[i] + at;
    if constexpr (kCell == Cell::kGru) b.recurrent = c[i] + at;
    b.h_before = scan.h_row(s - 1, j) + unit;
    b.h_used = a[i] + unit;
    if constexpr (Maths::kHasC) {
      b.c_before = scan.c_row(s - 1, j) + unit;
      b.c = scan.c_row(s, j) + unit;
    }
    b.count = count;
    return b;
  };
  const auto finish = [&](Index first, Index last) {
    for (Index i = 0; i < n; ++i)
      for_each_block<T, G>(scan.H, first, last, [&](auto tag, Index at, Index unit, int count) {
        using P = decltype(tag);
        emit(scan, s, j0 + i, unit, count,
             Maths::template forward<P>(act, block(i, at, unit, count)));
      });
  };
  const LeftRows<T> left(a, n, scan.H, scan.pairs);
  if constexpr (kCell == Cell::kGruResetBefore) {
    // Two products: the gates z and r are the first two vectors of each panel, the candidate the
    // third.
    constexpr Index kColumns = PV * kLanes<T>;
    T* reset[kMostRows];
    for (Index i = 0; i < n; ++i)
      reset[i] = scan.dir.saved_reset_h + (scan.call.keep ? scan.row(s, j0 + i) : j0 + i) * scan.H;
    T* at[kMostRows];
    for (Index p = p0; p < p1; ++p) {
      for (Index i = 0; i < n; ++i) at[i] = g[i] + p * kColumns;
      left.with(scan.packed_recurrent(), scan.H, [&](auto rows, auto packed, Index depth) {
        multiply_panels<T, 2, 1>(rows, 1, int(n), packed + p * depth * kColumns, kColumns, 0, depth,
                                 at, Start::kAccumulate, nullptr, nullptr);
      });
      for (Index i = 0; i < n; ++i)
        for_each_block<T, G>(scan.H, p, p + 1, [&](auto tag, Index offset, Index unit, int count) {
          using P = decltype(tag);
          store_first(reset[i] + unit,
                      Maths::template forward_reset<P>(act, block(i, offset, unit, count)), count);
        });
    }
    const LeftRows<T> after(reset, n, scan.H, scan.pairs);
    for (Index p = p0; p < p1; ++p) {
      for (Index i = 0; i < n; ++i) at[i] = g[i] + p * kColumns + 2 * kLanes<T>;
      after.with(scan.packed_recurrent(), scan.H, [&](auto rows, auto packed, Index depth) {
        multiply_panels<T, 1, 1>(rows, 1, int(n), packed + p * depth * kColumns + 2 * kLanes<T>,
                                 kColumns, 0, depth, at, Start::kAccumulate, nullptr, nullptr);
      });
      finish(p, p + 1);
    }
  } else {
    const int group = panels_at_once<PV>(int(n));
    const Start start = kCell == Cell::kGru ? Start::kBias : Start::kAccumulate;
    // Every other step takes the panels from the last to the first: what the caches still hold of U
    // comes first.
    const bool down = s & 1;
    for (Index done = 0; done < p1 - p0; done += group) {
      const Index some = std::min<Index>(group, p1 - p0 - done),
                  p = down ? p1 - done - some : p0 + done;
      left.with(scan.packed_recurrent(), scan.H, [&](auto rows, auto packed, Index depth) {
        multiply<T, PV>(rows, 1, int(n), packed, depth, vectors, p, p + some, c, start,
                        scan.packed_recurrent_bias(), down);
      });
      finish(p, p + some);
    }
  }
}

// Initial states of rows j0...j1-1.
template <class T, Cell kCell>
void begin_rows(const Scan<T, kCell>& scan, Index j0, Index j1) {
  const auto& dir = scan.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = scan.map.order[j];
    T* h = scan.h_row(-1, j);
    for (Index u = 0; u < scan.H; ++u) h[u] = dir.h0 ? dir.h0[b * scan.H + u] : T(0);
    if (dir.saved_used_h && j < scan.map.active[0]) {
      T* used = dir.saved_used_h + j * scan.H;
      for (Index u = 0; u < scan.H; ++u)
        used[u] = dir.h_scale ? h[u] * dir.h_scale[b * scan.H + u] : h[u];
    }
    if constexpr (Scan<T, kCell>::Maths::kHasC) {
      T* c = scan.c_row(-1, j);
      for (Index u = 0; u < scan.padded_units; ++u)
        c[u] = dir.c0 && u < scan.H ? dir.c0[b * scan.H + u] : T(0);
    }
  }
}

// Final states, outputs past a length, and the last output, of rows j0...j1-1.
template <class T, Cell kCell>
void end_rows(const Scan<T, kCell>& scan, Index j0, Index j1) {
  const auto& call = scan.call;
  const auto& dir = scan.dir;
  for (Index j = j0; j < j1; ++j) {
    const Index b = scan.map.order[j], length = scan.map.lengths[b], H = scan.H;
    const T* h = scan.h_row(length - 1, j);
    if (dir.h_last) {
      std::memcpy(dir.h_last + b * H, h, sizeof(T) * H);
      if constexpr (Scan<T, kCell>::Maths::kHasC)
        std::memcpy(dir.c_last + b * H, scan.c_row(length - 1, j), sizeof(T) * H);
    }
    T* y = call.y.data + b * call.y.batch_stride + dir.y_column;
    if (call.sequences) {
      for (Index s = length; s < scan.S; ++s)
        std::memset(y + s * call.y.step_stride, 0, sizeof(T) * H);
    } else if (length && scan.shows_zero(length - 1, j)) {
      std::memset(y, 0, sizeof(T) * H);
    } else {
      std::memcpy(y, h, sizeof(T) * H);
    }
  }
}

// Sequences j0...j1-1 through all of time, by one thread.
template <class T, Cell kCell, class A>
void forward_rows(const Scan<T, kCell>& scan, const A& act, const Team& team, Index j0, Index j1) {
  using Gates = typename Scan<T, kCell>::Gates;
  const Index panels = Gates::panels(scan.H);
  begin_rows(scan, j0, j1);
  for (Index s0 = 0, s1; s0 < scan.S; s0 = s1) {
    s1 = std::min(scan.S, s0 + std::max<Index>(1, kMostRows / (j1 - j0)));
    if (!scan.active_in(s0, j0, j1) || stopped(team)) break;
    const auto gates = [&](Index s, Index j) {
      if (scan.call.keep) return scan.gates_row(s, j);
      return scan.local_gates + ((s - s0) * (j1 - j0) + j - j0) * scan.gate_stride;
    };
    if (scan.call.partition == Partition::kSequences) input_product(scan, s0, s1, j0, j1, gates);
    for (Index s = s0; s < s1; ++s) {
      const Index n = scan.active_in(s, j0, j1);
      if (n) forward_step(scan, act, s, j0, n, 0, panels, gates);
    }
  }
  end_rows(scan, j0, j1);
}

// The input products of all rows, shared by steps; a barrier must follow.
template <class T, Cell kCell>
void input_products(const Scan<T, kCell>& scan, const Team& team) {
  const Range steps = share(scan.S, team);
  const Index some = std::max<Index>(1, kMostRows / scan.B);  // steps of one product
  for (Index s = steps.begin; s < steps.end && !stopped(team); s += some)
    for (Index j = 0; j < scan.map.active[s]; j += kMostRows)
      input_product(scan, s, std::min(s + some, steps.end), j, std::min(j + kMostRows, scan.B),
                    [&](Index step, Index row) { return scan.gates_row(step, row); });
}

// All sequences, the units of each step shared by the team.
template <class T, Cell kCell, class A>
void forward_units(const Scan<T, kCell>& scan, const A& act, const Team& team) {
  constexpr Index kUnits = 4 * kLanes<T>, kPerPanel = Scan<T, kCell>::G == 1 ? kUnits : kLanes<T>;
  const auto gates = [&](Index s, Index j) { return scan.gates_row(s, j); };
  const Range rows = share(scan.B, team);
  begin_rows(scan, rows.begin, rows.end);
  input_products(scan, team);
  wait(team);
  const Range mine = share(scan.H, team, kUnits);
  const Index p0 = mine.begin / kPerPanel,
              p1 = mine.begin < mine.end ? (mine.end + kPerPanel - 1) / kPerPanel : p0;
  for (Index s = 0; s < scan.S; ++s) {
    if (!stopped(team)) {
      for (Index j = 0; j < scan.map.active[s]; j += kMostRows)
        forward_step(scan, act, s, j, scan.active_in(s, j, j + kMostRows), p0, p1, gates);
    }
    if (!end_round(team, s)) break;
  }
  end_rows(scan, rows.begin, rows.end);
}

template <class T, Cell kCell, class A>
void recurrent_forward(const RecurrentCall<T>& call, const A& act, const Team& team) {
  if (!call.packed) {
    for (int d = 0; d < call.directions; ++d) pack_forward(Scan<T, kCell>(call, d, team), team);
    wait(team);
  }
  if (call.partition == Partition::kProducts) {
    for (int d = 0; d < call.directions; ++d) input_products(Scan<T, kCell>(call, d, team), team);
    wait(team);
  }
  for (int d = 0; d < call.directions; ++d) {
    const Scan<T, kCell> scan(call, d, team);
    if (call.partition == Partition::kUnits) {
      forward_units(scan, act, team);
      continue;
    }
    const Team part = team_of(team, d, call.directions);
    if (!part.size) continue;
    const Range mine = share_rows(scan.map, part);
    for (Index j = mine.begin; j < mine.end; j += kMostRows)
      forward_rows(scan, act, team, j, std::min(j + kMostRows, mine.end));
  }
  if (call.partition == Partition::kProducts) rest(team);
}

}  // namespace seqcore::SEQCORE_VARIANT
