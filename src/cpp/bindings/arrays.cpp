// Checks of arrays, and the error messages.
#include "arrays.h"

#include <algorithm>
#include <cstring>

#include "../workspace.h"

namespace seqcore {
namespace {

// A Python object's repr on one line, cut where it is long.
std::string short_repr(PyObject* value) {
  constexpr size_t kMax = 80;
  const auto text = py::reinterpret_steal<py::object>(PyObject_Repr(value));
  const char* data = text ? PyUnicode_AsUTF8(text.ptr()) : nullptr;
  if (!data) {  // an integer of thousands of digits, a lone surrogate
    PyErr_Clear();
    return Py_TYPE(value)->tp_name;
  }
  std::string result(data);
  if (result.size() <= kMax) return result;
  size_t end = kMax;
  while (end > 0 && (result[end] & 0xC0) == 0x80) --end;  // not within a letter
  return result.substr(0, end) + "...";
}

}  // namespace

std::string describe(const Shape& shape) {
  std::string text = "(";
  for (int i = 0; i < shape.rank(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
  return text + (shape.rank() == 1 ? ",)" : ")");
}

std::string describe(py::handle value) {
  PyObject* object = value.ptr();
  if (is_array(object)) {
    const auto* array = py::detail::array_proxy(object);
    const auto type = py::reinterpret_steal<py::object>(PyObject_Str(array->descr));
    const char* name = type ? PyUnicode_AsUTF8(type.ptr()) : nullptr;
    if (!name) PyErr_Clear();
    return std::string(name ? name : "an array") + " of shape " +
           describe(Shape(array->dimensions, array->nd));
  }
  if (object == Py_None || PyBool_Check(object) || PyLong_CheckExact(object) ||
      PyFloat_CheckExact(object) || PyUnicode_CheckExact(object))
    return short_repr(object);
  const char* name = std::strrchr(Py_TYPE(object)->tp_name, '.');
  return name ? name + 1 : Py_TYPE(object)->tp_name;
}

std::string quoted(const std::string& text) {
  const auto object = py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), Index(text.size()), "backslashreplace"));
  if (object) return short_repr(object.ptr());
  PyErr_Clear();
  return "a string";
}

namespace {

// One line, also where a name or a dtype holds line breaks.
std::string message(Name name, const std::string& expected, const std::string& came) {
  std::string text = name.str() + ": expected " + expected + ", got " + came;
  for (char& letter : text)
    if (static_cast<unsigned char>(letter) < ' ') letter = ' ';
  return text;
}

}  // namespace

void fail(Name name, const std::string& expected, const std::string& came) {
  throw py::value_error(message(name, expected, came));
}

void fail_type(Name name, const std::string& expected, py::handle value) {
  throw py::type_error(message(name, expected, describe(value)));
}

void require_range(Name name, Index value, Index low, Index high) {
  if (value < low || value > high)
    fail(name, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
         std::to_string(value));
}

Index Array::size() const {
  Index size = 1;
  for (const Index n : shape()) size *= n;
  return size;
}

void require_elements(const Array& matrix) {
  if (!matrix.size()) fail(matrix.name(), "a non-empty matrix", describe(matrix.object()));
}

void Array::refuse_type(const char* wanted) const {
  fail_type(name_, std::string("an array of ") + wanted, array_);
}

void Array::require_shape(const Shape& wanted) const {
  const Index* sizes = proxy()->dimensions;
  bool right = rank() == wanted.rank();
  for (int i = 0; right && i < wanted.rank(); ++i) right = wanted[i] < 0 || sizes[i] == wanted[i];
  if (!right) fail(name_, "shape " + describe(wanted), describe(array_));
}

void Array::require_order() const {
  if (!(proxy()->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_))
    fail(name_, "a C-contiguous array", describe(array_) + " with other strides");
}

void Array::require_features(Index item_size) const {
  const Index* strides = proxy()->strides;
  if ((shape(2) > 1 && strides[2] != item_size) || strides[0] % item_size || strides[1] % item_size)
    fail(name_, "contiguous features", describe(array_) + " with other strides");
}

const void* Array::aligned_copy(Index item_size) const {
  const size_t bytes = size_t(size() * item_size);
  copy_ = pool_alloc(bytes);
  std::memcpy(copy_.get(), proxy()->data, bytes);
  return copy_.get();
}

Extent Array::extent(bool written) const {
  const char *begin = proxy()->data,
             *end = begin + py::reinterpret_borrow<py::dtype>(proxy()->descr).itemsize();
  for (Index i = 0; i < rank(); ++i) {
    if (!shape(i)) return {begin, begin, name_, written};
    const Index reach = (shape(i) - 1) * proxy()->strides[i];
    (reach < 0 ? begin : end) += reach;
  }
  return {begin, end, name_, written};
}

void require_apart(std::vector<Extent> extents) {
  extents.erase(std::remove_if(extents.begin(), extents.end(),
                               [](const Extent& e) { return e.begin >= e.end; }),
                extents.end());
  std::sort(extents.begin(), extents.end(),
            [](const Extent& a, const Extent& b) { return a.begin < b.begin; });
  const Extent *last = nullptr, *last_written = nullptr;  // those that reach furthest so far
  for (const Extent& extent : extents) {
    const Extent* other = extent.written ? last : last_written;
    if (other && extent.begin < other->end) {
      const bool second = extent.written;
      const Name &written = second ? extent.name : other->name,
                 &shared = second ? other->name : extent.name;
      fail(written, "memory that no other array of the call shares", "memory of " + shared.str());
    }
    if (!last || extent.end > last->end) last = &extent;
    if (extent.written && (!last_written || extent.end > last_written->end)) last_written = &extent;
  }
}

}  // namespace seqcore
