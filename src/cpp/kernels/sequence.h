// The time loop over any cell: both directions, lengths, masks, dropout, and how threads share the
// work.
//
// Storage. Row (s, j) is step s of the j-th longest sequence; rows of a step follow one another,
// and so do the steps, so a padded step has no row. saved_h and saved_c start with the B rows of
// the initial state: the state before row (s, j) lies B rows before it in a batch without lengths.
// Gates are stored in packed order and are overwritten by their gradients.
//
// Threads (`Partition`). Sequences: each thread takes some through all of time, without a barrier;
// on the way back one barrier comes before the weights' gradients, which are shared by columns.
// Products: with fewer sequences than threads some threads have no part in the time loop; all share
// the products before and after it, which need no order in time. Units: all threads work on the
// same step and share its units, with one barrier per step (few sequences of many units). Two
// directions go to two halves of the threads.
#pragma once

#include "cells/gru.h"
#include "cells/lstm.h"
#include "gemm.h"

namespace seqcore::SEQCORE_VARIANT {

template <class T, Cell kCell>
struct CellOf;
template <class T>
struct CellOf<T, Cell::kRnn> : RnnCell<T> {};
template <class T>
struct CellOf<T, Cell::kLstm> : LstmCell<T> {};
template <class T>
struct CellOf<T, Cell::kGru> : GruCell<T> {};
template <class T>
struct CellOf<T, Cell::kGruResetBefore> : GruResetBeforeCell<T> {};

constexpr int kApartRows = 16;  // rows of dx that go through scratch memory

// One direction of a call with the sizes and addresses that follow from it.
template <class T, Cell kCell>
struct Scan {
  using Maths = CellOf<T, kCell>;
  static constexpr int G = Maths::kGates;
  using Gates = Blocks<T, G>;
  using Plain = Blocks<T, 1>;
  static constexpr int W = kLanes<T>;

  const RecurrentCall<T>& call;
  const RecurrentDirection<T>& dir;
  const RowMap& map;
  Index B, S, D, H, gate_columns, padded_units;
  Index gate_stride, state_stride;  // from row to row of gates, and of c and what is carried back
  Index back_columns;  // columns of a row of gate gradients that multiply Uᵀ and Wᵀ
  T* local_gates;  // where gates of a chunk go if they are not kept
  Pair* pairs;  // with `mixed`: the rows of a product as pairs
  T* scaled_x;  // forward, with dropout of the inputs: rows of x times their mask

  Scan(const RecurrentCall<T>& c, int direction, const Team& team)
      : call(c), dir(c.direction[direction]), map(dir.map), B(c.batch), S(c.steps), D(c.features),
        H(c.units), gate_columns(Gates::columns(c.units)), padded_units(Plain::columns(c.units)),
        gate_stride(row_stride<T>(gate_columns)), state_stride(row_stride<T>(padded_units)),
        back_columns(G == 1 ? c.units : gate_columns),
        local_gates(dir.saved_gates ? dir.saved_gates + team.rank * Index(kMostRows) * gate_stride
                                    : nullptr),
        pairs(c.mixed && c.scratch_thread ? reinterpret_cast<Pair*>(thread_scratch(c, team))
                                          : nullptr),
        scaled_x(c.scratch_thread ? thread_scratch(c, team) + pair_elements(c) : nullptr) {}
  // Scratch of a thread: pairs, then whatever else. The largest left factor has the columns of
  // gates, inputs or units.
  static Index pair_elements(const RecurrentCall<T>& call) {
    if (!kMixed<T> || !call.mixed) return 0;
    return kMostRows *
           pair_stride(std::max({Gates::columns(call.units), call.features, call.units}));
  }
  static Index thread_elements(const RecurrentCall<T>& call) {
    const Index rows_of_x = (call.scales_x() ? kMostRows : kApartRows) * call.features;
    return pair_elements(call) +
           std::max(weight_scratch<T, G>(call.features + 2 * call.units), rows_of_x);
  }
  static T* thread_scratch(const RecurrentCall<T>& call, const Team& team) {
    return call.scratch_thread + team.rank * thread_elements(call);
  }

  // Packed weights: W, U, input bias, recurrent bias; on the way back Wᵀ, Uᵀ.
  T* packed_kernel() const { return dir.scratch_pack; }
  T* packed_recurrent() const { return dir.scratch_pack + D * gate_columns; }
  T* packed_bias() const { return packed_recurrent() + H * gate_columns; }
  T* packed_recurrent_bias() const { return packed_bias() + gate_columns; }
  T* transposed_recurrent() const { return dir.scratch_pack; }
  T* transposed_kernel() const { return dir.scratch_pack + back_columns * padded_units; }

