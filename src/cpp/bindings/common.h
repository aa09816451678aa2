// What every binding needs: checked views of arrays, new arrays from the pool, running with the GIL released.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "../dispatch.h"
#include "../parallel.h"
#include "../workspace.h"

namespace seqcore {

namespace py = pybind11;
using Shape = std::vector<Index>;

std::string describe(const py::array& array);
std::string describe(const Shape& shape);
[[noreturn]] void fail(std::string_view name, const std::string& expected, const std::string& came);

template <class T>
constexpr const char* kTypeName = "";
template <>
inline constexpr const char* kTypeName<float> = "float32";
template <>
inline constexpr const char* kTypeName<double> = "float64";
template <>
inline constexpr const char* kTypeName<int32_t> = "int32";
template <>
inline constexpr const char* kTypeName<uint32_t> = "uint32";
template <>
inline constexpr const char* kTypeName<int64_t> = "int64";
template <>
inline constexpr const char* kTypeName<bool> = "bool";

// Throws TypeError unless `array` holds T.
template <class T>
void require_type(std::string_view name, const py::array& array) {
  if (!py::isinstance<py::array_t<T>>(array))
    throw py::type_error(std::string(name) + ": expected an array of " + kTypeName<T> + ", got " + describe(array));
}

// The elements of a C-contiguous array of exactly this type and shape (-1: any length).
template <class T>
T* contiguous(std::string_view name, const py::array& array, const Shape& shape) {
  require_type<T>(name, array);
  bool right = array.ndim() == Index(shape.size());
  for (size_t i = 0; right && i < shape.size(); ++i) right = shape[i] < 0 || array.shape(i) == shape[i];
  if (!right) fail(name, "shape " + describe(shape), describe(array));
  if (!(array.flags() & py::array::c_style)) fail(name, "a C-contiguous array", describe(array) + " with other strides");
  return static_cast<T*>(const_cast<void*>(array.data()));
}
template <class T>
T* writable(std::string_view name, const py::array& array, const Shape& shape) {
  T* data = contiguous<T>(name, array, shape);
  if (!array.writeable()) fail(name, "a writeable array", "a read-only one");
  return data;
}
template <class T>
T* optional_contiguous(std::string_view name, const py::object& array, const Shape& shape) {
  return array.is_none() ? nullptr : contiguous<T>(name, array.cast<py::array>(), shape);
}

// A (B, S, features) array whose features are contiguous; batch and step strides are free.
template <class T>
Sequence<T> sequence_of(std::string_view name, const py::array& array, const Shape& shape);

// A new array of `shape` on the memory of `owner`, which lives as long as the array.
template <class T>
py::array on_memory(const std::shared_ptr<T>& owner, T* data, const Shape& shape, const Shape& strides) {
  auto* keeper = new std::shared_ptr<void>(owner);
  const py::capsule base(keeper, [](void* p) { delete static_cast<std::shared_ptr<void>*>(p); });
  Shape bytes;
  for (const Index stride : strides) bytes.push_back(stride * Index(sizeof(T)));
  return py::array(py::dtype::of<T>(), shape, bytes, data, base);
}
template <class T>
py::array new_array(const Shape& shape) {
  Index count = 1;
  Shape strides(shape.size());
  for (size_t i = shape.size(); i-- > 0; count *= shape[i]) strides[i] = count;
  auto memory = borrow_array<T>(count);
  return on_memory<T>(memory, memory.get(), shape, strides);
}
// A (B, S, features) view of new time-major memory.
template <class T>
py::array new_sequence(Index batch, Index steps, Index features) {
  auto memory = borrow_array<T>(batch * steps * features);
  return on_memory<T>(memory, memory.get(), {batch, steps, features}, {features, batch * features, 1});
}

template <class T>
T* data_of(const py::array& array) {
  return static_cast<T*>(const_cast<void*>(array.data()));
}

// Whether products shall be made of bfloat16 pairs; throws if they cannot be for T on this processor.
template <class T>
bool checked_mixed(bool wanted) {
  if (wanted && !(table().bfloat16 && sizeof(T) == sizeof(float)))
    fail("mixed", "float32 arrays and a processor with AVX-512 BF16",
         sizeof(T) == sizeof(float) ? std::string(table().name) : std::string("float64"));
  return wanted;
}

// Threads worth waking for `flops` operations.
int threads_for(double flops);

// Runs with the GIL released; raises KeyboardInterrupt (or what the signal handler raised) if the user asked for it.
void run_released(int threads, const std::function<void(const Team&)>& work);

Activation activation_of(const std::string& argument, const std::string& name, bool softmax = false);

// A cell by its name, how many gates it has, and the shape of its bias.
Cell cell_of(const std::string& name);
Index gates_of(Cell cell);
Shape bias_shape(Cell cell, Index units);

// Calls f(T()) for the type named by a dtype argument, or held by an array.
template <class F>
auto with_dtype(const std::string& name, F f) {
  if (name == "float32") return f(float());
  if (name == "float64") return f(double());
  fail("dtype", "'float32' or 'float64'", "'" + name + "'");
}
template <class F>
auto with_type_of(std::string_view name, const py::array& array, F f) {
  if (py::isinstance<py::array_t<float>>(array)) return f(float());
  if (py::isinstance<py::array_t<double>>(array)) return f(double());
  throw py::type_error(std::string(name) + ": expected an array of float32 or float64, got " + describe(array));
}

// Order of the rows of a batch for a scan, from the lengths and mask that the user gave.
struct Rows {
  std::vector<int32_t> order, lengths, active;
  std::vector<Index> offset;
  py::array mask;                            // keeps the (B, S) array alive
  std::vector<int32_t> first_valid[kMaxDirections];
  const uint8_t* mask_data = nullptr;
  Index batch = 0, steps = 0;
  bool ragged = false;

  void build(Index batch_size, Index step_count, const py::object& lengths_array, const py::object& mask_array, int directions,
             const bool* reverse);
  RowMap map(int direction) const;
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
