// Scratch memory that is reused: fresh pages cost more than the maths at small sizes.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <memory>
#include <new>
#include <string>

namespace seqcore {

// Memory that the machine does not have: what() says how much was asked for, "... bytes".
class OutOfMemory : public std::bad_alloc {
 public:
  explicit OutOfMemory(std::string wanted) : wanted_(std::move(wanted)) {}
  const char* what() const noexcept override { return wanted_.c_str(); }

 private:
  std::string wanted_;
};

// The product of sizes >= 0: every size that the caller chose goes through here before anything is
// multiplied. Throws OutOfMemory where numbers of `item` bytes each would pass what a processor can
// address, so that sums of a few such products overflow nowhere.
std::ptrdiff_t product(const std::ptrdiff_t* begin, const std::ptrdiff_t* end, std::size_t item);
template <class T>
std::ptrdiff_t product(std::initializer_list<std::ptrdiff_t> sizes) {
  return product(sizes.begin(), sizes.end(), sizeof(T));
}

// Throws OutOfMemory if the machine, or the container, has less memory than `bytes`: a system that
// promises more ends the process when it is used.
void require_memory(std::size_t bytes);

// Memory of at least `bytes`, aligned to 64, from the pool; it goes back there when the last owner
// is gone. Not initialised. Throws OutOfMemory.
std::shared_ptr<void> pool_alloc(std::size_t bytes);
template <class T>
std::shared_ptr<T> pool_alloc_array(std::ptrdiff_t count) {
  return std::static_pointer_cast<T>(
      pool_alloc(sizeof(T) * static_cast<std::size_t>(product<T>({count > 0 ? count : 1}))));
}
struct PoolState {
  std::size_t held,
      made;  // bytes that wait in the pool; blocks that the system was asked for since the start
};
PoolState pool_state();
// Registers the handler that makes the pool new in a forked child.
void init_workspace();

}  // namespace seqcore
