// Decisions about threads, each threshold with its reason. Figures: "What was tried" in
// docs/internals/measurements.md; 2 cores with AVX-512, about 200 GFLOP/s together.
#include "thread_plan.h"

#include "../parallel.h"
#include "cell_shapes.h"

namespace seqcore {
namespace {

// About 5 µs of one core, which is what waking the others costs.
constexpr double kWorthWaking = 1e6;

// About 1 ms, far below the time slice (milliseconds) after which a thread comes back whose
// processor is busy with something else: longer calls can bear to wait for it.
constexpr double kShorterThanTimeSlice = 2e8;

// One sequence leaves the others a part of the products with W only. An LSTM of 64 units over 80
// steps (6.7e6 operations) falls from 322 to 278 µs on two threads, a GRU (5.0e6) from 252 to 223;
// a SimpleRNN (1.7e6) takes 71 µs on one.
constexpr double kWorthSharingOneSequence = 4e6;

// Sharing the units takes one barrier per time step. An LSTM of 256 units has 0.5e6 operations per
// sequence in a step, 4 µs of one core; below that the barrier would cost about what it saves
// (estimated, not measured).
constexpr Index kUnitsWorthBarriers = 256;

// The second-level cache of one core, 1 to 2 MiB. Larger recurrent weights come from the shared
// cache or from memory at each time step, and threads that share the units read a part of them
// each.
constexpr double kL2Bytes = double(1 << 20);

// So many sequences per thread use each weight often enough to hide the time of reading it
// (estimated, not measured).
constexpr Index kSequencesHideReading = 32;

// A forward call without a backward pass keeps the gates of some time steps only; the products of
// all steps at once can be shared only where all of them are kept, which shall not cost much.
constexpr double kGatesBytesWithoutBackward = double(1 << 26);

bool is_small(double flops) { return flops < kWorthWaking; }

// A small call asks neither for the threads nor for the time.
ThreadBudget budget_for(double flops) {
  return is_small(flops) ? ThreadBudget{1, false} : ThreadBudget{thread_count(), oversubscribed()};
}

Partition partition_of(const RecurrentWork& work, int threads) {
  const double row_bytes = double(gates_of(work.cell) * work.units) * double(work.item_size);
  const double weights_bytes = row_bytes * double(work.units);
  const double gates_bytes = row_bytes * double(work.rows);
  const bool few_sequences = work.batch < 2 * threads && work.units >= kUnitsWorthBarriers;
  const bool weights_exceed_l2 =
      weights_bytes > kL2Bytes && work.batch < kSequencesHideReading * threads;
  const bool gates_fit = work.saves_gates || gates_bytes < kGatesBytesWithoutBackward;
  const bool threads_left_over = work.batch * work.directions < threads;
  // Reset-before has two products in a time step, so it would need two barriers.
  const bool one_barrier = work.cell != Cell::kGruResetBefore;
  if (threads > 1 && one_barrier && (few_sequences || weights_exceed_l2)) return Partition::kUnits;
  if (threads_left_over && gates_fit) return Partition::kProducts;
  return Partition::kSequences;
}

double flops_of(const RecurrentWork& work) {
  return 2.0 * double(work.rows) * double(work.features + work.units) *
         double(gates_of(work.cell) * work.units) * work.directions;
}

}  // namespace

int plan_threads(double flops, const ThreadBudget& budget) {
  if (is_small(flops) || (budget.oversubscribed && flops < kShorterThanTimeSlice)) return 1;
  return budget.available;
}

ThreadPlan plan_threads(const RecurrentWork& work, const ThreadBudget& budget) {
  const double flops = flops_of(work);
  const bool short_sequence = work.batch * work.directions == 1 && flops < kWorthSharingOneSequence;
  const int threads = short_sequence ? 1 : plan_threads(flops, budget);
  return {threads, partition_of(work, threads)};
}

int threads_for(double flops) { return plan_threads(flops, budget_for(flops)); }

ThreadPlan thread_plan_for(const RecurrentWork& work) {
  return plan_threads(work, budget_for(flops_of(work)));
}

}  // namespace seqcore
