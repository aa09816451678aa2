// Work with the GIL released.
#include "gil.h"

#include "arrays.h"

namespace seqcore {

void run_released(int threads, const std::function<void(const Team&)>& work) {
  bool finished;
  {
    const py::gil_scoped_release release;
    finished = run(threads, work);
  }
  if (!finished) throw py::error_already_set();
}

ExclusiveScope::ExclusiveScope(Exclusive& resource) : resource_(resource) {
  if (resource.is_mine()) fail("saved", "no call from within its own backward pass", "one");
  if (resource.try_enter()) return;
  bool entered;
  {
    const py::gil_scoped_release release;
    entered = resource.enter();
  }
  if (!entered) throw py::error_already_set();
}

}  // namespace seqcore
