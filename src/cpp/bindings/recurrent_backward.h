// The backward pass of a recurrent layer: gradients of its input, its weights and its first states.
#pragma once

#include <cstring>

#include "recurrent_forward.h"

namespace seqcore {

// One backward pass; several threads may ask for one of the same forward pass.
template <class T>
class RecurrentBackward {
 public:
  RecurrentBackward(RecurrentForward<T>& forward, const BackwardArguments& given)
      : forward_(forward), given_(given), call_(forward.call()) {
    require_size(given.dstates, call_.directions, "gradients, one per direction");
    require_size(given.out, call_.directions, "tuples of arrays, one per direction");
  }

  py::tuple run() {
    auto& c = call_;
    take_dy();
    const py::object dx = make_dx();
    py::list weights, initial, steps;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      take_state_gradients(d);
      dir.dh0 = dir.dc0 = nullptr;
      if (given_.need_initial) initial.append(forward_.new_states(dir.dh0, dir.dc0));
      dir.dkernel = dir.drecurrent = dir.dbias = dir.drecurrent_bias = nullptr;
      if (given_.need_weights) weights.append(weight_gradients(d));
      dir.scratch_state = scratch(3 * c.batch * forward_.sizes().state_stride);
      dir.scratch_pack = scratch(forward_.sizes().backward_pack);
      dir.step_gradients = given_.step_gradients ? scratch(forward_.rows() * c.units) : nullptr;
    }
    c.scratch_thread = scratch(forward_.threads() * forward_.sizes().thread_scratch);
    require_own_memory();
    forward_.run_backward(c);
    for (int d = 0; d < c.directions; ++d)
      if (second_dbias_[d])
        std::memcpy(second_dbias_[d], c.direction[d].dbias,
                    sizeof(T) * size_t(gates_of(c.cell) * c.units));
    for (int d = 0; d < c.directions && given_.step_gradients; ++d)
      steps.append(by_step(c.direction[d]));
    return py::make_tuple(dx, given_.need_weights ? py::object(weights) : py::none(),
                          given_.need_initial ? py::object(initial) : py::none(),
                          given_.step_gradients ? py::object(steps) : py::none());
  }

 private:
  T* scratch(Index count) {
    scratch_.push_back(pool_alloc_array<T>(count));
    return scratch_.back().get();
  }

  void take_dy() {
    auto& c = call_;
    const Index columns = c.directions * c.units;
    c.dy = {};
    if (!given_.dy) return;
    if (!c.return_sequences)
      c.dy = {given_.dy->read<T>({c.batch, columns}), columns, 0};
    else if (c.unpadded)
      c.dy = {given_.dy->read<T>({forward_.rows(), columns}), columns, columns};
    else
      c.dy = given_.dy->sequence<T>({c.batch, c.steps, columns});
  }

  py::object make_dx() {
    auto& c = call_;
    c.dx = {};
    if (!given_.need_dx) return py::none();
    const py::object dx = c.unpadded ? new_array<T>({forward_.rows(), c.features})
                                     : new_sequence<T>(c.batch, c.steps, c.features);
    c.dx = {data_of<T>(dx), c.features, c.unpadded ? c.features : c.batch * c.features};
    return dx;
  }

  void take_state_gradients(int d) {
    auto& dir = call_.direction[d];
    const Shape shape{call_.batch, call_.units};
    const char* expected = state_names(call_.cell);
    const OptionalItems states =
        given_.dstates ? given_.dstates->optional_items(d, expected) : OptionalItems();
    require_size(states, state_count(call_.cell), expected);
    for (int i = 0; states && i < state_count(call_.cell); ++i)
      dstates_[d][i] = states->optional_array(i, "dstates");
    dir.dh_last = read<T>(dstates_[d][0], shape);
    dir.dc_last = read<T>(dstates_[d][1], shape);
  }

  py::tuple weight_gradients(int d) {
    auto& c = call_;
    auto& dir = c.direction[d];
    const Index columns = gates_of(c.cell) * c.units;
    const WeightArrays arrays = weight_arrays(c.layout);
    const OptionalItems out =
        given_.out ? given_.out->optional_items(d, arrays.names) : OptionalItems();
    require_size(out, arrays.count, arrays.names);
    const py::object kernel =
                         outputs_.array<T>(out, 0, weight_shape(c.layout, c.features, columns)),
                     recurrent =
                         outputs_.array<T>(out, 1, weight_shape(c.layout, c.units, columns));
    dir.dkernel = data_of<T>(kernel);
    dir.drecurrent = data_of<T>(recurrent);
    const bool torch = c.layout == WeightLayout::kTorch;
    py::object bias = py::none(), second = py::none();
    if (dir.bias) {
      bias = outputs_.array<T>(out, 2, torch ? Shape{columns} : bias_shape(c.cell, c.units));
      dir.dbias = data_of<T>(bias);
    }
    if (!torch) {
      dir.drecurrent_bias = recurrent_bias_of(c.cell, dir.dbias, c.units);
      return py::make_tuple(kernel, recurrent, bias);
    }
    if (dir.bias) {
      second = outputs_.array<T>(out, 3, {columns});
      (c.cell == Cell::kGru ? dir.drecurrent_bias : second_dbias_[d]) = data_of<T>(second);
    }
    return py::make_tuple(kernel, recurrent, bias, second);
  }

  void require_own_memory() {
    for (const Array& array : forward_.held()) outputs_.note_read(array);
    for (const auto& states : dstates_)
      for (const OptionalArray& array : states) outputs_.note_read(array);
    outputs_.require_apart(given_.dy);
  }

  // dL/dh in the order of y, zeros past a length.
  py::object by_step(const RecurrentDirection<T>& dir) const {
    const BatchLayout& layout = forward_.layout();
    const Index B = call_.batch, S = call_.steps, H = call_.units;
    const py::object result = new_sequence<T>(B, S, H);
    T* to = data_of<T>(result);
    std::memset(to, 0, sizeof(T) * size_t(B * S * H));
    for (Index s = 0; s < S; ++s)
      for (Index j = 0; j < layout.active[size_t(s)]; ++j) {
        const Index b = layout.order[size_t(j)], t = dir.reverse && !call_.processing_order
                                                         ? layout.lengths[size_t(b)] - 1 - s
                                                         : s;
        std::memcpy(to + (t * B + b) * H, dir.step_gradients + (layout.offset[size_t(s)] + j) * H,
                    sizeof(T) * size_t(H));
      }
    return result;
  }

  RecurrentForward<T>& forward_;
  const BackwardArguments& given_;
  RecurrentCall<T> call_;
  OptionalArray dstates_[kMaxDirections][2];
  // PyTorch's second bias where its gradient is that of the first.
  T* second_dbias_[kMaxDirections] = {};
  Outputs outputs_;
  std::vector<std::shared_ptr<T>> scratch_;
};

template <class T>
py::tuple RecurrentForward<T>::backward(const BackwardArguments& given) {
  return RecurrentBackward<T>(*this, given).run();
}

}  // namespace seqcore
