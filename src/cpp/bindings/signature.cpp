// Signatures: reading them, and arranging the arguments of a call.
#include "signature.h"

#include <pybind11/eval.h>

#include <cstring>
#include <new>
#include <stdexcept>

#include "../workspace.h"

namespace seqcore {
namespace {

constexpr unsigned char kSpace = ' ';

// The parts of `text` between commas outside brackets and quotes.
std::vector<std::string> split(const std::string& text) {
  std::vector<std::string> parts(1);
  int depth = 0;
  bool quote = false;
  for (const char letter : text) {
    if (letter == '\'') quote = !quote;
    if (!quote) depth += (letter == '(') - (letter == ')');
    if (letter == ',' && !depth && !quote)
      parts.emplace_back();
    else if (letter != kSpace || !parts.back().empty())
      parts.back() += letter;
  }
  if (parts.back().empty()) parts.pop_back();
  return parts;
}

[[noreturn]] void refuse(const std::string& name, const std::string& expected,
                         const std::string& came) {
  throw py::type_error(name + ": expected " + expected + ", got " + came);
}

}  // namespace

Signature::Signature(const char* text, bool self, int count) {
  const std::string all(text);
  const size_t open = all.find('(');
  const std::string inner = all.substr(open + 1, all.rfind(')') - open - 1);
  name_ = all.substr(0, open);
  // The form from which inspect.signature and help() read it, and again as the text of the
  // docstring.
  doc_ =
      name_ + "(" + (self ? inner.empty() ? "$self" : "$self, " : "") + inner + ")\n--\n\n" + all;
  bool by_name = false;
  for (const std::string& part : split(inner)) {
    if (part == "*") {
      by_name = true;
      continue;
    }
    const size_t equals = part.find('=');
    Parameter parameter{part.substr(0, equals), nullptr, nullptr};
    parameter.key = PyUnicode_InternFromString(parameter.name.c_str());
    if (equals != std::string::npos)
      parameter.default_value = py::eval(part.substr(equals + 1)).release().ptr();
    parameters_.push_back(std::move(parameter));
    positional_ += !by_name;
  }
  if (int(parameters_.size()) != count)
    throw std::logic_error(all + ": the function takes " + std::to_string(count));
}

void Signature::arrange(PyObject* const* args, Py_ssize_t count, PyObject* names,
                        PyObject** values) const {
  const size_t all = parameters_.size(), given = size_t(count);
  if (given > positional_)
    refuse(name_, "at most " + std::to_string(positional_) + " arguments by position",
           std::to_string(given));
  for (size_t i = 0; i < given; ++i) values[i] = args[i];
  for (size_t i = given; i < all; ++i) values[i] = nullptr;
  const Py_ssize_t named = names ? PyTuple_GET_SIZE(names) : 0;
  for (Py_ssize_t n = 0; n < named; ++n) {
    PyObject* key = PyTuple_GET_ITEM(names, n);
    size_t i = 0;
    while (i < all && parameters_[i].key != key) ++i;
    // Names that were put together at run time are equal without being the same object.
    if (i == all)
      for (i = 0; i < all && PyUnicode_Compare(parameters_[i].key, key) != 0;) ++i;
    if (i == all) {
      std::string known;
      for (const Parameter& parameter : parameters_)
        known += (known.empty() ? "" : ", ") + parameter.name;
      const bool plain = PyUnicode_IsIdentifier(key) == 1 && PyUnicode_AsUTF8(key);
      PyErr_Clear();
      refuse(plain ? PyUnicode_AsUTF8(key) : describe(key),
             "an argument of " + name_ + "(" + known + ")", "an unknown name");
    }
    if (values[i]) refuse(parameters_[i].name, "one value", "one by position and one by name");
    values[i] = args[count + n];
  }
  for (size_t i = 0; i < all; ++i) {
    if (values[i]) continue;
    if (!parameters_[i].default_value)
      refuse(parameters_[i].name, "an argument of " + name_, "none");
    values[i] = parameters_[i].default_value;
  }
}

void Signature::set_error() const noexcept {
  try {
    throw;
  } catch (py::error_already_set& error) {
    error.restore();
  } catch (const py::builtin_exception& error) {
    error.set_error();
  } catch (const OutOfMemory& error) {
    PyErr_Format(PyExc_MemoryError, "%s: expected %s to be free, got none", name(), error.what());
  } catch (const std::bad_alloc&) {
    PyErr_Format(PyExc_MemoryError,
                 "%s: expected memory for lists as long as its arguments to be free, got none",
                 name());
  } catch (const std::length_error&) {
    PyErr_Format(PyExc_MemoryError,
                 "%s: expected memory for lists longer than any can be, got none", name());
  } catch (const std::exception& error) {
    PyErr_Format(PyExc_RuntimeError, "%s: %s", name(), error.what());
  } catch (...) {
    PyErr_Format(PyExc_RuntimeError, "%s: unknown error", name());
  }
}

void refuse_class(Name name, const PyTypeObject* type, PyObject* value) {
  fail_type(name, std::string("an object of class ") + (std::strrchr(type->tp_name, '.') + 1),
            value);
}

namespace {

// Lives as long as the process, as the function does.
PyMethodDef* definition(const Signature& signature, VectorCall call) {
  return new PyMethodDef{signature.name(),
                         reinterpret_cast<PyCFunction>(reinterpret_cast<void*>(call)),
                         METH_FASTCALL | METH_KEYWORDS, signature.doc()};
}

}  // namespace

void add_function(py::module_& m, const Signature& signature, VectorCall call) {
  const py::object module_name = m.attr("__name__");
  m.attr(signature.name()) = py::reinterpret_steal<py::object>(
      PyCFunction_NewEx(definition(signature, call), m.ptr(), module_name.ptr()));
}

void add_method(PyTypeObject* type, const Signature& signature, VectorCall call) {
  const auto method =
      py::reinterpret_steal<py::object>(PyDescr_NewMethod(type, definition(signature, call)));
  py::handle(reinterpret_cast<PyObject*>(type)).attr(signature.name()) = method;
}

PyObject* call_with_tuple(VectorCall call, PyObject* args, PyObject* keywords) {
  std::vector<PyObject*> values;
  for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); ++i)
    values.push_back(PyTuple_GET_ITEM(args, i));
  py::object names;
  if (keywords && PyDict_GET_SIZE(keywords)) {
    names = py::reinterpret_steal<py::object>(PyTuple_New(PyDict_GET_SIZE(keywords)));
    PyObject *key, *value;
    for (Py_ssize_t at = 0, n = 0; PyDict_Next(keywords, &at, &key, &value); ++n) {
      PyTuple_SET_ITEM(names.ptr(), n, py::reinterpret_borrow<py::object>(key).release().ptr());
      values.push_back(value);
    }
  }
  return call(nullptr, values.data(), PyTuple_GET_SIZE(args), names.ptr());
}

PyTypeObject* make_class(py::module_& m, const char* name, const char* doc, int size, newfunc make,
                         destructor destroy) {
  const std::string full = m.attr("__name__").cast<std::string>() + "." + name;
  std::vector<PyType_Slot> slots{{Py_tp_dealloc, reinterpret_cast<void*>(destroy)}};
  if (doc) slots.push_back({Py_tp_doc, const_cast<char*>(doc)});
  if (make) slots.push_back({Py_tp_new, reinterpret_cast<void*>(make)});
  slots.push_back({0, nullptr});
  const unsigned flags =
      Py_TPFLAGS_DEFAULT | (make ? 0u : unsigned(Py_TPFLAGS_DISALLOW_INSTANTIATION));
  // Python reads the name from here as long as the class lives.
  char* kept = strdup(full.c_str());
  PyType_Spec spec{kept, size, 0, flags, slots.data()};
  auto type = py::reinterpret_steal<py::object>(PyType_FromSpec(&spec));
  if (!type) throw py::error_already_set();
  m.attr(name) = type;
  return reinterpret_cast<PyTypeObject*>(type.release().ptr());
}

}  // namespace seqcore
