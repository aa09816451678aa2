// Arrays, and lists of them, as arguments: checked before their memory is handed out, or refused in
// one line "name: expected X, got Y". Nothing is converted, so no pointer outlives the object it
// came from.
#pragma once

#include <pybind11/numpy.h>
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "../kernels/api.h"

namespace seqcore {

namespace py = pybind11;

// Sizes of the axes of an array; -1 means any size where an array is checked.
class Shape {
 public:
  static constexpr int kMaxAxes = 64;  // of NumPy 2; NumPy 1 has 32

  Shape() = default;
  Shape(std::initializer_list<Index> sizes) {
    for (const Index size : sizes) push_back(size);
  }
  Shape(const Index* sizes, Index rank) {
    for (Index i = 0; i < rank; ++i) push_back(sizes[i]);
  }
  Shape(const Shape& other) : Shape(other.sizes_, other.rank_) {}
  Shape& operator=(const Shape& other) {
    rank_ = 0;
    for (const Index size : other) push_back(size);
    return *this;
  }
  void push_back(Index size) { sizes_[rank_++] = size; }
  int rank() const { return rank_; }
  Index operator[](int i) const { return sizes_[i]; }
  Index& operator[](int i) { return sizes_[i]; }
  const Index* begin() const { return sizes_; }
  const Index* end() const { return sizes_ + rank_; }

 private:
  int rank_ = 0;
  Index sizes_[kMaxAxes];
};

// The name of an argument, or of one of its items; the text is never freed.
struct Name {
  const char* text;
  Index item = -1;
  Name(const char* name, Index index = -1) : text(name), item(index) {}
  std::string str() const {
    return item < 0 ? std::string(text) : std::string(text) + "[" + std::to_string(item) + "]";
  }
};

std::string describe(const Shape& shape);
std::string describe(py::handle value);
// `text` in quotes, on one line, cut where it is long.
std::string quoted(const std::string& text);
[[noreturn]] void fail(Name name, const std::string& expected,
                       const std::string& came);  // ValueError
[[noreturn]] void fail_type(Name name, const std::string& expected, py::handle value);  // TypeError
// Throws ValueError unless low <= value <= high.
void require_range(Name name, Index value, Index low, Index high);

// NumPy's descriptor of T, made once.
template <class T>
PyObject* descriptor() {
  static PyObject* const made = py::dtype::of<T>().release().ptr();
  return made;
}
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

inline bool is_array(PyObject* value) {
  const auto& api = py::detail::npy_api::get();
  return Py_TYPE(value) == api.PyArray_Type_ || PyObject_TypeCheck(value, api.PyArray_Type_);
}

// Memory that an array covers, from its first byte to behind its last.
struct Extent {
  const char *begin, *end;
  Name name;
  bool written;
};
// Throws ValueError if memory that is written belongs to two of them.
void require_apart(std::vector<Extent> extents);

// An array, held for as long as this lives. Its type, shape and order are checked where its memory
// is asked for.
class Array {
 public:
  Array(Name name, PyObject* value)
      : name_(name), array_(py::reinterpret_borrow<py::object>(value)) {
    if (!is_array(value)) fail_type(name, "an array", value);
  }

