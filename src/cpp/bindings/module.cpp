// The module: registers each topic.
#include "bindings.h"

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
  bind_context(m);
  bind_corpus(m);
  bind_dense(m);
  bind_embedding(m);
  bind_optimizer(m);
  bind_random(m);
  bind_recurrent(m);
  bind_sampling(m);
  bind_stream(m);
  bind_system(m);
  bind_word2vec(m);
}
