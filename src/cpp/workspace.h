// Scratch memory that is reused: fresh pages cost more than the maths at small sizes.
#pragma once

#include <cstddef>
#include <memory>

namespace seqcore {

// Memory of at least `bytes`, aligned to 64, from the pool; it goes back there when the last owner is gone. Not initialised.
std::shared_ptr<void> borrow(std::size_t bytes);
template <class T>
std::shared_ptr<T> borrow_array(std::ptrdiff_t count) {
  return std::static_pointer_cast<T>(borrow(sizeof(T) * static_cast<std::size_t>(count > 0 ? count : 1)));
}
struct PoolState {
  std::size_t held, made;  // bytes that wait in the pool; blocks that the system was asked for since the start
};
PoolState pool_state();
// Registers the handler that makes the pool new in a forked child.
void prepare_workspace();

}  // namespace seqcore