  const Name& name() const { return name_; }
  const py::object& object() const { return array_; }
  Index rank() const { return proxy()->nd; }
  Index shape(Index axis) const { return proxy()->dimensions[axis]; }
  Shape shape() const { return {proxy()->dimensions, proxy()->nd}; }
  Index size() const;
  template <class T>
  bool holds() const {
    PyObject* descr = proxy()->descr;
    return descr == descriptor<T>() ||
           py::detail::npy_api::get().PyArray_EquivTypes_(descr, descriptor<T>());
  }
  // The elements of a C-contiguous array of exactly this type and shape; of a misaligned one a copy
  // that lives as long as this.
  template <class T>
  const T* read(const Shape& shape) const {
    const T* data = checked<T>(shape);
    if (reinterpret_cast<uintptr_t>(data) % alignof(T) == 0) return data;
    return static_cast<const T*>(aligned_copy(sizeof(T)));
  }
  // The same, to be written in place: the kernels take any alignment.
  template <class T>
  T* write(const Shape& shape) const {
    const T* data = checked<T>(shape);
    if (!(proxy()->flags & py::detail::npy_api::NPY_ARRAY_WRITEABLE_))
      fail(name_, "a writeable array", "a read-only array");
    return const_cast<T*>(data);
  }
  // A (B, S, features) array whose features are contiguous; batch and step strides are free.
  template <class T>
  Sequence<const T> sequence(const Shape& shape) const {
    require_type<T>();
    require_shape(shape);
    require_features(sizeof(T));
    const Index* strides = proxy()->strides;
    return {reinterpret_cast<const T*>(proxy()->data), strides[0] / Index(sizeof(T)),
            strides[1] / Index(sizeof(T))};
  }
  // Where its elements lie, for require_apart.
  Extent extent(bool written) const;
  void require_shape(const Shape& shape) const;
  template <class T>
  void require_type() const {
    if (!holds<T>()) refuse_type(kTypeName<T>);
  }

 private:
  const py::detail::PyArray_Proxy* proxy() const { return py::detail::array_proxy(array_.ptr()); }
  template <class T>
  const T* checked(const Shape& shape) const {
    require_type<T>();
    require_shape(shape);
    require_order();
    return reinterpret_cast<const T*>(proxy()->data);
  }
  const void* aligned_copy(Index item_size) const;
  [[noreturn]] void refuse_type(const char* wanted) const;
  void require_order() const;
  void require_features(Index item_size) const;

  Name name_;
  py::object array_;
  mutable std::shared_ptr<void> copy_;
};

// Throws ValueError for a matrix without elements.
void require_elements(const Array& matrix);

using OptionalArray = std::optional<Array>;
// The elements of an array that may be None: then null.
template <class T>
const T* read(const OptionalArray& array, const Shape& shape) {
  return array ? array->read<T>(shape) : nullptr;
}

// A list or tuple; its items are checked as they are taken.
class Items {
 public:
  Items(Name name, PyObject* value, const char* of = "a list or tuple") : name_(name) {
    if (!PyList_Check(value) && !PyTuple_Check(value)) fail_type(name, of, value);
    items_ = py::reinterpret_borrow<py::object>(value);
  }
  const Name& name() const { return name_; }
  Index size() const { return PySequence_Fast_GET_SIZE(items_.ptr()); }
  // Throws unless there are `count` items, described by `items`.
  void require_size(Index count, const char* items) const {
    if (size() != count) fail(name_, std::to_string(count) + " " + items, std::to_string(size()));
  }
  py::object operator[](Index i) const {
    if (i >= size())
      fail(name_, "more than " + std::to_string(i) + " items", std::to_string(size()));
    return py::reinterpret_borrow<py::object>(PySequence_Fast_GET_ITEM(items_.ptr(), i));
  }
  // Item i as an array, or None, in errors called `name` or by its number.
  Array array(Index i, const char* name = nullptr) const {
    return {item_name(i, name), (*this)[i].ptr()};
  }
  OptionalArray optional_array(Index i, const char* name = nullptr) const {
    const py::object item = (*this)[i];
    return item.is_none() ? OptionalArray() : OptionalArray(Array(item_name(i, name), item.ptr()));
  }
  // Item i as a list or tuple, or None.
  std::optional<Items> optional_items(Index i, const char* of) const {
    const py::object item = (*this)[i];
    return item.is_none() ? std::optional<Items>() : Items(name_, item.ptr(), of);
  }

 private:
  Name item_name(Index i, const char* name) const {
    return name ? Name(name) : Name(name_.text, i);
  }

  Name name_;
  py::object items_;
};
using OptionalItems = std::optional<Items>;
using Arrays = std::vector<Array>;

}  // namespace seqcore
