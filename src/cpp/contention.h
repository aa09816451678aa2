// Watches for CPUs that are busy with something else: arithmetic on times, without a clock.
//
// A thread that lost its CPU comes back after a time slice of milliseconds, and the other threads
// of the region wait for it at the next barrier. After such a region the next ones do without the
// CPUs that others use, for a pause that doubles as long as it happens again: two threads beside a
// busy process on two cores took 1.1 to 1.9 times as long as one.
//
// Threads also wait long where the work does not divide evenly. So long waits only begin a time in
// which each thread measures how long it was without a CPU (two calls of the system, 0.2 µs each,
// which undisturbed regions do not pay), and a region counts only if a thread was.
#pragma once

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>

namespace seqcore {

class ContentionMonitor {
 public:
  using Time = std::chrono::steady_clock::duration;

  // CPUs that are busy with something else.
  int busy(Time now) const {
    return now.count() < until_.load(std::memory_order_relaxed)
               ? busy_.load(std::memory_order_relaxed)
               : 0;
  }
  bool measures(Time now) const {
    return now.count() < measured_until_.load(std::memory_order_relaxed);
  }
  // The part that counts of the time that a thread was without a CPU: waking up takes some
  // microseconds, and those of many threads add up.
  static Time counted(Time lost) { return lost < kLate ? Time(0) : lost; }

  // A region that took so long ends now. measured: `late` is how long all threads together were
  // without a CPU; else how long one waited on average, perhaps for uneven work.
  void note(Time now, Time region, Time late, bool measured) {
    const Time pause(pause_.load(std::memory_order_relaxed));
    if (late < kLate || kLateShare * late < region) {
      // One that did without the busy CPUs tells nothing about them.
      if (!busy(now))
        pause_.store(std::max<Time>(pause / 2, kFirstPause).count(), std::memory_order_relaxed);
      return;
    }
    measured_until_.store((now + kMeasured).count(), std::memory_order_relaxed);
    if (!measured) return;
    // A thread that shares its CPU with another program loses about half of its time.
    busy_.store(int(2 * late / region) + 1, std::memory_order_relaxed);
    // Long enough that regions which find out cost little.
    const Time until =
        now + std::min<Time>(std::max<Time>(pause, kRegionsOfPause * region), kLastPause);
    until_.store(until.count(), std::memory_order_relaxed);
    pause_.store(std::min<Time>(2 * pause, kLastPause).count(), std::memory_order_relaxed);
  }

 private:
  // Threads that wait 300 µs, and an eighth of a region, wait for a CPU or for uneven work:
  // barriers cost microseconds.
  static constexpr Time kLate = std::chrono::microseconds(300),
                        kFirstPause = std::chrono::milliseconds(20),
                        kLastPause = std::chrono::seconds(1), kMeasured = std::chrono::seconds(2);
  static constexpr int kLateShare = 8, kRegionsOfPause = 16;
  static constexpr Time::rep kNever = std::numeric_limits<Time::rep>::min();
  std::atomic<Time::rep> until_{kNever}, measured_until_{kNever}, pause_{kFirstPause.count()};
  std::atomic<int> busy_{0};
};

}  // namespace seqcore
