// New arrays, threads, the rows of a batch.
#include "common.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace seqcore {

py::object array_on(std::shared_ptr<void> owner, PyObject* descriptor, void* data,
                    const Shape& shape, const Shape& strides, Index item_size, bool writeable) {
  const auto& api = py::detail::npy_api::get();
  Shape bytes;
  for (const Index stride : strides) bytes.push_back(stride * item_size);
  py::object base = make_object(std::static_pointer_cast<Memory>(std::move(owner)));
  Py_INCREF(descriptor);  // NewFromDescr takes it over
  const auto array = py::reinterpret_steal<py::object>(api.PyArray_NewFromDescr_(
      api.PyArray_Type_, descriptor, shape.rank(), shape.begin(), bytes.begin(), data,
      writeable ? py::detail::npy_api::NPY_ARRAY_WRITEABLE_ : 0, nullptr));
  if (!array || api.PyArray_SetBaseObject_(array.ptr(), base.release().ptr()))
    throw py::error_already_set();
  return array;
}

void run_released(int threads, const std::function<void(const Team&)>& work) {
  bool finished;
  {
    const py::gil_scoped_release release;
    finished = run(threads, work);
  }
  if (!finished) throw py::error_already_set();
}

Shape bias_shape(Cell cell, Index units) {
  if (cell == Cell::kGru) return {2, 3 * units};
  return {gates_of(cell) * units};
}

void require_rows(Name name, Index batch, Index steps) {
  if (batch > kMaxRows || steps > kMaxRows)
    fail(name, "at most " + std::to_string(kMaxRows) + " sequences and steps",
         std::to_string(batch) + " and " + std::to_string(steps));
}

void Rows::build(Index batch_size, Index step_count, const OptionalArray& lengths_array,
                 const OptionalArray& mask_array, int directions, const bool* reverse) {
  batch = batch_size;
  steps = step_count;
  require_memory(size_t(2 * batch) * sizeof(int32_t) +
                 size_t(steps) * (sizeof(int32_t) + sizeof(Index)));
  if (lengths_array && mask_array) fail("mask", "lengths or mask", "both");
  const int32_t* given = read<int32_t>(lengths_array, {batch});
  const auto* valid = reinterpret_cast<const uint8_t*>(read<bool>(mask_array, {batch, steps}));
  lengths.assign(size_t(batch), int32_t(steps));
  order.resize(size_t(batch));
  std::iota(order.begin(), order.end(), 0);
  if (given) {
    for (Index b = 0; b < batch; ++b)
      if (given[b] < 0 || given[b] > steps)
        fail("lengths", "integers 0..." + std::to_string(steps),
             std::to_string(given[b]) + " at " + std::to_string(b));
    lengths.assign(given, given + batch);
    ragged = std::any_of(lengths.begin(), lengths.end(), [&](int32_t n) { return n != steps; });
    if (ragged)
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return lengths[size_t(a)] > lengths[size_t(b)];
      });
  }
  active.assign(size_t(steps) + 1, 0);
  offset.assign(size_t(steps) + 1, 0);
  Index j = batch;
  for (Index s = 0; s < steps; ++s) {
    while (j > 0 && lengths[size_t(order[size_t(j - 1)])] <= s) --j;
    active[size_t(s)] = int32_t(j);
    offset[size_t(s) + 1] = offset[size_t(s)] + j;
  }
  if (!valid) return;
  masked = true;
  mask.assign(valid, valid + batch * steps);
  for (int d = 0; d < directions; ++d) {
    first_valid[d].assign(size_t(batch), int32_t(steps));
    for (Index b = 0; b < batch; ++b)
      for (Index s = steps - 1; s >= 0; --s)
        if (mask[size_t(b * steps + (reverse[d] ? steps - 1 - s : s))])
          first_valid[d][size_t(b)] = int32_t(s);
  }
}

PackedBatch Rows::map(int direction) const {
  return {batch,
          steps,
          offset[size_t(steps)],
          order.data(),
          lengths.data(),
          active.data(),
          offset.data(),
          masked ? mask.data() : nullptr,
          masked ? first_valid[direction].data() : nullptr};
}

}  // namespace seqcore
