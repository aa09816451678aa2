// New arrays on memory of the pool.
#include "outputs.h"

#include "signature.h"

namespace seqcore {

py::object owner_of(std::shared_ptr<void> memory) {
  return make_object(std::static_pointer_cast<Memory>(std::move(memory)));
}

py::object array_on(py::object owner, PyObject* descriptor, void* data, const Shape& shape,
                    const Shape& strides, Index item_size, bool writeable) {
  const auto& api = py::detail::npy_api::get();
  Shape bytes;
  for (const Index stride : strides) bytes.push_back(stride * item_size);
  Py_INCREF(descriptor);  // NewFromDescr takes it over
  const auto array = py::reinterpret_steal<py::object>(api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descriptor, shape.rank(), shape.begin(), bytes.begin(), data,
      writeable ? py::detail::npy_api::NPY_ARRAY_WRITEABLE_ : 0, nullptr));
  if (!array || api.PyArray_SetBaseObject_(array.ptr(), owner.release().ptr()))
    throw py::error_already_set();
  return array;
}

}  // namespace seqcore
