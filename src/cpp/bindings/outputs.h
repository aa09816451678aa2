// Arrays that a call returns: new ones on memory of the pool, or those given as `out`.
#pragma once

#include <memory>
#include <vector>

#include "../workspace.h"
#include "arrays.h"

namespace seqcore {

// Owner of the memory of an array, as a Python object.
class Memory;

// `memory` as a Python object.
py::object owner_of(std::shared_ptr<void> memory);
// A new array of `shape` and `strides` (in elements) on the memory of `owner`, which lives as long
// as the array.
py::object array_on(py::object owner, PyObject* descriptor, void* data, const Shape& shape,
                    const Shape& strides, Index item_size, bool writeable);
template <class T>
py::object on_memory(py::object owner, T* data, const Shape& shape, const Shape& strides,
                     bool writeable = true) {
  return array_on(std::move(owner), descriptor<T>(), data, shape, strides, sizeof(T), writeable);
}
template <class T>
py::object new_array(const Shape& shape) {
  auto memory = pool_alloc_array<T>(product(shape.begin(), shape.end(), sizeof(T)));
  Shape strides(shape);
  Index count = 1;
  for (int i = shape.rank(); i-- > 0; count *= shape[i]) strides[i] = count;
  return on_memory<T>(owner_of(memory), memory.get(), shape, strides);
}
// A (B, S, features) view of new time-major memory.
template <class T>
py::object new_sequence(Index batch, Index steps, Index features) {
  auto memory = pool_alloc_array<T>(product<T>({batch, steps, features}));
  return on_memory<T>(owner_of(memory), memory.get(), {batch, steps, features},
                      {features, batch * features, 1});
}
// The memory of an array that was made here, or checked by Array.
template <class T>
T* data_of(const py::object& array) {
  return reinterpret_cast<T*>(py::detail::array_proxy(array.ptr())->data);
}

// The arrays of a call that are written where the caller said so. They share no memory with each
// other or with arrays that the call reads.
class Outputs {
 public:
  // Item `index` of `out`, checked, or a new array where there is none.
  template <class T>
  py::object array(const OptionalItems& out, Index index, const Shape& shape) {
    const OptionalArray given =
        out ? out->optional_array(index, out->name().text) : OptionalArray();
    if (!given) return new_array<T>(shape);
    given->write<T>(shape);
    extents_.push_back(given->extent(true));
    return given->object();
  }
  // After the arrays above: one that the call reads.
  void note_read(const Array& array) {
    if (!extents_.empty()) extents_.push_back(array.extent(false));
  }
  void note_read(const OptionalArray& array) {
    if (array) note_read(*array);
  }
  // Throws ValueError if one of the arrays above shares memory with another or with `reads`.
  template <class... A>
  void require_apart(const A&... reads) {
    (note_read(reads), ...);
    if (!extents_.empty()) seqcore::require_apart(std::move(extents_));
  }

 private:
  std::vector<Extent> extents_;
};

}  // namespace seqcore
