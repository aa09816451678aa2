// The types that a bound function may take: each has a Loader here, which accepts exactly that or
// throws one line "name: expected X, got Y".
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "arrays.h"

namespace seqcore {

// A number that is neither NaN nor infinite.
struct Finite {
  double value;
  operator double() const { return value; }
};
// A string without NUL, as the file system has it.
struct Path {
  std::string text;
};
// The activations that only a last layer may have: softmax.
struct OutputActivation {
  Activation value;
  operator Activation() const { return value; }
};
enum class DType { kFloat32, kFloat64 };
// Anything; the function looks at it.
struct Anything {
  Name name;
  py::object value;
};

// load(name, value): the value as a T.
template <class T>
struct Loader;

int64_t load_integer(Name name, PyObject* value, int64_t low, int64_t high);
uint64_t load_unsigned(Name name, PyObject* value);
double load_number(Name name, PyObject* value);
bool load_bool(Name name, PyObject* value);
const char* load_text(Name name, PyObject* value);

template <>
struct Loader<Index> {
  static Index load(Name name, PyObject* value) {
    return load_integer(name, value, INT64_MIN, INT64_MAX);
  }
};
template <>
struct Loader<int> {
  static int load(Name name, PyObject* value) {
    return int(load_integer(name, value, INT32_MIN, INT32_MAX));
  }
};
template <>
struct Loader<uint32_t> {
  static uint32_t load(Name name, PyObject* value) {
    return uint32_t(load_integer(name, value, 0, UINT32_MAX));
  }
};
template <>
struct Loader<uint64_t> {
  static uint64_t load(Name name, PyObject* value) { return load_unsigned(name, value); }
};
template <>
struct Loader<double> {
  static double load(Name name, PyObject* value) { return load_number(name, value); }
};
template <>
struct Loader<Finite> {
  static Finite load(Name name, PyObject* value);
};
template <>
struct Loader<bool> {
  static bool load(Name name, PyObject* value) { return load_bool(name, value); }
};
template <>
struct Loader<Path> {
  static Path load(Name name, PyObject* value);
};
template <>
struct Loader<Cell> {
  static Cell load(Name name, PyObject* value);
};
template <>
struct Loader<WeightLayout> {
  static WeightLayout load(Name name, PyObject* value);
};
template <>
struct Loader<Activation> {
  static Activation load(Name name, PyObject* value);
};
template <>
struct Loader<OutputActivation> {
  static OutputActivation load(Name name, PyObject* value);
};
template <>
struct Loader<DType> {
  static DType load(Name name, PyObject* value);
};
template <>
struct Loader<Anything> {
  static Anything load(Name name, PyObject* value) {
    return {name, py::reinterpret_borrow<py::object>(value)};
  }
};
template <>
struct Loader<Array> {
  static Array load(Name name, PyObject* value) { return {name, value}; }
};
template <>
struct Loader<Items> {
  static Items load(Name name, PyObject* value) { return {name, value}; }
};
template <>
struct Loader<Arrays> {
  static Arrays load(Name name, PyObject* value);
};
template <>
struct Loader<Shape> {
  static Shape load(Name name, PyObject* value);
};
template <>
struct Loader<std::vector<bool>> {
  static std::vector<bool> load(Name name, PyObject* value);
};
template <class T>
struct Loader<std::optional<T>> {
  static std::optional<T> load(Name name, PyObject* value) {
    return value == Py_None ? std::optional<T>() : std::optional<T>(Loader<T>::load(name, value));
  }
};

}  // namespace seqcore
