// Checks of arguments, and the words in which they are refused.
#include "arguments.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <iterator>

#include "../workspace.h"

namespace seqcore {
namespace {

// A Python object's repr on one line, cut where it is long.
std::string short_repr(PyObject* value) {
  constexpr size_t kMost = 80;
  const auto text = py::reinterpret_steal<py::object>(PyObject_Repr(value));
  const char* data = text ? PyUnicode_AsUTF8(text.ptr()) : nullptr;
  if (!data) {  // an integer of thousands of digits, a lone surrogate
    PyErr_Clear();
    return Py_TYPE(value)->tp_name;
  }
  std::string result(data);
  if (result.size() <= kMost) return result;
  size_t end = kMost;
  while (end > 0 && (result[end] & 0xC0) == 0x80) --end;  // not within a letter
  return result.substr(0, end) + "...";
}

// Classes of NumPy's scalars.
PyObject* numpy_class(const char* name) {
  return py::object(py::module_::import("numpy").attr(name)).release().ptr();
}
bool is_instance(PyObject* value, PyObject* of) {
  return PyType_IsSubtype(Py_TYPE(value), reinterpret_cast<PyTypeObject*>(of));
}
bool is_integer(PyObject* value) {
  if (PyBool_Check(value)) return false;
  if (PyLong_Check(value)) return true;
  static PyObject* const integer = numpy_class("integer");
  static PyObject* const timedelta = numpy_class("timedelta64");
  return is_instance(value, integer) && !is_instance(value, timedelta);
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

// Whatever a name or a dtype holds, an error is one line.
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

// Arrays
// ---------------------------------------------------------------------------------------------------------------------

Index Array::size() const {
  Index size = 1;
  for (const Index n : shape()) size *= n;
  return size;
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

// Numbers and names
// ----------------------------------------------------------------------------------------------------------

int64_t load_integer(Name name, PyObject* value, int64_t low, int64_t high) {
  if (!is_integer(value)) fail_type(name, "an integer", value);
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value));
  int overflow = 0;
  const long long result = number ? PyLong_AsLongLongAndOverflow(number.ptr(), &overflow) : -1;
  if (!number || (result == -1 && PyErr_Occurred())) throw py::error_already_set();
  if (overflow || result < low || result > high)
    fail(name, "an integer from " + std::to_string(low) + " to " + std::to_string(high),
         describe(number));
  return result;
}

uint64_t load_unsigned(Name name, PyObject* value) {
  if (!is_integer(value)) fail_type(name, "an integer", value);
  const auto number = py::reinterpret_steal<py::object>(PyNumber_Index(value));
  if (!number) throw py::error_already_set();
  const unsigned long long result = PyLong_AsUnsignedLongLong(number.ptr());
  if (result == static_cast<unsigned long long>(-1) && PyErr_Occurred()) {
    PyErr_Clear();
    fail(name, "an integer from 0 to " + std::to_string(UINT64_MAX), describe(number));
  }
  return result;
}

double load_number(Name name, PyObject* value) {
  if (PyFloat_CheckExact(value)) return PyFloat_AS_DOUBLE(value);
  static PyObject* const floating = numpy_class("floating");
  if (!PyFloat_Check(value) && !is_integer(value) && !is_instance(value, floating))
    fail_type(name, "a number", value);
  const double result = PyFloat_AsDouble(value);
  if (result == -1 && PyErr_Occurred()) {
    PyErr_Clear();
    fail(name, "a number in the range of float64", describe(value));
  }
  return result;
}

Finite Loader<Finite>::load(Name name, PyObject* value) {
  const double result = load_number(name, value);
  if (!std::isfinite(result)) fail(name, "a finite number", describe(value));
  return {result};
}

bool load_bool(Name name, PyObject* value) {
  if (value == Py_True) return true;
  if (value == Py_False) return false;
  static PyObject* const boolean = numpy_class("bool_");
  if (!is_instance(value, boolean)) fail_type(name, "True or False", value);
  return PyObject_IsTrue(value) == 1;
}

const char* load_text(Name name, PyObject* value) {
  if (!PyUnicode_Check(value)) fail_type(name, "a string", value);
  const char* text = PyUnicode_AsUTF8(value);
  if (text) return text;
  PyErr_Clear();
  fail(name, "text", "a string with lone surrogates");
}

Path Loader<Path>::load(Name name, PyObject* value) {
  if (!PyUnicode_Check(value)) fail_type(name, "a string", value);
  const auto encoded = py::reinterpret_steal<py::object>(PyUnicode_EncodeFSDefault(value));
  if (!encoded) {
    PyErr_Clear();
    fail(name, "a path of the file system", "a string with lone surrogates");
  }
  std::string text(PyBytes_AS_STRING(encoded.ptr()), size_t(PyBytes_GET_SIZE(encoded.ptr())));
  if (text.find('\0') != std::string::npos) fail(name, "a path without NUL", describe(value));
  return {std::move(text)};
}

namespace {

struct Word {
  const char* text;
  int value;
};
// The value of one of `count` words.
int choose(Name name, PyObject* value, const Word* words, int count) {
  const char* text = load_text(name, value);
  // A NUL would hide the rest.
  if (std::strlen(text) != size_t(PyUnicode_GET_LENGTH(value))) text = "";
  for (int i = 0; i < count; ++i)
    if (!std::strcmp(text, words[i].text)) return words[i].value;
  std::string all;
  for (int i = 0; i < count; ++i)
    all += (i == 0 ? "'" : i + 1 < count ? ", '" : " or '") + std::string(words[i].text) + "'";
  fail(name, all, describe(value));
}

const Word kActivations[] = {{"linear", int(Activation::kLinear)},
                             {"tanh", int(Activation::kTanh)},
                             {"relu", int(Activation::kRelu)},
                             {"sigmoid", int(Activation::kSigmoid)},
                             {"hard_sigmoid", int(Activation::kHardSigmoid)},
                             {"softmax", int(Activation::kSoftmax)}};

}  // namespace

Activation Loader<Activation>::load(Name name, PyObject* value) {
  return Activation(choose(name, value, kActivations, 5));
}
OutputActivation Loader<OutputActivation>::load(Name name, PyObject* value) {
  return {Activation(choose(name, value, kActivations, 6))};
}
Cell Loader<Cell>::load(Name name, PyObject* value) {
  static const Word kCells[] = {{"rnn", int(Cell::kRnn)},
                                {"lstm", int(Cell::kLstm)},
                                {"gru", int(Cell::kGru)},
                                {"gru_reset_before", int(Cell::kGruResetBefore)}};
  return Cell(choose(name, value, kCells, int(std::size(kCells))));
}
DType Loader<DType>::load(Name name, PyObject* value) {
  static const Word kTypes[] = {{"float32", int(DType::kFloat32)},
                                {"float64", int(DType::kFloat64)}};
  return DType(choose(name, value, kTypes, 2));
}

// Lists
// ----------------------------------------------------------------------------------------------------------------------

Arrays Loader<Arrays>::load(Name name, PyObject* value) {
  const Items items(name, value, "a list or tuple of arrays");
  Arrays arrays;
  arrays.reserve(size_t(items.size()));
  for (Index i = 0; i < items.size(); ++i) arrays.push_back(items.array(i));
  return arrays;
}

Shape Loader<Shape>::load(Name name, PyObject* value) {
  constexpr Index kMost = 32;
  const Items items(name, value, "a tuple of sizes");
  if (items.size() > kMost)
    fail(name, "at most " + std::to_string(kMost) + " sizes", std::to_string(items.size()));
  Shape shape;
  for (Index i = 0; i < items.size(); ++i)
    shape.push_back(load_integer(Name(name.text, i), items[i].ptr(), 0, INT64_MAX));
  return shape;
}

std::vector<bool> Loader<std::vector<bool>>::load(Name name, PyObject* value) {
  const Items items(name, value, "a list or tuple of True or False");
  std::vector<bool> flags;
  for (Index i = 0; i < items.size(); ++i)
    flags.push_back(load_bool(Name(name.text, i), items[i].ptr()));
  return flags;
}

}  // namespace seqcore
