// Threads on OpenMP: limits, fork safety, a barrier that spins and then yields.
#include "parallel.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <time.h>
#endif
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "contention.h"

namespace seqcore {
namespace {

std::atomic<int> requested_threads{0};  // by set_num_threads; 0: none
std::atomic<bool> in_forked_child{false};
Poll poll_hook = nullptr;
std::vector<void (*)()>& child_handlers() {
  static std::vector<void (*)()> handlers;
  return handlers;
}

int openmp_limit() {
#ifdef _OPENMP
  return omp_get_max_threads();
#else
  return 1;
#endif
}

// CPUs that the container may use, 0 if it has no quota.
int quota() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string limit;
  double period = 0;
  if (v2 >> limit >> period && limit != "max" && period > 0)
    return std::max(1, int(std::stod(limit) / period + 0.5));
  std::ifstream v1("/sys/fs/cgroup/cpu/cpu.cfs_quota_us"),
      v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double used = 0;
  if (v1 >> used && v1_period >> period && used > 0 && period > 0)
    return std::max(1, int(used / period + 0.5));
  return 0;
}

struct Defaults {
  int openmp, count;
  Defaults() : openmp(openmp_limit()), count(openmp) {
    if (const int cpus = quota()) count = std::min(count, cpus);
    const char* text = std::getenv("SEQCORE_NUM_THREADS");
    if (text && *text) {
      char* end = nullptr;
      const long wanted = std::strtol(text, &end, 10);
      if (end == text || *end != 0 || wanted < 1 || wanted > 1024)
        throw std::runtime_error(
            "SEQCORE_NUM_THREADS: expected a number of threads from 1 to 1024, got '" +
            std::string(text) + "'");
      count = int(wanted);
    }
  }
};
const Defaults& defaults() {
  static const Defaults value;
  return value;
}

// The mutex of every Exclusive, held for a moment, and the condition that wakes waiting threads. A
// forked child makes a new one: the thread that held the old one does not exist there.
struct ExclusiveGate {
  std::mutex mutex;
  std::condition_variable changed;
};
ExclusiveGate* exclusive_gate = new ExclusiveGate;
unsigned process_generation = 1;  // one more in each forked child

void on_fork_in_child() {
  in_forked_child = true;
  exclusive_gate = new ExclusiveGate;
  ++process_generation;
  for (auto handler : child_handlers()) handler();
}

using Clock = std::chrono::steady_clock;
using Time = ContentionMonitor::Time;

Time time_now() { return Clock::now().time_since_epoch(); }

// What the threads of a region wait on. Microseconds of one barrier, 16 cores of a Xeon, 2, 4, 8
// and 16 threads: one counter (central) 0.24, 0.48, 0.80, 1.6; a flag of each thread that the first
// gathers before it releases all 0.33, 0.43, 0.42, 0.52. (Flags that all read: 0.17, 0.46, 0.82,
// 1.7; dissemination: 0.18, 0.38, 0.54, 0.78.) Waiting threads spin for a few microseconds, then
// yield, so that an oversubscribed machine makes progress; the time spent yielding is counted.
class Barrier {
 public:
  // One thread's part of it, on its stack.
  struct Member {
    int rank;
    std::uint64_t round;
  };
  // Before the region.
  void prepare(int size) {
    if (flags_.size() < std::size_t(size)) flags_ = std::vector<Flag>(std::size_t(size));
    yielded_.store(0, std::memory_order_relaxed);
    arrived_.store(0, std::memory_order_relaxed);
  }
  // By each thread of the region, before its first wait; nobody is released before all have joined.
  Member join(int rank, int size) {
    size_.store(size, std::memory_order_relaxed);
    return {rank, release_.load(std::memory_order_acquire)};
  }
  void wait(Member& me) {
    const std::uint64_t round = ++me.round;
    const int size = size_.load(std::memory_order_relaxed);
    const auto released = [&] { return release_.load(std::memory_order_acquire) == round; };
    if (size <= kCentral) {
      if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 != size) return wait_until(released);
      arrived_.store(0, std::memory_order_relaxed);
    } else if (me.rank) {
      flags_[std::size_t(me.rank)].round.store(round, std::memory_order_release);
      return wait_until(released);
    } else {
      for (int n = 1; n < size; ++n)
        wait_until(
            [&] { return flags_[std::size_t(n)].round.load(std::memory_order_acquire) == round; });
    }
    release_.store(round, std::memory_order_release);
  }
  // Of all threads together.
  Time yielded() const { return Time(yielded_.load(std::memory_order_relaxed)); }