  Index row(Index s, Index j) const { return map.offset[s] + j; }
  Index time(Index s, Index j) const { return dir.reverse ? map.lengths[map.order[j]] - 1 - s : s; }
  const T* x_row(Index s, Index j) const {
    return call.x.data + map.order[j] * call.x.batch_stride + time(s, j) * call.x.step_stride;
  }
  bool masked(Index s, Index j) const {
    return map.mask && !map.mask[map.order[j] * S + time(s, j)];
  }
  // Keras shows zeros until the first step that is not masked.
  bool silent(Index s, Index j) const { return map.mask && s < map.first_valid[map.order[j]]; }
  bool shows_zero(Index s, Index j) const {
    return silent(s, j) || (call.zero_masked && masked(s, j));
  }
  Index y_offset(Index batch_stride, Index step_stride, Index s, Index j) const {
    return map.order[j] * batch_stride + (call.scan_order ? s : time(s, j)) * step_stride +
           dir.y_column;
  }
  T* h_row(Index s, Index j) const { return dir.saved_h + state_row(map, s, j) * H; }
  T* c_row(Index s, Index j) const {
    return dir.saved_c + (call.keep ? state_row(map, s, j) : ((s + 1) & 1) * B + j) * state_stride;
  }
  const T* used_h(Index s, Index j) const {
    return dir.saved_used_h ? dir.saved_used_h + row(s, j) * H : h_row(s - 1, j);
  }
  T* recurrent_row(Index s, Index j) const {
    return dir.saved_recurrent + (call.keep ? row(s, j) : j) * gate_stride;
  }
  T* gates_row(Index s, Index j) const { return dir.saved_gates + row(s, j) * gate_stride; }
  Index active_in(Index s, Index j0, Index j1) const {
    const Index n = std::min<Index>(map.active[s], j1) - j0;
    return n > 0 ? n : 0;
  }
};

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

// Calls f(Vec type tag, offset of the block in its panel, first unit, units) for each block of
// units of panels [p0, p1).
template <class T, int G, class F>
SEQCORE_INLINE void for_each_block(Index units, Index p0, Index p1, F f) {
  using B = Blocks<T, G>;
  constexpr int W = kLanes<T>;
  constexpr int per_panel = G == 1 ? B::kPanel : 1;
  for (Index p = p0; p < p1; ++p) {
    for (int n = 0; n < per_panel; ++n) {
      const Index unit = (p * per_panel + n) * W;
      if (unit >= units) return;
      const int count = int(std::min<Index>(W, units - unit));
      const Index at = p * B::kPanel * W + n * W;
      const int width = count == W ? W : B::last_width(units);
      if (width == W) f(Wide<T>(), at, unit, count);
      if constexpr (G == 4 && W / 2 >= B::kNarrowest) {
        if (width == W / 2) f(Vec<T, W / 2>(), at, unit, count);
      }
      if constexpr (G == 4 && W / 4 >= B::kNarrowest) {
        if (width == W / 4) f(Vec<T, W / 4>(), at, unit, count);
      }
    }
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

// The sequences of this thread, so that each gets the same number of real steps. A single one is
// rank 0's, which looks out for interruptions.
inline Range share_rows(const RowMap& map, const Team& team) {
  const auto edge = [&](int part) {
    const Index wanted = map.rows * part / team.size;
    Index j = 0, steps = 0;
    for (; j < map.batch && steps + map.lengths[map.order[j]] / 2 <= wanted; ++j)
      steps += map.lengths[map.order[j]];
    return part == team.size ? map.batch : j;
  };
  return {team.rank ? edge(team.rank) : 0, edge(team.rank + 1)};
}

// The team that works on direction d, as this thread sees it; size 0 where it has no part in it.
inline Team team_of(const Team& team, int d, int directions) {
  Team part = team;
  if (directions == 1 || team.size == 1) return part;
  const int first = team.size / 2;
  const int mine = team.rank < first ? 0 : 1;
  part.rank = mine ? team.rank - first : team.rank;
  part.size = mine == d ? (d ? team.size - first : first) : 0;
  // The first rank of each half is not the thread that may ask for interruptions.
  if (team.rank) part.interrupted = nullptr;
  return part;
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

// ---- The way back
// -------------------------------------------------------------------------------------------------------

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

template <class T, Cell kCell>
void recurrent_sizes(const RecurrentCall<T>& call, RecurrentSizes& sizes) {
  using Gates = Blocks<T, CellOf<T, kCell>::kGates>;
  const Index H = call.units, D = call.features;
  const Index gate_columns = Gates::columns(H), padded_units = Blocks<T, 1>::columns(H);
  sizes.gate_stride = row_stride<T>(gate_columns);
  sizes.state_stride = row_stride<T>(padded_units);
  sizes.forward_pack = (D + H + 2) * gate_columns;
  sizes.backward_pack = gate_columns * (padded_units + Blocks<T, 1>::columns(D));
  sizes.thread_scratch = Scan<T, kCell>::thread_elements(call);
  sizes.chunk_rows = kMostRows;
}

// Calls f<cell>(activations) for the cell and activations of a call; the usual pair is compiled in.
template <class T, class F>
void with_cell(const RecurrentCall<T>& call, F f) {
  const auto with_activations = [&](auto cell) {
    if (call.activation == Activation::kTanh &&
        (call.recurrent_activation == Activation::kSigmoid || call.cell == Cell::kRnn))
      f(cell, StandardGates());
    else
      f(cell, ChosenGates{{call.activation}, {call.recurrent_activation}});
  };
  switch (call.cell) {
    case Cell::kRnn: return with_activations(std::integral_constant<Cell, Cell::kRnn>());
    case Cell::kLstm: return with_activations(std::integral_constant<Cell, Cell::kLstm>());
    case Cell::kGru: return with_activations(std::integral_constant<Cell, Cell::kGru>());
    case Cell::kGruResetBefore:
      return with_activations(std::integral_constant<Cell, Cell::kGruResetBefore>());
  }
}

}  // namespace seqcore::SEQCORE_VARIANT
