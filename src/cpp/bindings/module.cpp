// The module, with a submodule for each topic.
#include "bindings.h"

namespace {

const struct {
  const char* name;
  void (*bind)(pybind11::module_&);
} kTopics[] = {
    {"context", seqcore::bind_context},     {"corpus", seqcore::bind_corpus},
    {"dense", seqcore::bind_dense},         {"embedding", seqcore::bind_embedding},
    {"optimizer", seqcore::bind_optimizer}, {"random", seqcore::bind_random},
    {"recurrent", seqcore::bind_recurrent}, {"sampling", seqcore::bind_sampling},
    {"stream", seqcore::bind_stream},       {"system", seqcore::bind_system},
    {"word2vec", seqcore::bind_word2vec},
};

}  // namespace

PYBIND11_MODULE(_core, m) {
  using namespace seqcore;
  m.doc() = "Kernels of seqcore; see the Python layer for what they mean.";
  try {
    // An unknown or unsupported SEQCORE_ISA, or a SEQCORE_NUM_THREADS without sense, is an error of
    // the import.
    table();
    thread_count();
  } catch (const std::runtime_error& error) {
    throw py::import_error(error.what());
  }
  init_workspace();
  set_poll([] {
    const py::gil_scoped_acquire gil;
    return PyErr_CheckSignals() != 0;
  });
  Class<Memory>(m, "_Memory");
  for (const auto& topic : kTopics) {
    py::module_ submodule = m.def_submodule(topic.name);
    topic.bind(submodule);
  }
}
