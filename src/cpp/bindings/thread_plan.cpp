// Decisions about threads, each threshold with its reason. Figures: "What was tried" in
// docs/internals/measurements.md; 2 cores with AVX-512, about 200 GFLOP/s together, and 16 cores of
// a Xeon with AVX-512, about 100 GFLOP/s each.
#include "thread_plan.h"

#include <algorithm>
#include <cmath>

#include "../parallel.h"
#include "cell_shapes.h"

namespace seqcore {
namespace {

// About 5 µs of one core, which is what waking the others costs.
constexpr double kWorthWaking = 1e6;

// Each thread of a region costs about 0.25 µs (1.0, 2.0, 2.7 and 3.9 µs for an empty region of 2,
// 4, 8 and 16) and does about 1e5 operations in a microsecond: the sum of the waking and of a
// thread's part is least for sqrt(operations / 2.5e4) threads.
constexpr double kOperationsToWake = 2.5e4;

// About 1 ms, far below the time slice (milliseconds) after which a thread comes back whose
// processor is busy with something else: such calls stay on one thread.
constexpr double kShorterThanTimeSlice = 2e8;

// One sequence leaves the others a part of the products with W only. An LSTM of 64 units over 80
// steps (6.7e6 operations) falls from 322 to 278 µs on two threads, a GRU (5.0e6) from 252 to 223;
// a SimpleRNN (1.7e6) takes 71 µs on one.
constexpr double kWorthSharingOneSequence = 4e6;

// A forward call without a backward pass keeps the gates of some time steps only; the products of
// all steps at once can be shared only where all of them are kept, which shall not cost much.
constexpr double kGatesBytesWithoutBackward = double(1 << 26);

// Nanoseconds of a time step, fitted to 16 cores of a Xeon at 1 to 64 sequences of 64 to 1,500
// units in all grids. A multiply-add of a vector; a barrier, with the wait for the slowest thread;
// a cache line of the state that another thread has written.
constexpr double kMultiplyAdd = 0.3, kBarrier = 1500, kLine = 30, kLineBytes = 64;

// The time loop shares units only where the model of its time promises a seventh: it knows nothing
// of neighbours, and a barrier per step waits for the slowest thread.
constexpr double kWorthBarriers = 0.85;

// A line of weights, read at each step from a part of U that has so many bytes: from the
// second-level cache, half of which other programs may have, or from the shared one.
double line_of_weights(double bytes) { return bytes <= 256e3 ? 0.5 : bytes <= 1.25e6 ? 1.0 : 2.6; }

bool is_small(double flops) { return flops < kWorthWaking; }

// A small call asks neither for the threads nor for the time.
ThreadBudget budget_for(double flops) {
  return is_small(flops) ? ThreadBudget{1, 0} : ThreadBudget{thread_count(), busy_cpus()};
}

Index ceil_div(Index count, Index parts) { return (count + parts - 1) / parts; }

// Blocks of units, one vector for each gate, in the largest of `parts` parts.
double largest_blocks(const RecurrentWork& work, int parts) {
  const Index gates = gates_of(work.cell);
  const Index blocks = ceil_div(work.units, work.lanes),
              missing =
                  blocks * gates - gate_vectors(gates, work.units, work.lanes, work.item_size);
  const Range last = split_range(blocks, parts - 1, parts);
  return std::max(double(last.end - last.begin) - double(missing) / double(gates),
                  double(largest_inner_part(blocks, parts)));
}

// The time of a step of one direction, forward and, where gates are saved, backward.
double step_time(const RecurrentWork& work, Grid grid) {
  const double gates = double(gates_of(work.cell)), units = double(work.units),
               rows = double(ceil_div(work.batch, grid.row_parts)),
               blocks = largest_blocks(work, grid.column_parts);
  const double vectors = blocks * units * gates,
               lines = vectors * double(work.lanes * work.item_size) / kLineBytes;
  const double passes = work.saves_gates ? 2 : 1;
  double time =
      passes * (rows * vectors * kMultiplyAdd + lines * line_of_weights(lines * kLineBytes));
  if (grid.column_parts == 1) return time;
  // Forward each thread reads h of its rows, backward the gradients of their gates.
  const double states = work.saves_gates ? 1 + gates : 1,
               read = rows * units * double(work.item_size) / kLineBytes *
                      (1 - 1.0 / grid.column_parts);
  return time + passes * kBarrier + states * read * kLine;
}

bool is_even(const RecurrentWork& work, Grid grid) {
  const double busiest =
      double(ceil_div(work.batch, grid.row_parts)) * largest_blocks(work, grid.column_parts);
  return busiest * grid.row_parts * grid.column_parts <=
         kEven * double(work.batch) * largest_blocks(work, 1);
}

// The division of the time loop among the threads of a call.
Grid loop_grid(const RecurrentWork& work, int threads) {
  // Directions go at the same time where each thread takes whole sequences.
  const int of_direction = std::max(1, threads / work.directions);
  Grid best{even_parts(work.batch, of_direction), 1};
  // Reset-before has two products in a time step, so it would need two barriers.
  if (threads == 1 || work.cell == Cell::kGruResetBefore) return best;
  const double sequential = threads < work.directions ? work.directions : 1;
  double least = sequential * step_time(work, best) * (is_even(work, best) ? kWorthBarriers : 1) /
                 work.directions;
  const Index blocks = ceil_div(work.units, work.lanes);
  for (int parts = 2; parts <= threads && parts <= blocks; ++parts) {
    Grid grid{even_parts(work.batch, threads / parts), parts};
    while (grid.row_parts > 1 && !is_even(work, grid))
      grid.row_parts = even_parts(work.batch, grid.row_parts - 1);
    const double time = step_time(work, grid);
    if (time >= least || !is_even(work, grid)) continue;
    least = time;
    best = grid;
  }
  return best;
}

double flops_of(const RecurrentWork& work) {
  return 2.0 * double(work.rows) * double(work.features + work.units) *
         double(gates_of(work.cell) * work.units) * work.directions;
}

}  // namespace

Index gate_vectors(Index gates, Index units, Index lanes, Index item_size) {
  const Index rest = units % lanes, narrowest = std::max(lanes / 4, 16 / item_size);
  Index width = lanes;
  if (gates == 4 && rest)
    while (width / 2 >= std::max(rest, narrowest)) width /= 2;
  return (ceil_div(units, lanes) - 1) * gates + gates * width / lanes;
}

int plan_threads(double flops, const ThreadBudget& budget) {
  if (is_small(flops) || (budget.busy && flops < kShorterThanTimeSlice)) return 1;
  return std::min(std::max(1, budget.available - budget.busy),
                  int(std::min(std::sqrt(flops / kOperationsToWake), 1e6)));
}

ThreadPlan plan_threads(const RecurrentWork& work, const ThreadBudget& budget) {
  const double flops = flops_of(work);
  const bool short_sequence = work.batch * work.directions == 1 && flops < kWorthSharingOneSequence;
  const int threads = short_sequence ? 1 : plan_threads(flops, budget);
  ThreadPlan plan{threads, loop_grid(work, threads), false, Reason::kAll};
  const int in_loop =
      plan.loop.row_parts *
      (plan.loop.column_parts > 1 ? plan.loop.column_parts : std::min(work.directions, threads));
  const double gates_bytes =
      double(gates_of(work.cell) * work.units * work.item_size) * double(work.rows);
  const bool gates_fit = work.saves_gates || gates_bytes < kGatesBytesWithoutBackward;
  const bool uneven = !is_even(work, plan.loop);
  plan.shares_products = plan.loop.column_parts > 1 || ((in_loop < threads || uneven) && gates_fit);
  if (in_loop < budget.available)
    plan.reason =
        budget.busy && !short_sequence && threads < plan_threads(flops, {budget.available, 0})
            ? Reason::kBusy
        : threads < budget.available ? Reason::kLittleWork
        : work.batch * work.directions < threads && plan.loop.column_parts == 1
            ? Reason::kSequences
            : Reason::kEvenParts;
  else if (uneven)
    plan.reason = Reason::kUneven;
  return plan;
}

int threads_for(double flops) { return plan_threads(flops, budget_for(flops)); }

ThreadPlan thread_plan_for(const RecurrentWork& work) {
  return plan_threads(work, budget_for(flops_of(work)));
}

}  // namespace seqcore
