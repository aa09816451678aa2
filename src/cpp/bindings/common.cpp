// Shared checks and conversions of the bindings.
#include "common.h"

#include <algorithm>
#include <limits>
#include <numeric>

namespace seqcore {

std::string describe(const Shape& shape) {
  std::string text = "(";
  for (size_t i = 0; i < shape.size(); ++i)
    text += (i ? ", " : "") + (shape[i] < 0 ? std::string("any") : std::to_string(shape[i]));
  return text + (shape.size() == 1 ? ",)" : ")");
}

std::string describe(const py::array& array) {
  return std::string(py::str(array.dtype())) + " of shape " + describe(Shape(array.shape(), array.shape() + array.ndim()));
}

void fail(std::string_view name, const std::string& expected, const std::string& came) {
  throw py::value_error(std::string(name) + ": expected " + expected + ", got " + came);
}

template <class T>
Sequence<T> sequence_of(std::string_view name, const py::array& array, const Shape& shape) {
  using Element = std::remove_const_t<T>;
  require_type<Element>(name, array);
  bool right = array.ndim() == 3;
  for (int i = 0; right && i < 3; ++i) right = shape[i] < 0 || array.shape(i) == shape[i];
  if (!right) fail(name, "shape " + describe(shape), describe(array));
  constexpr Index size = sizeof(Element);
  if ((array.shape(2) > 1 && array.strides(2) != size) || array.strides(0) % size || array.strides(1) % size)
    fail(name, "contiguous features", describe(array) + " with other strides");
  return {static_cast<Element*>(const_cast<void*>(array.data())), array.strides(0) / size, array.strides(1) / size};
}
template Sequence<const float> sequence_of<const float>(std::string_view, const py::array&, const Shape&);
template Sequence<const double> sequence_of<const double>(std::string_view, const py::array&, const Shape&);

int threads_for(double flops) {
  constexpr double kWorthwhile = 1e6;  // about 5 µs of one core: what waking the others costs
  constexpr double kShort = 2e8;       // about the time slice of a system
  return flops < kWorthwhile || (flops < kShort && crowded()) ? 1 : thread_count();
}

void run_released(int threads, const std::function<void(const Team&)>& work) {
  bool finished;
  {
    const py::gil_scoped_release release;
    finished = run(threads, work);
  }
  if (!finished) throw py::error_already_set();
}

Activation activation_of(const std::string& argument, const std::string& name, bool softmax) {
  if (name == "linear") return Activation::kLinear;
  if (name == "tanh") return Activation::kTanh;
  if (name == "relu") return Activation::kRelu;
  if (name == "sigmoid") return Activation::kSigmoid;
  if (name == "hard_sigmoid") return Activation::kHardSigmoid;
  if (name == "softmax" && softmax) return Activation::kSoftmax;
  fail(argument,
       std::string("'linear', 'tanh', 'relu', 'sigmoid'") + (softmax ? ", 'hard_sigmoid' or 'softmax'" : " or 'hard_sigmoid'"),
       "'" + name + "'");
}

Cell cell_of(const std::string& name) {
  if (name == "rnn") return Cell::kRnn;
  if (name == "lstm") return Cell::kLstm;
  if (name == "gru") return Cell::kGru;
  if (name == "gru_reset_before") return Cell::kGruResetBefore;
  fail("cell", "'rnn', 'lstm', 'gru' or 'gru_reset_before'", "'" + name + "'");
}

Index gates_of(Cell cell) { return cell == Cell::kRnn ? 1 : cell == Cell::kLstm ? 4 : 3; }

Shape bias_shape(Cell cell, Index units) {
  if (cell == Cell::kGru) return {2, 3 * units};
  return {gates_of(cell) * units};
}

void Rows::build(Index batch_size, Index step_count, const py::object& lengths_array, const py::object& mask_array,
                 int directions, const bool* reverse) {
  batch = batch_size;
  steps = step_count;
  // Their numbers are kept as int32.
  constexpr Index kMost = std::numeric_limits<int32_t>::max();
  if (batch > kMost || steps > kMost)
    fail("x", "at most " + std::to_string(kMost) + " sequences and time steps", describe(Shape{batch, steps}));
  if (!lengths_array.is_none() && !mask_array.is_none()) throw py::value_error("mask: expected lengths or mask, got both");
  lengths.assign(batch, int32_t(steps));
  order.resize(batch);
  std::iota(order.begin(), order.end(), 0);
  if (!lengths_array.is_none()) {
    const int32_t* given = contiguous<int32_t>("lengths", lengths_array.cast<py::array>(), {batch});
    for (Index b = 0; b < batch; ++b)
      if (given[b] < 0 || given[b] > steps)
        fail("lengths", "integers 0..." + std::to_string(steps), std::to_string(given[b]) + " at " + std::to_string(b));
    lengths.assign(given, given + batch);
    ragged = std::any_of(lengths.begin(), lengths.end(), [&](int32_t n) { return n != steps; });
    if (ragged) std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return lengths[a] > lengths[b]; });
  }
  active.assign(steps + 1, 0);
  offset.assign(steps + 1, 0);
  Index j = batch;
  for (Index s = 0; s < steps; ++s) {
    while (j > 0 && lengths[order[j - 1]] <= s) --j;
    active[s] = int32_t(j);
    offset[s + 1] = offset[s] + j;
  }
  if (mask_array.is_none()) return;
  mask = mask_array.cast<py::array>();
  mask_data = reinterpret_cast<const uint8_t*>(contiguous<bool>("mask", mask, {batch, steps}));
  for (int d = 0; d < directions; ++d) {
    first_valid[d].assign(batch, int32_t(steps));
    for (Index b = 0; b < batch; ++b)
      for (Index s = steps - 1; s >= 0; --s)
        if (mask_data[b * steps + (reverse[d] ? steps - 1 - s : s)]) first_valid[d][b] = int32_t(s);
  }
}

RowMap Rows::map(int direction) const {
  return {batch,         steps,          offset[steps],
          order.data(),  lengths.data(), active.data(),
          offset.data(), mask_data,      mask_data ? first_valid[direction].data() : nullptr};
}

}  // namespace seqcore
