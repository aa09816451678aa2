// One thread's part of a parallel region: its view of the team, its part of the work, the barrier.
#pragma once

#include <cstddef>

namespace seqcore {

using Index = std::ptrdiff_t;

// One thread's view of the parallel region it works in.
struct Team {
  int rank, size;
  void* context;
  void (*wait)(void* context);  // barrier of the region
  // Asks whether the user pressed Ctrl-C: for the thread that called `run` only, or null.
  bool (*interrupted)(void* context);
  // Read and written by several threads, with __atomic builtins only.
  int* stop;          // set after Ctrl-C: finish early, the results will be thrown away
  Index* last_round;  // set by rank 0 before its barrier: all threads leave the loop after it
};

// Always inlined: what two instruction sets compile must leave no symbol that the linker could
// merge.
#define SEQCORE_INLINE inline __attribute__((always_inline))
#define SEQCORE_INLINE_LAMBDA __attribute__((always_inline))

SEQCORE_INLINE bool stop_wanted(const Team& team) {
  return __atomic_load_n(team.stop, __ATOMIC_RELAXED);
}

struct Range {
  Index begin, end;
};
// The part of 0...count-1 that thread `rank` of `size` works on, in multiples of `grain`.
SEQCORE_INLINE Range split_range(Index count, int rank, int size, Index grain = 1) {
  const Index blocks = (count + grain - 1) / grain;
  const Index begin = blocks * rank / size * grain, end = blocks * (rank + 1) / size * grain;
  return {begin < count ? begin : count, end < count ? end : count};
}
SEQCORE_INLINE Range split_range(Index count, const Team& team, Index grain = 1) {
  return split_range(count, team.rank, team.size, grain);
}

// The largest part of split_range without the last one, which is never smaller.
SEQCORE_INLINE Index largest_inner_part(Index count, int size) {
  return size == 1 ? 0 : count / size + (count % size > 1);
}

// How a team shares a table of work: parts of its rows times parts of its columns.
struct Grid {
  int row_parts, column_parts;
};
// A thread's place in a grid; without work where the grid has fewer parts than the team threads. A
// team that is smaller than planned shares the rows.
struct GridPlace {
  int row, column;
  Grid grid;
  bool works;
};
SEQCORE_INLINE GridPlace place_in(Grid grid, const Team& team) {
  if (grid.row_parts * grid.column_parts > team.size) grid = {team.size, 1};
  // Neighbours share the rows: they exchange their columns.
  return {team.rank / grid.column_parts, team.rank % grid.column_parts, grid,
          team.rank < grid.row_parts * grid.column_parts};
}

// More than the even share by this factor is not an even division: the share of all threads of a
// product, the share of those that have a part in a time loop.
constexpr double kEven = 1.15;

// The fewest parts of `count` that leave the largest as small as `parts` do.
SEQCORE_INLINE int even_parts(Index count, int parts) {
  if (count <= parts) return count > 1 ? int(count) : 1;
  const Index largest = (count + parts - 1) / parts;
  return int((count + largest - 1) / largest);
}

// The grid of rows and of columns, `vectors` of them in panels of `width`: of the even divisions
// among all threads, else of the others, the one of the least cost(rows, vectors) of the busiest
// thread. Rows only, unless another grid gains at least 4 %.
template <class Cost>
SEQCORE_INLINE Grid cheapest_grid(Index rows, Index vectors, Index width, int threads, Cost cost) {
  const Index panels = (vectors + width - 1) / width;
  Grid best{1, 1};
  bool best_is_even = false;
  double least = 0;
  for (int parts = 1; parts <= threads && (parts == 1 || parts <= panels); ++parts) {
    // Vectors of the part that has most: the last one, or another.
    const Index last = vectors - panels * (parts - 1) / parts * width,
                other = largest_inner_part(panels, parts) * width,
                share = last > other ? last : other;
    const int row_parts = even_parts(rows, threads / parts);
    const Index mine = (rows + row_parts - 1) / row_parts;
    const bool even =
        double(mine) * double(share) * threads <= kEven * double(rows) * double(vectors);
    const double time = (parts == 1 ? 0.96 : 1.0) * cost(mine, share);
    if (parts > 1 && (even == best_is_even ? time >= least : best_is_even)) continue;
    best = {row_parts, parts};
    best_is_even = even;
    least = time;
  }
  return best;
}

// The grid of the gradients of weights: columns of x times panels of g, for `vectors` vectors of g
// in panels of `width`. Copying a vector of x or g from the shared cache costs about as much as 20
// multiply-adds; a copy of x serves a few panels, one of g all of the columns.
SEQCORE_INLINE Grid gradient_grid(Index columns, Index vectors, Index width, int threads) {
  constexpr Index kFewPanels = 8, kCopy = 20, kPanelsPerCopy = 4, kLanesOfX = 16;
  const Index panels = (vectors + width - 1) / width;
  // So many panels for each thread divide evenly enough: 9 for 2 threads are 5 and 4.
  if (panels >= kFewPanels * threads || threads == 1) return {1, threads};
  return cheapest_grid(
      columns, vectors, width, threads, [&](Index mine, Index share) SEQCORE_INLINE_LAMBDA {
        const Index copies_of_x = (share + kPanelsPerCopy * width - 1) / (kPanelsPerCopy * width);
        return double(mine) * double(share) + double(kCopy) * double(share) +
               double(kCopy) * double(copies_of_x) * double(mine) / double(kLanesOfX);
      });
}

// The grid of a product of `rows` rows with a packed matrix of `vectors` vectors in panels of
// `width`. A line of the matrix, which mostly another thread has packed, and one of the rows cost
// about as much as 6 multiply-adds of a vector (1.0 to 2.6 ns against 0.3 on 16 cores of a Xeon).
SEQCORE_INLINE Grid product_grid(Index rows, Index vectors, Index width, int threads) {
  constexpr double kLine = 6, kLanesOfRow = 16;
  if (threads == 1) return {1, 1};
  return cheapest_grid(rows, vectors, width, threads,
                       [&](Index mine, Index share) SEQCORE_INLINE_LAMBDA {
                         return double(mine) * double(share) + kLine * double(share) +
                                kLine * double(mine) / kLanesOfRow;
                       });
}

// True if a long call should end early. Only rank 0 asks; the others read its answer.
SEQCORE_INLINE bool stopped(const Team& team) {
  if (stop_wanted(team)) return true;
  return team.rank == 0 && team.interrupted && team.interrupted(team.context);
}
SEQCORE_INLINE void wait(const Team& team) {
  if (team.size > 1) team.wait(team.context);
}

// The barrier that ends round n of a loop; false if the loop ends there for all threads. A value
// that rank 0 sets during the next round is n + 1, so a slow thread cannot leave a round early.
SEQCORE_INLINE bool end_round(const Team& team, Index n) {
  if (team.rank == 0 && stop_wanted(team) && __atomic_load_n(team.last_round, __ATOMIC_RELAXED) > n)
    __atomic_store_n(team.last_round, n, __ATOMIC_RELAXED);
  wait(team);
  return __atomic_load_n(team.last_round, __ATOMIC_RELAXED) > n;
}

}  // namespace seqcore