 private:
  static constexpr int kCentral = 4;  // threads up to which one counter is as fast
  struct alignas(64) Flag {
    std::atomic<std::uint64_t> round{0};
  };

  template <class F>
  SEQCORE_INLINE void wait_until(F done) {
    constexpr int kSpins = 4000;  // a pause takes 10 to 140 cycles: 10 to 200 µs
    for (int spins = 0; spins < kSpins; ++spins) {
      if (done()) return;
#if defined(__x86_64__)
      _mm_pause();
#endif
    }
    const auto begin = Clock::now();
    while (!done()) std::this_thread::yield();
    yielded_.fetch_add((Clock::now() - begin).count(), std::memory_order_relaxed);
  }

  std::vector<Flag> flags_;
  std::atomic<int> size_{1};
  alignas(64) std::atomic<int> arrived_{0};
  alignas(64) std::atomic<std::uint64_t> release_{0};  // rounds since the barrier was made
  alignas(64) std::atomic<Time::rep> yielded_{0};
};

// Time that the calling thread has had a CPU, where the system can say.
#if defined(CLOCK_THREAD_CPUTIME_ID)
constexpr bool kHasCpuTime = true;
Time cpu_time() {
  timespec used{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
  return std::chrono::duration_cast<Time>(std::chrono::seconds(used.tv_sec) +
                                          std::chrono::nanoseconds(used.tv_nsec));
}
#else
constexpr bool kHasCpuTime = false;
Time cpu_time() { return Time(0); }
#endif

ContentionMonitor contention;

// Flush-to-zero and denormals-are-zero for a scope.
class FlushDenormals {
#if defined(__x86_64__)
 public:
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  const unsigned before_;
#endif
};

// OpenMP's threads belong to the thread that started them, and so does their barrier.
thread_local Barrier barrier_of_team;

struct Region {
  explicit Region(int threads) : barrier(barrier_of_team) {
    if (threads > 1) barrier.prepare(threads);
  }
  Barrier& barrier;
  int stop = 0;
  Index last_round = std::numeric_limits<Index>::max();
  const Clock::time_point begin = Clock::now();
  Clock::time_point last = begin;
  Clock::time_point joining = begin;  // when the first thread began to wait for idle ones
  std::atomic<Time::rep> lost{0};  // time without a CPU, of all threads together

  // A thread was so long without a CPU.
  void note_lost(Time time) {
    lost.fetch_add(ContentionMonitor::counted(time).count(), std::memory_order_relaxed);
  }
};

// One thread in a region, on its stack.
struct RegionMember {
  RegionMember(Region& its_region, int its_rank, int size, bool measured)
      : region(its_region), place(its_region.barrier.join(its_rank, size)), measures(measured) {
    if (measures) used = cpu_time();
  }
  // At the end of its work, before the last barrier. A thread that begins late had no CPU either.
  void finish() {
    if (!measures) return;
    region.note_lost((Clock::now() - region.begin) - (cpu_time() - used));
  }
  Team team(int size) {
    return {place.rank, size, this, wait, interrupted, &region.stop, &region.last_round};
  }

  static void wait(void* context) {
    auto* me = static_cast<RegionMember*>(context);
    me->region.barrier.wait(me->place);
  }
  static bool interrupted(void* context) {
    Region& region = static_cast<RegionMember*>(context)->region;
    const auto now = Clock::now();
    if (now - region.last < std::chrono::milliseconds(50)) return false;
    region.last = now;
    const bool wanted = poll_hook && poll_hook();
    if (wanted) __atomic_store_n(&region.stop, 1, __ATOMIC_RELAXED);
    return wanted;
  }

  Region& region;
  Barrier::Member place;
  const bool measures;
  Time used{};
};

#ifdef _OPENMP
// OpenMP's threads belong to the thread that started them; it keeps as many as its last team had.
// A smaller team ends the others, and the next larger one creates new ones: 50 µs each. So a team
// stays as large as it was, and the threads that a region does not want have no part in it.
struct LastTeam {
  int size = 1;
  int limit = std::numeric_limits<int>::max();  // threads that could be created at the last failure
  Clock::time_point retry{};  // when the limit is checked again
};
thread_local LastTeam last_team;
std::mutex team_growth;  // a forked child makes no teams

#if defined(__unix__) || defined(__APPLE__)
// The stack size of OpenMP's threads in bytes, 0 for the default of the system: a number followed
// by B, K (the default), M or G.
std::size_t stack_size() {
  const char* text = std::getenv("OMP_STACKSIZE");
  if (!text) text = std::getenv("GOMP_STACKSIZE");
  if (!text) return 0;
  char* end = nullptr;
  const unsigned long long number = std::strtoull(text, &end, 10);
  if (end == text) return 0;
  while (*end == ' ') ++end;
  const int shift = *end == 'b' || *end == 'B'   ? 0
                    : *end == 'm' || *end == 'M' ? 20
                    : *end == 'g' || *end == 'G' ? 30
                                                 : 10;
  return number > (~std::size_t(0) >> 1 >> shift) ? 0 : std::size_t(number) << shift;
}

// How many of `wanted` more threads the system can create now: they are created, all at once, and
// ended.
int count_creatable_threads(int wanted) {
  std::vector<pthread_t> created(static_cast<std::size_t>(wanted));
  pthread_attr_t attributes;
  if (pthread_attr_init(&attributes) != 0) return 0;
  if (const std::size_t size = stack_size()) pthread_attr_setstacksize(&attributes, size);
  std::mutex all_created;
  int count = 0;
  {
    const std::lock_guard<std::mutex> lock(all_created);
    const auto wait = [](void* mutex) -> void* {
      const std::lock_guard<std::mutex> until(*static_cast<std::mutex*>(mutex));
      return nullptr;
    };
    while (count < wanted &&
           pthread_create(&created[std::size_t(count)], &attributes, wait, &all_created) == 0)
      ++count;
  }
  for (int n = 0; n < count; ++n) pthread_join(created[std::size_t(n)], nullptr);
  pthread_attr_destroy(&attributes);
  return count;
}
#else
int count_creatable_threads(int wanted) { return wanted; }
#endif

// The size of a team of at most `threads` threads: OpenMP ends the process where it cannot create
// one.
int creatable_team_size(int threads) {
  LastTeam& last = last_team;
  // It also allocates some memory for each thread, and ends the process where there is none.
  constexpr std::size_t kTeamBytes = 1 << 16, kThreadBytes = 1 << 11;
  void* probe = std::malloc(kTeamBytes + kThreadBytes * std::size_t(threads));
  std::free(probe);
  if (!probe) return 1;
  if (threads < last.size) return threads;
  if (threads > last.limit && Clock::now() < last.retry) return std::max(last.size, last.limit);
  const int count = last.size + count_creatable_threads(threads - last.size);
  last.limit = count < threads ? count : std::numeric_limits<int>::max();
  last.retry = Clock::now() + std::chrono::seconds(1);
  return count;
}

// A region on the first `threads` of `size` threads of OpenMP; `growing` is released when they
// exist.
bool run_team(int threads, int size, std::unique_lock<std::mutex>& growing,
              const std::function<void(const Team&)>& work) {
  Region region(threads);
  const bool measured = contention.measures(time_now());
  int given = 1, used = 1;
#pragma omp parallel num_threads(size)
  {
    // OpenMP may give fewer threads than requested.
    const int rank = omp_get_thread_num(), team = std::min(threads, omp_get_num_threads());
    if (rank == 0 && growing.owns_lock()) growing.unlock();
    if (rank < team) {
      RegionMember me(region, rank, team, measured);
      const FlushDenormals flush;
      work(me.team(team));
      me.finish();
      // The end of the region waits for the last thread too, but does not count how long.
      RegionMember::wait(&me);
    } else if (measured) {
      region.note_lost(Clock::now() - region.begin);  // until its CPU was free
    }
    if (rank == 0) {
      given = omp_get_num_threads();
      used = team;
      if (given > team) region.joining = Clock::now();
    }
  }
  last_team.size = given;
  if (used == 1) return !region.stop;
  const auto end = Clock::now();
  Time waited = region.barrier.yielded() / (used - 1);
  if (given > used) waited += end - region.joining;
  const Time lost(region.lost.load(std::memory_order_relaxed));
  contention.note(end.time_since_epoch(), end - region.begin,
                  measured && kHasCpuTime ? lost : waited, measured || !kHasCpuTime);
  return !region.stop;
}
#endif

}  // namespace

