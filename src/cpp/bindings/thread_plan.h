// Threads of a call, and their way of sharing a recurrent layer: pure functions of the sizes, which
// a test can ask without a clock. No plan changes a bit of a result.
#pragma once

#include "../kernels/api.h"

namespace seqcore {

constexpr int kMaxThreads = 1024;

// The process's threads, and the number of processors that other programs lately had.
struct ThreadBudget {
  int available;
  int busy;
};

// Threads worth waking for `flops` operations.
int plan_threads(double flops, const ThreadBudget& budget);

// Sizes of a call of a recurrent layer.
struct RecurrentWork {
  Cell cell;
  int directions;
  Index batch, rows;  // rows: time steps of all sequences together, padded ones left out
  Index features, units;
  Index item_size;  // bytes of a number
  bool saves_gates;  // of all time steps, for a backward pass
  int lanes;  // elements of a vector register, the units of a block
};

// Why the time loop has this many threads.
enum class Reason : int {
  kAll,  // all threads have a part
  kLittleWork,  // waking more would cost more than they save
  kBusy,  // other programs have the processors
  kSequences,  // sequences for no more threads, and too little work in a step to share its units
  kEvenParts,  // more threads would not leave the busiest one with less
  kUneven,  // all have a part, but barriers would cost more than even parts save
};

struct ThreadPlan {
  int threads;
  Grid loop;  // the time loop of a direction: parts of the sequences times parts of the units
  // All threads share the products before and after the time loop, of all time steps at once. Else
  // each thread computes those of its sequences.
  bool shares_products;
  Reason reason;

  int barriers_per_step() const { return loop.column_parts > 1; }
};

ThreadPlan plan_threads(const RecurrentWork& work, const ThreadBudget& budget);

// plan_threads with the threads that this process has now.
int threads_for(double flops);
ThreadPlan thread_plan_for(const RecurrentWork& work);

// The operations that count for work which moves memory: a core does about 100 in a nanosecond.
constexpr double kFlopsPerNs = 100;

// Vectors of the gates of some units, PanelLayout::vectors without its instruction set: the last
// block of an LSTM is narrower where it can be.
Index gate_vectors(Index gates, Index units, Index lanes, Index item_size);

}  // namespace seqcore
