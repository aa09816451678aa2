// A pool of scratch memory: fresh pages cost more than the arithmetic at small sizes.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>

namespace seqcore {

// Thrown for memory that the machine does not have; what() is the size, "... bytes".
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string wanted) : wanted_(std::move(wanted)) {}
  const char* what() const noexcept override { return wanted_.c_str(); }

 private:
  std::string wanted_;
};

// The product of sizes >= 0; sizes chosen by the caller must go through here before they are
// multiplied. Throws OutOfMemory where that many elements of `item` bytes exceed what a process can
// address, so that sums of a few such products do not overflow.
std::ptrdiff_t product(const std::ptrdiff_t* begin, const std::ptrdiff_t* end, std::size_t item);
template <class T>
std::ptrdiff_t product(std::initializer_list<std::ptrdiff_t> sizes) {
  return product(sizes.begin(), sizes.end(), sizeof(T));
}

// Throws OutOfMemory if the machine or the container has less memory than `bytes`: a system that
// overcommits would end the process when the memory is used.
void require_memory(std::size_t bytes);

// Allocates at least `bytes` from the pool, aligned to 64, not initialized; the block goes back to
// the pool with its last owner. Throws OutOfMemory.
std::shared_ptr<void> pool_alloc(std::size_t bytes);
template <class T>
std::shared_ptr<T> pool_alloc_array(std::ptrdiff_t count) {
  return std::static_pointer_cast<T>(
      pool_alloc(sizeof(T) * static_cast<std::size_t>(product<T>({count > 0 ? count : 1}))));
}
struct PoolState {
  std::size_t held;  // bytes of free blocks in the pool
  std::size_t made;  // blocks allocated from the system since the start
};
PoolState pool_state();
// Registers the handler that replaces the pool in a forked child.
void init_workspace();

}  // namespace seqcore