bool has_openmp() {
#ifdef _OPENMP
  return true;
#else
  return false;
#endif
}

int busy_cpus() { return contention.busy(time_now()); }

int thread_count() {
  const int now = openmp_limit(), usual = defaults().openmp;
  int count = requested_threads ? requested_threads.load() : defaults().count;
  // OpenMP's own limit was lowered since the start (threadpoolctl, omp_set_num_threads).
  if (now < usual) count = std::min(count, now);
  return has_openmp() ? count : 1;
}

void set_thread_count(int count) { requested_threads = count; }
void set_poll(Poll poll) { poll_hook = poll; }

void at_fork_in_child(void (*handler)()) {
  defaults();
#if defined(__unix__) || defined(__APPLE__)
  if (child_handlers().empty()) pthread_atfork(nullptr, nullptr, on_fork_in_child);
#endif
  child_handlers().push_back(handler);
}

bool Exclusive::try_enter() {
  const std::lock_guard<std::mutex> lock(exclusive_gate->mutex);
  if (process_ == process_generation) return false;
  process_ = process_generation;
  owner_ = std::this_thread::get_id();
  return true;
}

bool Exclusive::enter() {
  while (!try_enter()) {
    {
      std::unique_lock<std::mutex> lock(exclusive_gate->mutex);
      exclusive_gate->changed.wait_for(lock, std::chrono::milliseconds(50),
                                       [this] { return process_ != process_generation; });
    }
    if (poll_hook && poll_hook()) return false;
  }
  return true;
}

