// One-line errors for arguments of the wrong kind, in place of pybind11's list of signatures.
#pragma once

#include "common.h"

namespace seqcore {

// A function's arguments as "name:kind name:kind? ...", `?` where None will do. Kinds: any, array, sequence, str, int, float,
// bool, or the name of a class of this module. Throws the TypeError that says which argument is wrong.
[[noreturn]] void explain(const char* function, const std::string& signature, const py::args& args, const py::kwargs& kwargs);

// Defines `name` and, behind it, an overload that is tried only where the first one refuses its arguments.
template <class F, class... Extra>
void define(py::module_& m, const char* name, const char* signature, F&& function, const Extra&... extra) {
  m.def(name, std::forward<F>(function), extra...);
  m.def(name, [name, signature](const py::args& args, const py::kwargs& kwargs) { explain(name, signature, args, kwargs); });
}
template <class Class, class F, class... Extra>
void define_method(Class& type, const char* name, const char* signature, F&& function, const Extra&... extra) {
  type.def(name, std::forward<F>(function), extra...);
  type.def(name, [name, signature](const py::object&, const py::args& args, const py::kwargs& kwargs) {
    explain(name, signature, args, kwargs);
  });
}

}  // namespace seqcore
