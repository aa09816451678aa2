// What every binding needs: new arrays from the pool, running with the GIL released, the rows of a
// batch.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "../dispatch.h"
#include "../parallel.h"
#include "../workspace.h"
#include "arguments.h"
#include "binder.h"
#include "thread_plan.h"

namespace seqcore {

// What keeps the memory of an array alive.
class Memory;

// A new array of `shape` and `strides` (in elements) on the memory of `owner`, which lives as long
// as the array.
py::object array_on(std::shared_ptr<void> owner, PyObject* descriptor, void* data,
                    const Shape& shape, const Shape& strides, Index item_size, bool writeable);
template <class T>
py::object on_memory(const std::shared_ptr<T>& owner, T* data, const Shape& shape,
                     const Shape& strides, bool writeable = true) {
  return array_on(owner, descriptor<T>(), data, shape, strides, sizeof(T), writeable);
}
template <class T>
py::object new_array(const Shape& shape) {
  auto memory = pool_alloc_array<T>(product(shape.begin(), shape.end(), sizeof(T)));
  Shape strides(shape);
  Index count = 1;
  for (int i = shape.rank(); i-- > 0; count *= shape[i]) strides[i] = count;
  return on_memory<T>(memory, memory.get(), shape, strides);
}
// A (B, S, features) view of new time-major memory.
template <class T>
py::object new_sequence(Index batch, Index steps, Index features) {
  auto memory = pool_alloc_array<T>(product<T>({batch, steps, features}));
  return on_memory<T>(memory, memory.get(), {batch, steps, features},
                      {features, batch * features, 1});
}
// The memory of an array that was made here, or checked by Array.
template <class T>
T* data_of(const py::object& array) {
  return reinterpret_cast<T*>(py::detail::array_proxy(array.ptr())->data);
}
// Item `index` of `out`, checked, or a new array where there is none.
template <class T>
py::object place(const OptionalItems& out, Index index, const Shape& shape) {
  const OptionalArray given = out ? out->optional_array(index, out->name().text) : OptionalArray();
  if (!given) return new_array<T>(shape);
  given->write<T>(shape);
  return given->object();
}

// Whether products shall be made of bfloat16 pairs; throws if they cannot be for T on this
// processor.
template <class T>
bool checked_mixed(bool wanted) {
  if (wanted && !(table().bfloat16 && sizeof(T) == sizeof(float)))
    fail("mixed", "float32 arrays and a processor with AVX-512 BF16",
         sizeof(T) == sizeof(float) ? std::string(table().name) : std::string("float64"));
  return wanted;
}

// Runs with the GIL released; raises KeyboardInterrupt (or what the signal handler raised) if the
// user asked for it.
void run_released(int threads, const std::function<void(const Team&)>& work);

Shape bias_shape(Cell cell, Index units);

// Calls f(T()) for the type named by a dtype argument, or held by an array.
template <class F>
auto with_dtype(DType dtype, F f) {
  return dtype == DType::kFloat32 ? f(float()) : f(double());
}
template <class F>
auto with_type_of(const Array& array, F f) {
  if (array.holds<float>()) return f(float());
  if (array.holds<double>()) return f(double());
  fail_type(array.name(), "an array of float32 or float64", array.object());
}

constexpr Index kMaxRows = INT32_MAX;  // sequences of a batch, steps of a sequence, ids of a call:
                                       // the kernels count them in int32

void require_rows(Name name, Index batch, Index steps);

// Order of the rows of a batch for a scan, from the lengths and mask that the user gave, both
// copied.
struct Rows {
  std::vector<int32_t> order, lengths, active;
  std::vector<Index> offset;
  std::vector<uint8_t> mask;
  std::vector<int32_t> first_valid[kMaxDirections];
  Index batch = 0, steps = 0;
  bool ragged = false, masked = false;

  // After require_rows.
  void build(Index batch_size, Index step_count, const OptionalArray& lengths_array,
             const OptionalArray& mask_array, int directions, const bool* reverse);
  PackedBatch map(int direction) const;
};

void bind_recurrent(py::module_& m);
void bind_dense(py::module_& m);
void bind_optimizer(py::module_& m);
void bind_random(py::module_& m);
void bind_sampling(py::module_& m);
void bind_stream(py::module_& m);
void bind_system(py::module_& m);
void bind_word2vec(py::module_& m);

}  // namespace seqcore
