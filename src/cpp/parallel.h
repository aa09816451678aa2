// Threads: how many, and running a function on each of them.
#pragma once

#include <functional>
#include <thread>

#include "kernels/api.h"

namespace seqcore {

// The number of threads of a region: the smallest of the limits set by set_num_threads or
// SEQCORE_NUM_THREADS, OMP_NUM_THREADS, threadpoolctl, the CPU set and the quota of the container.
int thread_count();
void set_thread_count(int count);
bool has_openmp();
// CPUs that are busy with something else: recent regions waited for threads that had none. No
// result depends on it.
int busy_cpus();

// Called about every 50 ms by the thread that called `run`: true ends the work early.
using Poll = bool (*)();
void set_poll(Poll poll);

// Calls work(team) on at most `threads` threads, on one in a forked child. Denormal numbers are
// flushed inside; the floating-point state of the caller is restored. Returns false if the work was
// interrupted; its results must then be thrown away.
bool run(int threads, const std::function<void(const Team&)>& work);

// Exclusive use of a resource by one thread at a time. A waiting thread holds no lock; in a forked
// child the resource is free, regardless of its owner in the parent.
class Exclusive {
 public:
  bool try_enter();
  // Waits; false if the poll ended the wait.
  bool enter();
  void leave();
  bool is_mine() const;  // true if the calling thread uses it

 private:
  unsigned process_ = 0;  // process_generation of the thread that uses it; 0: none
  std::thread::id owner_;
};

// Registers a handler that resets state in a forked child.
void at_fork_in_child(void (*handler)());

}  // namespace seqcore