void Exclusive::leave() {
  const std::lock_guard<std::mutex> lock(exclusive_gate->mutex);
  process_ = 0;
  exclusive_gate->changed.notify_all();
}

bool Exclusive::is_mine() const {
  const std::lock_guard<std::mutex> lock(exclusive_gate->mutex);
  return process_ == process_generation && owner_ == std::this_thread::get_id();
}

bool run(int threads, const std::function<void(const Team&)>& work) {
#ifdef _OPENMP
  // In a forked child libgomp would wait for threads that do not exist there: one thread.
  if (threads > 1 && !in_forked_child) {
    // Unless fewer are wanted now: by the user, or since other programs have the CPUs.
    int size = std::max(threads, std::min(last_team.size, thread_count() - busy_cpus()));
    // The lock is held from the check of what can be created until the team exists, so that no two
    // teams count on the same threads.
    std::unique_lock<std::mutex> growing(team_growth, std::defer_lock);
    if (size != last_team.size) {
      growing.lock();
      size = creatable_team_size(size);
      if (size == 1) growing.unlock();
    }
    if (size > 1) return run_team(std::min(threads, size), size, growing, work);
  }
#else
  (void)threads;
#endif
  Region region(1);
  RegionMember me(region, 0, 1, false);
  const FlushDenormals flush;
  work(me.team(1));
  return !region.stop;
}

}  // namespace seqcore
