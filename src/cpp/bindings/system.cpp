// Version, instruction set, threads, peak rate.
#include <Eigen/Core>
#include <chrono>

#include "../contention.h"
#include "bindings.h"

#define SEQCORE_TEXT2(x) #x
#define SEQCORE_TEXT(x) SEQCORE_TEXT2(x)

namespace seqcore {
namespace {

std::string compiler() {
#if defined(__clang__)
  return "Clang " __clang_version__;
#elif defined(__GNUC__)
  return "GCC " __VERSION__;
#else
  return "unknown";
#endif
}

void set_num_threads(Index count) {
  if (count < 1 || count > kMaxThreads)
    fail("count", "a number of threads from 1 to " + std::to_string(kMaxThreads),
         std::to_string(count));
  if (count > 1 && !has_openmp())
    throw py::value_error("count: expected 1, as this build has no OpenMP, got " +
                          std::to_string(count));
  set_thread_count(int(count));
}

double peak_gflops(DType dtype, double seconds) {
  if (!(seconds > 0 && seconds <= 60))
    fail("seconds", "a number above 0 and up to 60", std::to_string(seconds));
  return with_dtype(dtype, [&](auto zero) {
    using Clock = std::chrono::steady_clock;
    double best = 0;
    run_released(1, [&](const Team& team) {
      const auto start = Clock::now();
      while (std::chrono::duration<double>(Clock::now() - start).count() < seconds &&
             !team.interrupted(team.context)) {
        const auto before = Clock::now();
        const double flops = kernels<decltype(zero)>().peak_flops(200000);
        best = std::max(best, flops / std::chrono::duration<double>(Clock::now() - before).count());
      }
    });
    return best / 1e9;
  });
}

py::dict info() {
  py::dict result;
  result["version"] = SEQCORE_TEXT(SEQCORE_VERSION);
  result["isa"] = table().name;
  py::list isas;
  for (const std::string& name : available_isas()) isas.append(name);
  result["isas"] = isas;
  result["bfloat16"] = bool(table().bfloat16);
  result["compiler"] = compiler();
  result["eigen"] = SEQCORE_TEXT(EIGEN_WORLD_VERSION) "." SEQCORE_TEXT(
      EIGEN_MAJOR_VERSION) "." SEQCORE_TEXT(EIGEN_MINOR_VERSION);
  result["openmp"] = has_openmp();
  result["threads"] = thread_count();
  return result;
}

py::dict memory() {
  const PoolState state = pool_state();
  py::dict result;
  result["held"] = state.held;
  result["made"] = state.made;
  return result;
}

// Replays regions on a new monitor, without a clock.
py::object replay_regions(const Array& regions) {
  const double* row = regions.read<double>({-1, 5});
  const Index R = regions.shape(0);
  const py::object result = new_array<int64_t>({R});
  int64_t* busy = data_of<int64_t>(result);
  const auto time = [](double seconds) {
    return std::chrono::duration_cast<ContentionMonitor::Time>(
        std::chrono::duration<double>(seconds));
  };
  for (const double* at = row; at < row + 5 * R; at += 5) {
    for (int i = 0; i < 5; ++i)
      if (!(at[i] >= 0 && at[i] <= 1e6))
        fail("regions", "numbers from 0 to a million", std::to_string(at[i]));
    if (at[1] < 1e-9) fail("regions", "a length from 1e-9 s", std::to_string(at[1]));
    if (at[2] > at[1]) fail("regions", "a lateness within the region", std::to_string(at[2]));
    if (at[3] > kMaxThreads)
      fail("regions", std::to_string(kMaxThreads) + " threads at most", std::to_string(at[3]));
  }
  ContentionMonitor monitor;
  for (Index r = 0; r < R; ++r, row += 5) {
    const auto end = time(row[0]), late = time(row[2]);
    busy[r] = monitor.busy(end);
    const bool measured = row[4] != 0;
    monitor.note(end, time(row[1]), measured ? int(row[3]) * monitor.counted(late) : late,
                 measured);
  }
  return result;
}

}  // namespace

void bind_system(py::module_& m) {
  m.attr("__version__") = SEQCORE_TEXT(SEQCORE_VERSION);
  define<&info>(m, "info()");
  define<&memory>(m, "memory()");
  define<&thread_count>(m, "get_num_threads()");
  define<&set_num_threads>(m, "set_num_threads(count)");
  define<&replay_regions>(m, "replay_regions(regions)");
  define<&peak_gflops>(m, "peak_gflops(dtype='float32', seconds=0.2)");
}

}  // namespace seqcore
