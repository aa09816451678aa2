// The pool: free blocks by size class, four classes to a power of two.
#include "workspace.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <map>
#include <mutex>
#include <new>
#include <vector>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "parallel.h"

namespace seqcore {
namespace {

constexpr std::size_t kSmallest = 256, kHugePage = std::size_t(2) << 20, kMostPooled = std::size_t(1) << 30;

std::size_t size_class(std::size_t bytes) {
  std::size_t power = kSmallest;
  while (power < bytes) power *= 2;
  if (power == kSmallest) return power;
  for (std::size_t quarter = 5; quarter < 8; ++quarter)
    if (power / 8 * quarter >= bytes) return power / 8 * quarter;
  return power;
}

class Pool {
 public:
  void* take(std::size_t size) {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      Class& one = free_[size];
      one.last_taken = ++clock_;
      if (!one.blocks.empty()) {
        void* block = one.blocks.back();
        one.blocks.pop_back();
        pooled_ -= size;
        return block;
      }
    }
    const std::size_t alignment = size >= 2 * kHugePage ? kHugePage : 64;
    void* block = std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (!block) throw std::bad_alloc();
#if defined(__linux__)
    if (alignment == kHugePage) madvise(block, size, MADV_HUGEPAGE);
#endif
    return block;
  }
  // Keeps a block. Where there are too many, those of the size that was asked for longest ago go first: what a program does
  // now must not be slow because of what it did before.
  void give(void* block, std::size_t size) {
    const std::lock_guard<std::mutex> lock(mutex_);
    free_[size].blocks.push_back(block);
    pooled_ += size;
    while (pooled_ > kMostPooled) {
      const auto has_blocks = [](const auto& one) { return !one.second.blocks.empty(); };
      auto oldest = std::find_if(free_.begin(), free_.end(), has_blocks);
      for (auto one = oldest; one != free_.end(); ++one)
        if (has_blocks(*one) && one->second.last_taken < oldest->second.last_taken) oldest = one;
      std::free(oldest->second.blocks.back());
      oldest->second.blocks.pop_back();
      pooled_ -= oldest->first;
    }
  }
  std::size_t pooled() {
    const std::lock_guard<std::mutex> lock(mutex_);
    return pooled_;
  }

 private:
  struct Class {
    std::vector<void*> blocks;
    std::uint64_t last_taken = 0;
  };
  std::mutex mutex_;
  std::map<std::size_t, Class> free_;
  std::size_t pooled_ = 0;
  std::uint64_t clock_ = 0;
};

// Never destroyed: arrays may outlive the module. A forked child starts a new one, whose lock nobody holds.
Pool* pool = new Pool;

}  // namespace

std::shared_ptr<void> borrow(std::size_t bytes) {
  const std::size_t size = size_class(bytes);
  Pool* home = pool;
  return std::shared_ptr<void>(home->take(size), [home, size](void* block) {
    // In a forked child the parent's pool stays untouched.
    if (home == pool) home->give(block, size);
  });
}

std::size_t pooled_bytes() { return pool->pooled(); }

void prepare_workspace() {
  at_fork_in_child([] { pool = new Pool; });
}

}  // namespace seqcore
