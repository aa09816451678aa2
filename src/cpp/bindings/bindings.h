// Everything that the bindings of a topic need.
#pragma once

#include <string>

#include "../dispatch.h"
#include "arguments.h"
#include "batch_layout.h"
#include "cell_shapes.h"
#include "gil.h"
#include "outputs.h"
#include "signature.h"
#include "thread_plan.h"

namespace seqcore {

// Calls f(T()) for the type named by a dtype argument, or held by an array.
template <class F>
auto with_dtype(DType dtype, F f) {
  return dtype == DType::kFloat32 ? f(float()) : f(double());
}
template <class F>
auto with_type_of(const Array& array, F f) {
  if (array.holds<float>()) return f(float());
  if (array.holds<double>()) return f(double());
  fail_type(array.name(), "an array of float32 or float64", array.object());
}

// `wanted`: products of bfloat16 pairs. Throws if they cannot be made for T on this processor.
template <class T>
bool checked_mixed(bool wanted) {
  if (wanted && !(table().bfloat16 && sizeof(T) == sizeof(float)))
    fail("mixed", "float32 arrays and a processor with AVX-512 BF16",
         sizeof(T) == sizeof(float) ? std::string(table().name) : std::string("float64"));
  return wanted;
}

void bind_context(py::module_& m);
void bind_corpus(py::module_& m);
void bind_dense(py::module_& m);
void bind_embedding(py::module_& m);
void bind_optimizer(py::module_& m);
void bind_random(py::module_& m);
void bind_recurrent(py::module_& m);
void bind_sampling(py::module_& m);
void bind_stream(py::module_& m);
void bind_system(py::module_& m);
void bind_word2vec(py::module_& m);

}  // namespace seqcore
