// Work with the GIL released.
#pragma once

#include <functional>

#include "../parallel.h"

namespace seqcore {

// Calls work(team) on `threads` threads with the GIL released; raises KeyboardInterrupt (or what
// the signal handler raised) if the user asked for it.
void run_released(int threads, const std::function<void(const Team&)>& work);

// A scope in which only this thread uses the resource; it waits for that with the GIL released.
class ExclusiveScope {
 public:
  explicit ExclusiveScope(Exclusive& resource);
  ExclusiveScope(const ExclusiveScope&) = delete;
  ExclusiveScope& operator=(const ExclusiveScope&) = delete;
  ~ExclusiveScope() { resource_.leave(); }

 private:
  Exclusive& resource_;
};

}  // namespace seqcore
