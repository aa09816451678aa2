// Threads: how many, and running a function on each of them.
#pragma once

#include <functional>
#include <thread>

#include "kernels/api.h"

namespace seqcore {

// What set_num_threads, SEQCORE_NUM_THREADS, OMP_NUM_THREADS, threadpoolctl, the CPU set and the
// container's quota leave.
int thread_count();
void set_thread_count(int count);
bool has_openmp();
// Whether short work had better stay on one thread for now: the others were lately waited for,
// since something else had their CPUs. Nobody's results depend on it.
bool oversubscribed();

// Asked about every 50 ms by the thread that called `run`: true ends the work early.
using Poll = bool (*)();
void set_poll(Poll poll);

// Calls work(team) on `threads` threads (at most; on one in a forked child). Denormal numbers are
// flushed inside; the caller's floating-point state comes back. Returns false if the work was
// interrupted: its results are to be thrown away.
bool run(int threads, const std::function<void(const Team&)>& work);

// Lets one thread at a time use something. A thread that waits holds no lock meanwhile; in a forked
// child the thing is free, whoever used it in the parent.
class Exclusive {
 public:
  bool try_enter();
  // Waits for its turn; false if the poll ended the waiting.
  bool enter();
  void leave();
  bool is_mine() const;  // whether the calling thread uses it

 private:
  unsigned process_ = 0;  // whose thread uses it: one more in each forked child; 0: none
  std::thread::id owner_;
};

// Registers what must be made new in a forked child.
void at_fork_in_child(void (*handler)());

}  // namespace seqcore
