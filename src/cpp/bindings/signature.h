// Functions and classes of the module. A signature is written once, as Python shows it:
// "softmax(x)", "dropout_mask(shape, rate, seed, stream, call, dtype='float32')". The type of the
// C++ parameter in the same place decides which values are accepted (arguments.h). A call costs a
// fraction of a microsecond: arguments come as an array (METH_FASTCALL), each is read once, and
// there are no overloads.
#pragma once

#include <memory>
#include <tuple>
#include <utility>

#include "arguments.h"

namespace seqcore {

// The parameters of a function, read from its signature.
class Signature {
 public:
  // `self`: a method, whose object is no parameter here. `count`: parameters of the C++ function.
  Signature(const char* text, bool self, int count);

  const char* name() const { return name_.c_str(); }
  const char* doc() const { return doc_.c_str(); }
  const char* parameter(size_t i) const { return parameters_[i].name.c_str(); }
  // Puts the arguments of a call in the order of the parameters, defaults included; the references
  // are borrowed.
  void arrange(PyObject* const* args, Py_ssize_t count, PyObject* names, PyObject** values) const;
  // Sets Python's error for the C++ exception that is being handled.
  void set_error() const noexcept;

 private:
  struct Parameter {
    std::string name;
    PyObject *key, *default_value;  // the name as a Python string; null: none
  };
  std::string name_, doc_;
  std::vector<Parameter> parameters_;
  size_t positional_ = 0;
};

// Objects of a Python class that holds a C. None exists without one: the class makes both in
// __new__.
template <class C>
struct Object {
  PyObject_HEAD std::shared_ptr<C> value;
};
// The Python class of C.
template <class C>
inline PyTypeObject* class_of = nullptr;

template <class C>
py::object make_object(std::shared_ptr<C> value) {
  PyObject* made = class_of<C>->tp_alloc(class_of<C>, 0);
  if (!made) throw py::error_already_set();
  new (&reinterpret_cast<Object<C>*>(made)->value) std::shared_ptr<C>(std::move(value));
  return py::reinterpret_steal<py::object>(made);
}
template <class C>
const std::shared_ptr<C>& value_of(PyObject* object) {
  return reinterpret_cast<Object<C>*>(object)->value;
}
[[noreturn]] void refuse_class(Name name, const PyTypeObject* type, PyObject* value);

// An object of a class, or with a pointer None too. The caller holds it as long as the call takes.
template <class C>
struct Loader<C&> {
  static C& load(Name name, PyObject* value) {
    using Class = std::remove_const_t<C>;
    if (Py_TYPE(value) != class_of<Class>) refuse_class(name, class_of<Class>, value);
    return *value_of<Class>(value);
  }
};
template <class C>
struct Loader<C*> {
  static C* load(Name name, PyObject* value) {
    return value == Py_None ? nullptr : &Loader<C&>::load(name, value);
  }
};

inline PyObject* to_python(py::object&& value) { return value.release().ptr(); }
inline PyObject* to_python(double value) { return PyFloat_FromDouble(value); }
inline PyObject* to_python(bool value) { return PyBool_FromLong(value); }
inline PyObject* to_python(Index value) { return PyLong_FromSsize_t(value); }
inline PyObject* to_python(int value) { return PyLong_FromLong(value); }
template <class C>
PyObject* to_python(std::shared_ptr<C>&& value) {
  return make_object(std::move(value)).release().ptr();
}

// The type that a parameter A is loaded as: itself without const and &, or a reference to one of
// our classes.
template <class T, class = void>
struct HasLoader : std::false_type {};
template <class T>
struct HasLoader<T, std::void_t<decltype(&Loader<T>::load)>> : std::true_type {};
template <class A>
using Plain = std::remove_const_t<std::remove_reference_t<A>>;
template <class A>
using Loaded = std::conditional_t<HasLoader<Plain<A>>::value, Plain<A>, A>;

// Loads the arguments of a bound function F and calls it; all follows from the type of F.
template <class... A>
struct Parameters {
  static constexpr int kCount = sizeof...(A);
  template <size_t... I>
  static auto load(const Signature& signature, PyObject* const* values, std::index_sequence<I...>) {
    // In braces, so that the first wrong argument is the one that is named.
    return std::tuple<Loaded<A>...>{Loader<Loaded<A>>::load(signature.parameter(I), values[I])...};
  }
  // Arranges and checks the arguments and calls f with them.
  template <class F>
  static PyObject* call(const Signature& signature, PyObject* const* args, Py_ssize_t count,
                        PyObject* names, F f) noexcept {
    try {
      PyObject* values[kCount + 1];
      signature.arrange(args, count, names, values);
      auto loaded = load(signature, values, std::index_sequence_for<A...>());
      using R = decltype(std::apply(f, loaded));
      if constexpr (std::is_void_v<R>) {
        std::apply(f, loaded);
        Py_RETURN_NONE;
      } else {
        return to_python(std::apply(f, loaded));
      }
    } catch (...) {
      signature.set_error();
      return nullptr;
    }
  }
};

template <auto F>
struct Bound;
template <class R, class... A, R (*F)(A...)>
struct Bound<F> : Parameters<A...> {
  static inline const Signature* signature = nullptr;
  static PyObject* vector_call(PyObject*, PyObject* const* args, Py_ssize_t count,
                               PyObject* names) {
    return Bound::call(*signature, args, count, names, F);
  }
};
template <class C, class R, class... A, R (C::*F)(A...)>
struct Bound<F> : Parameters<A...> {
  using Class = C;
  static inline const Signature* signature = nullptr;
  static PyObject* vector_call(PyObject* self, PyObject* const* args, Py_ssize_t count,
                               PyObject* names) {
    const std::shared_ptr<C>& value = value_of<C>(self);
    return Bound::call(*signature, args, count, names,
                       [&](auto&... loaded) -> R { return ((*value).*F)(loaded...); });
  }
};

using VectorCall = PyObject* (*)(PyObject*, PyObject* const*, Py_ssize_t, PyObject*);
void add_function(py::module_& m, const Signature& signature, VectorCall call);
void add_method(PyTypeObject* type, const Signature& signature, VectorCall call);
// Calls `call` with the arguments that __new__ gets.
PyObject* call_with_tuple(VectorCall call, PyObject* args, PyObject* keywords);
PyTypeObject* make_class(py::module_& m, const char* name, const char* doc, int size, newfunc make,
                         destructor destroy);

// define<&f>(m, "f(x, n=1)"): the function f of the module.
template <auto F>
void define(py::module_& m, const char* signature) {
  Bound<F>::signature = new Signature(signature, false, Bound<F>::kCount);
  add_function(m, *Bound<F>::signature, Bound<F>::vector_call);
}

// Class<C>(m, "C") has no constructor; Class<C, &f>(m, "C(x)") is made by f, which returns a
// shared_ptr<C>.
template <class C, auto kMake = nullptr>
class Class {
 public:
  Class(py::module_& m, const char* signature) {
    if constexpr (std::is_null_pointer_v<decltype(kMake)>) {
      class_of<C> = make_class(m, signature, nullptr, sizeof(Object<C>), nullptr, destroy);
    } else {
      Bound<kMake>::signature = new Signature(signature, false, Bound<kMake>::kCount);
      class_of<C> = make_class(m, Bound<kMake>::signature->name(), Bound<kMake>::signature->doc(),
                               sizeof(Object<C>), make, destroy);
    }
  }
  template <auto F>
  Class& method(const char* signature) {
    Bound<F>::signature = new Signature(signature, true, Bound<F>::kCount);
    add_method(class_of<C>, *Bound<F>::signature, Bound<F>::vector_call);
    return *this;
  }
  // F(): a property that cannot be set.
  template <Index (C::*F)() const>
  Class& property(const char* name) {
    static PyGetSetDef definition{
        name, [](PyObject* self, void*) { return to_python((value_of<C>(self).get()->*F)()); },
        nullptr, nullptr, nullptr};
    const auto descriptor =
        py::reinterpret_steal<py::object>(PyDescr_NewGetSet(class_of<C>, &definition));
    py::handle(reinterpret_cast<PyObject*>(class_of<C>)).attr(name) = descriptor;
    return *this;
  }

 private:
  static PyObject* make(PyTypeObject*, PyObject* args, PyObject* keywords) {
    return call_with_tuple(Bound<kMake>::vector_call, args, keywords);
  }
  static void destroy(PyObject* self) {
    PyTypeObject* type = Py_TYPE(self);
    reinterpret_cast<Object<C>*>(self)->value.~shared_ptr();
    type->tp_free(self);
    Py_DECREF(type);
  }
};

}  // namespace seqcore
