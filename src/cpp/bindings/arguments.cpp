// Finds the argument that made pybind11 refuse a call.
#include "arguments.h"

#include <sstream>

namespace seqcore {
namespace {

struct Argument {
  std::string name, kind;
  bool may_be_none;
};

std::vector<Argument> parse(const std::string& signature) {
  std::vector<Argument> arguments;
  std::istringstream stream(signature);
  for (std::string word; stream >> word;) {
    const bool optional = word.back() == '?';
    if (optional) word.pop_back();
    const size_t colon = word.find(':');
    arguments.push_back({word.substr(0, colon), word.substr(colon + 1), optional});
  }
  return arguments;
}

bool fits(const py::handle& value, const Argument& argument) {
  if (value.is_none()) return argument.may_be_none;
  if (argument.kind == "any") return true;
  if (argument.kind == "array") return py::isinstance<py::array>(value);
  if (argument.kind == "sequence") return PySequence_Check(value.ptr()) && !py::isinstance<py::str>(value);
  if (argument.kind == "str") return py::isinstance<py::str>(value);
  if (argument.kind == "int") return PyIndex_Check(value.ptr());
  if (argument.kind == "float") return PyFloat_Check(value.ptr()) || PyIndex_Check(value.ptr());
  if (argument.kind == "bool") return PyBool_Check(value.ptr());
  return py::str(py::type::of(value).attr("__name__")).cast<std::string>() == argument.kind;
}

std::string kind_in_words(const Argument& argument) {
  static const std::pair<const char*, const char*> kWords[] = {{"array", "an array"},
                                                               {"sequence", "a sequence"},
                                                               {"str", "a string"},
                                                               {"int", "an integer"},
                                                               {"float", "a number"},
                                                               {"bool", "True or False"},
                                                               {"Saved", "what a forward call saved"},
                                                               {"PackedWeights", "PackedWeights"},
                                                               {"AliasTable", "an AliasTable"}};
  for (const auto& [kind, words] : kWords)
    if (argument.kind == kind) return std::string(words) + (argument.may_be_none ? " or None" : "");
  return argument.kind;
}

}  // namespace

void explain(const char* function, const std::string& signature, const py::args& args, const py::kwargs& kwargs) {
  const auto arguments = parse(signature);
  const auto refuse = [](const Argument& argument, const py::handle& value) {
    throw py::type_error(argument.name + ": expected " + kind_in_words(argument) + ", got " +
                         py::str(py::type::of(value).attr("__name__")).cast<std::string>());
  };
  for (size_t i = 0; i < args.size() && i < arguments.size(); ++i)
    if (!fits(args[i], arguments[i])) refuse(arguments[i], args[i]);
  for (const auto& [key, value] : kwargs) {
    const auto name = key.cast<std::string>();
    bool known = false;
    for (const auto& argument : arguments) {
      if (argument.name != name) continue;
      known = true;
      if (!fits(value, argument)) refuse(argument, value);
    }
    if (!known) throw py::type_error(name + ": expected no argument of this name in " + function);
  }
  std::string names;
  for (const auto& argument : arguments) names += (names.empty() ? "" : ", ") + argument.name;
  throw py::type_error(std::string(function) + ": expected the arguments (" + names + "), got " + std::to_string(args.size()) +
                       " by position and " + std::to_string(kwargs.size()) + " by name, or a number out of range");
}

}  // namespace seqcore
