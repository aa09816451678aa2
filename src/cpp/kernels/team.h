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
  // The same barrier where some threads had no work: idle waits do not count as contention.
  void (*wait_uncounted)(void* context);
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

// True if a long call should end early. Only rank 0 asks; the others read its answer.
SEQCORE_INLINE bool stopped(const Team& team) {
  if (stop_wanted(team)) return true;
  return team.rank == 0 && team.interrupted && team.interrupted(team.context);
}
SEQCORE_INLINE void wait(const Team& team) {
  if (team.size > 1) team.wait(team.context);
}
SEQCORE_INLINE void wait_uncounted(const Team& team) {
  if (team.size > 1) team.wait_uncounted(team.context);
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
