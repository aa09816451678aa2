// Threads of a call, and their way of sharing a recurrent layer: pure functions of the sizes, which
// a test can ask without a clock. No plan changes a bit of a result.
#pragma once

#include "../kernels/api.h"

namespace seqcore {

constexpr int kMaxThreads = 1024;

// The process's threads, and whether other programs lately had their processors.
struct ThreadBudget {
  int available;
  bool oversubscribed;
};

// Threads worth waking for `flops` operations: all of them, or 1.
int plan_threads(double flops, const ThreadBudget& budget);

// Sizes of a call of a recurrent layer.
struct RecurrentWork {
  Cell cell;
  int directions;
  Index batch, rows;  // rows: time steps of all sequences together, padded ones left out
  Index features, units;
  Index item_size;  // bytes of a number
  bool saves_gates;  // of all time steps, for a backward pass
};

struct ThreadPlan {
  int threads;
  Partition partition;
};

ThreadPlan plan_threads(const RecurrentWork& work, const ThreadBudget& budget);

// plan_threads with the threads that this process has now.
int threads_for(double flops);
ThreadPlan thread_plan_for(const RecurrentWork& work);

}  // namespace seqcore
