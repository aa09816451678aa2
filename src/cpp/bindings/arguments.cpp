// Numbers, names and lists as arguments.
#include "arguments.h"

#include <cmath>
#include <cstring>
#include <iterator>

#include "cell_shapes.h"

namespace seqcore {
namespace {

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
  constexpr int count = int(std::size(kCells));
  Word words[count];
  for (int i = 0; i < count; ++i) words[i] = {kCells[i].name, i};
  return Cell(choose(name, value, words, count));
}
WeightLayout Loader<WeightLayout>::load(Name name, PyObject* value) {
  static const Word kLayouts[] = {{"keras", int(WeightLayout::kKeras)},
                                  {"torch", int(WeightLayout::kTorch)}};
  return WeightLayout(choose(name, value, kLayouts, 2));
}
DType Loader<DType>::load(Name name, PyObject* value) {
  static const Word kTypes[] = {{"float32", int(DType::kFloat32)},
                                {"float64", int(DType::kFloat64)}};
  return DType(choose(name, value, kTypes, 2));
}

Arrays Loader<Arrays>::load(Name name, PyObject* value) {
  const Items items(name, value, "a list or tuple of arrays");
  Arrays arrays;
  arrays.reserve(size_t(items.size()));
  for (Index i = 0; i < items.size(); ++i) arrays.push_back(items.array(i));
  return arrays;
}

Shape Loader<Shape>::load(Name name, PyObject* value) {
  constexpr Index kMax = 32;
  const Items items(name, value, "a tuple of sizes");
  if (items.size() > kMax)
    fail(name, "at most " + std::to_string(kMax) + " sizes", std::to_string(items.size()));
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
