// The forward pass of a recurrent layer over whole sequences: its arguments, its memory, the call
// of the kernel. The object keeps everything that a backward pass needs.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <utility>
#include <vector>

#include "bindings.h"

namespace seqcore {

struct ForwardArguments {
  Cell cell;
  const Array& x;
  const Items& weights;
  bool sequences, save;
  const OptionalItems& initial;
  const std::vector<bool>& reverse;
  const OptionalArray &lengths, &mask;
  const OptionalItems &input_dropout, &state_dropout;
  Activation activation, recurrent_activation;
  bool processing_order, zero_masked, mixed;
  WeightLayout layout;
  const OptionalArray &batch_sizes, &reserve;
  bool own_y;
};

struct BackwardArguments {
  const OptionalArray& dy;
  const OptionalItems& dstates;
  bool need_dx, need_weights, need_initial, step_gradients;
  const OptionalItems& out;
};

// A forward pass that a backward pass may follow, without its type.
class SavedForward {
 public:
  virtual ~SavedForward() = default;
  virtual py::tuple backward(const BackwardArguments& given) = 0;
  Index nbytes() const { return nbytes_; }

 protected:
  Index nbytes_ = 0;
};

// The packed weights of one layer, kept from call to call while the weights stay as they are: the
// caller makes a new one when they change. It is read and written with the GIL held; two calls at
// once may both pack, and the later one stays.
struct PackedWeights {
  // Everything that decides where each weight lies: with another layout they are packed again.
  struct Layout {
    Cell cell;
    WeightLayout layout;
    int directions, item_size, mixed;
    Index features, units;
    bool operator==(const Layout& other) const {
      return cell == other.cell && layout == other.layout && directions == other.directions &&
             item_size == other.item_size && mixed == other.mixed && features == other.features &&
             units == other.units;
    }
  };
  std::vector<std::shared_ptr<void>> memory;  // of each direction
  Layout layout{};

  bool holds(const Layout& wanted) const { return !memory.empty() && layout == wanted; }
  // A copy of a layer packs again.
  py::tuple reduce() {
    return py::make_tuple(py::handle(reinterpret_cast<PyObject*>(class_of<PackedWeights>)),
                          py::tuple());
  }
};

// The arrays of one direction.
struct WeightArrays {
  Index count;
  const char* names;
};
inline WeightArrays weight_arrays(WeightLayout layout) {
  if (layout == WeightLayout::kTorch) return {4, "arrays (weight_ih, weight_hh, bias_ih, bias_hh)"};
  return {3, "arrays (kernel, recurrent, bias)"};
}

// A matrix of (inputs, columns) in Keras's order.
inline Shape weight_shape(WeightLayout layout, Index inputs, Index columns) {
  if (layout == WeightLayout::kTorch) return {columns, inputs};
  return {inputs, columns};
}

// Elements of a reserve for each row: its gates, its states and, unless `own_y`, its outputs where
// they are not states. A reserve has as many for the initial state of each sequence, whose gates
// are free; the last element of all marks the gates as taken by a backward pass.
template <class T>
Index reserve_columns(Cell cell, Index units, int directions, bool own_y,
                      const RecurrentSizes& sizes) {
  const bool has_c = state_count(cell) == 2, is_gru = cell == Cell::kGru;
  const Index of_direction =
      sizes.gate_stride * (is_gru ? 2 : 1) + (has_c ? sizes.state_stride : 0) + units;
  const Index outputs = own_y || directions == 1 ? 0 : directions * units;
  constexpr Index kLine = 16;  // whole cache lines
  return (directions * of_direction + outputs + kLine - 1) / kLine * kLine;
}

inline void require_size(const OptionalItems& items, Index count, const char* of) {
  if (items) items->require_size(count, of);
}

template <class T>
class RecurrentForward : public SavedForward {
 public:
  explicit RecurrentForward(const ForwardArguments& given) {
    auto& c = call_;
    take_options(given);
    take_input(given);
    bool reverse[kMaxDirections] = {};
    std::copy(given.reverse.begin(), given.reverse.end(), reverse);
    for (int d = 0; d < c.directions; ++d) take_direction(d, reverse[d], given);
    // No size that is derived from these overflows: a row of gates is shorter than this, padding
    // included.
    const Index longest_row = product<T>({8, c.units + 64});
    product<T>({c.batch, c.steps, std::max(longest_row, c.features)});
    // Only the output; x may be one element, broadcast.
    require_memory(sizeof(T) *
                   size_t(product<T>({c.batch, c.return_sequences ? c.steps : 1, c.units})));
    if (!c.unpadded)
      layout_.build(c.batch, c.steps, given.lengths, given.mask, c.directions, reverse);
    for (int d = 0; d < c.directions; ++d) c.direction[d].batch = layout_.packed(d);
    const ThreadPlan plan = thread_plan_for({c.cell, c.directions, c.batch, rows(), c.features,
                                             c.units, sizeof(T), given.save, kernels<T>().lanes});
    threads_ = plan.threads;
    c.loop = plan.loop;
    c.shares_products = plan.shares_products;
    c.keep_gates = given.save || plan.shares_products;
    if (given.reserve) take_reserve(*given.reserve);
    allocate();
    if (reserve_ && !own_y_ && c.directions == 2)
      reserve_y_ = keep_memory(rows() * c.directions * c.units);
  }

  py::tuple forward(PackedWeights* packed, bool want_states) {
    auto& c = call_;
    const py::object y = make_output();
    if (reserve_) mark_gates(false);
    py::list states;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.h_last = dir.c_last = nullptr;
      if (want_states) states.append(new_states(dir.h_last, dir.c_last));
    }
    compute(packed);
    return py::make_tuple(y, states);
  }
  // In place of forward(), for a backward pass from a reserve that it has filled. The first one
  // takes the gates; any other computes them again, in memory of its own.
  py::tuple restore() {
    const py::object y = own_y_ ? py::none() : make_output();
    if (mark_gates(true)) {
      reserve_at_ = nullptr;
      allocate();
      recompute();
    }
    return py::make_tuple(y, py::list());
  }
  py::tuple backward(const BackwardArguments& given) override;

  // For the backward pass.
  const RecurrentCall<T>& call() const { return call_; }
  const RecurrentSizes& sizes() const { return sizes_; }
  const BatchLayout& layout() const { return layout_; }
  const Arrays& held() const { return held_; }
  int threads() const { return threads_; }
  Index rows() const { return layout_.offset[call_.steps]; }

  // New arrays (h,) or (h, c) of shape (B, H), and where they lie.
  py::tuple new_states(T*& h, T*& cell_state) const {
    const py::object h_array = new_array<T>({call_.batch, call_.units});
    h = data_of<T>(h_array);
    if (state_count(call_.cell) == 1) return py::make_tuple(h_array);
    const py::object c_array = new_array<T>({call_.batch, call_.units});
    cell_state = data_of<T>(c_array);
    return py::make_tuple(h_array, c_array);
  }

  // The gates become their gradients in place: a second backward pass (of a persistent tape)
  // computes them again.
  void run_backward(const RecurrentCall<T>& call) {
    const ExclusiveScope scope(gates_in_use_);
    if (gates_overwritten_) recompute();
    gates_overwritten_ = true;
    run_released(threads_, [&](const Team& team) { kernels<T>().recurrent_backward(call, team); });
  }

 private:
  // Reads an array whose memory the call points at.
  const T* hold(const Array& array, const Shape& shape) {
    const T* data = array.read<T>(shape);
    held_.push_back(array);
    return data;
  }
  const T* hold(const OptionalArray& array, const Shape& shape) {
    return array ? hold(*array, shape) : nullptr;
  }

  void take_options(const ForwardArguments& given) {
    auto& c = call_;
    c.cell = given.cell;
    c.activation = given.activation;
    c.recurrent_activation = given.recurrent_activation;
    c.return_sequences = given.sequences;
    c.processing_order = given.processing_order;
    c.zero_masked = given.zero_masked;
    c.layout = given.layout;
    c.unpadded = bool(given.batch_sizes);
    own_y_ = given.own_y;
    save_ = given.save;
    if (c.layout == WeightLayout::kTorch && c.cell == Cell::kGruResetBefore)
      fail("layout", "'keras' for gru_reset_before", "'torch'");
    if (given.batch_sizes && (given.lengths || given.mask))
      fail("batch_sizes", "None next to lengths or a mask", "an array");
    c.use_bf16 = checked_mixed<T>(given.mixed);
    if (given.reverse.empty() || given.reverse.size() > kMaxDirections)
      fail("reverse", "one or two directions", std::to_string(given.reverse.size()));
    c.directions = int(given.reverse.size());
    given.weights.require_size(c.directions, "triples, one per direction");
    require_size(given.initial, c.directions, "states, one per direction");
    require_size(given.input_dropout, c.directions, "masks, one per direction");
    require_size(given.state_dropout, c.directions, "masks, one per direction");
  }

  void take_input(const ForwardArguments& given) {
    auto& c = call_;
    const Array& x = given.x;
    if (c.unpadded) {
      const T* rows = x.read<T>({-1, -1});
      c.features = x.shape(1);
      c.x = {rows, c.features, c.features};
      layout_.build_unpadded(*given.batch_sizes, x.shape(0));
      c.batch = layout_.batch;
      c.steps = layout_.steps;
    } else {
      c.x = x.sequence<T>({-1, -1, -1});
      c.batch = x.shape(0);
      c.steps = x.shape(1);
      c.features = x.shape(2);
    }
    if (!c.batch || !c.steps || !c.features)
      fail("x", "a non-empty sequence", describe(x.object()));
    require_rows("x", c.batch, c.steps);
    held_.push_back(x);
  }

  void take_direction(int d, bool reverse, const ForwardArguments& given) {
    auto& c = call_;
    auto& dir = c.direction[d];
    const WeightArrays arrays = weight_arrays(c.layout);
    const Items weights(given.weights.name(), given.weights[d].ptr(), arrays.names);
    weights.require_size(arrays.count, arrays.names);
    const Array kernel = weights.array(0, "weights: kernel"),
                recurrent = weights.array(1, "weights: recurrent");
    const Index last = c.layout == WeightLayout::kTorch ? recurrent.rank() - 1 : 0,
                G = gates_of(c.cell), H = recurrent.rank() ? recurrent.shape(last) : 0;
    if (d && H != c.units)
      fail("weights", std::to_string(c.units) + " units in both directions", std::to_string(H));
    if (!H)
      fail("weights", "a recurrent kernel (units, gates * units)", describe(recurrent.object()));
    const Index columns = product<T>({G, H});
    c.units = H;
    dir.reverse = reverse;
    dir.y_column = d * H;
    dir.kernel = hold(kernel, weight_shape(c.layout, c.features, columns));
    dir.recurrent = hold(recurrent, weight_shape(c.layout, H, columns));
    take_biases(d, weights);
    if (const auto initial = given.initial ? given.initial->optional_items(d, state_names(c.cell))
                                           : OptionalItems()) {
      initial->require_size(state_count(c.cell), state_names(c.cell));
      dir.h0 = hold(initial->optional_array(0, "initial: h"), {c.batch, H});
      if (state_count(c.cell) == 2)
        dir.c0 = hold(initial->optional_array(1, "initial: c"), {c.batch, H});
    }
    if (given.input_dropout)
      dir.input_dropout =
          hold(given.input_dropout->optional_array(d, "input_dropout"), {c.batch, c.features});
    if (given.state_dropout)
      dir.state_dropout =
          hold(given.state_dropout->optional_array(d, "state_dropout"), {c.batch, H});
  }

  // In PyTorch's order two biases, which only the GRU does not simply add.
  void take_biases(int d, const Items& weights) {
    auto& dir = call_.direction[d];
    const Cell cell = call_.cell;
    const Index H = call_.units, columns = gates_of(cell) * H;
    if (call_.layout == WeightLayout::kKeras) {
      dir.bias = hold(weights.optional_array(2, "weights: bias"), bias_shape(cell, H));
      dir.recurrent_bias = recurrent_bias_of(cell, dir.bias, H);
      return;
    }
    const T* of_input = hold(weights.optional_array(2, "weights: bias_ih"), {columns});
    const T* of_state = hold(weights.optional_array(3, "weights: bias_hh"), {columns});
    if (!of_input != !of_state) fail("weights", "two biases or none", "one");
    dir.bias = of_input;
    if (cell == Cell::kGru) dir.recurrent_bias = of_state;
    if (cell == Cell::kGru || !of_input) return;
    bias_sums_[d] = pool_alloc_array<T>(columns);
    for (Index i = 0; i < columns; ++i) bias_sums_[d].get()[i] = of_input[i] + of_state[i];
    dir.bias = bias_sums_[d].get();
  }

  void take_reserve(const Array& reserve) {
    auto& c = call_;
    if (!save_) fail(reserve.name(), "None without save", "an array");
    if (!own_y_ && (layout_.ragged || layout_.masked || !c.return_sequences))
      fail("own_y", "True for a reserve, unless y is that of all steps, without lengths or a mask",
           "False");
    if (c.cell == Cell::kGruResetBefore || c.direction[0].state_dropout ||
        c.direction[1].state_dropout)
      fail(reserve.name(), "None for gru_reset_before and for state_dropout", "an array");
    kernels<T>().recurrent_sizes(c, sizes_);
    const Index size =
        (c.batch + rows()) * reserve_columns<T>(c.cell, c.units, c.directions, own_y_, sizes_);
    reserve_at_ = reserve.write<T>({size});
    reserve_ = reserve.object();
    gates_taken_ = reserve_at_ + size - 1;
    std::vector<Extent> extents{reserve.extent(true)};
    for (const Array& array : held_) extents.push_back(array.extent(false));
    require_apart(std::move(extents));
    held_.push_back(reserve);
  }

  // Writes the mark in the reserve that the gates are taken; returns the one before. With the GIL
  // held; the element may be misaligned.
  bool mark_gates(bool taken) {
    T before;
    const T now = T(taken);
    std::memcpy(&before, gates_taken_, sizeof(T));
    std::memcpy(gates_taken_, &now, sizeof(T));
    return before != T(0);
  }

  // `count` elements of the reserve, else of the pool.
  T* keep_memory(Index count) {
    if (reserve_at_) {
      T* const taken = reserve_at_;
      reserve_at_ += count;
      return taken;
    }
    memory_.push_back(pool_alloc_array<T>(count));
    nbytes_ += count * Index(sizeof(T));
    return memory_.back().get();
  }

  // The gates come first: a reserve is aligned, and so are their rows.
  void allocate() {
    auto& c = call_;
    const Index B = c.batch, R = rows(), H = c.units;
    kernels<T>().recurrent_sizes(c, sizes_);
    const Index columns = sizes_.gate_stride;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.saved_gates =
          keep_memory(c.keep_gates ? R * columns : threads_ * sizes_.chunk_rows * columns);
      if (c.cell == Cell::kGru || c.cell == Cell::kGruResetBefore)
        dir.saved_recurrent = keep_memory((c.keep_gates ? R : B) * columns);
      if (c.cell == Cell::kGruResetBefore)
        dir.saved_reset_h = keep_memory((c.keep_gates ? R : B) * H);
      if (state_count(c.cell) == 2)
        dir.saved_c = keep_memory((c.keep_gates ? B + R : 2 * B) * sizes_.state_stride);
    }
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.saved_h = keep_memory((B + R) * H);
      if (!memory_.empty()) memory_of_h_ = memory_.back();
      if (dir.state_dropout) dir.saved_dropped_h = keep_memory(R * H);
    }
  }

  // An array of outputs of all steps, on the memory of `owner`.
  py::object output_on(py::object owner, T* data, Index columns, bool descending, bool writeable) {
    const Index B = call_.batch, S = call_.steps, step = B * columns;
    if (call_.unpadded)
      return on_memory<T>(std::move(owner), data, {rows(), columns}, {columns, 1}, writeable);
    return on_memory<T>(std::move(owner), descending ? data + (S - 1) * step : data,
                        {B, S, columns}, {columns, descending ? -step : step, 1}, writeable);
  }

  // The array of the outputs: a view of the saved h, where they are the same.
  py::object make_output() {
    auto& c = call_;
    const Index B = c.batch, H = c.units, columns = c.directions * H;
    const bool descending = c.direction[0].reverse && !c.processing_order;  // in time
    c.y_is_h = !own_y_ && c.return_sequences && c.directions == 1 && !layout_.masked &&
               !(c.unpadded ? descending : layout_.ragged);
    py::object y;
    if (c.y_is_h) {
      // Shares memory with what a backward pass reads: nobody may write there.
      y = output_on(reserve_ ? reserve_ : owner_of(memory_of_h_), c.direction[0].saved_h + B * H, H,
                    descending, !save_);
    } else if (reserve_y_) {
      y = output_on(reserve_, reserve_y_, columns, false, true);
    } else if (!c.return_sequences) {
      y = new_array<T>({B, columns});
    } else {
      y = c.unpadded ? new_array<T>({rows(), columns}) : new_sequence<T>(B, c.steps, columns);
    }
    c.y = output_rows(data_of<T>(y));
    return y;
  }
  Sequence<T> output_rows(T* data) const {
    const Index columns = call_.directions * call_.units;
    if (!call_.return_sequences) return {data, columns, 0};
    return {data, columns, call_.unpadded ? columns : call_.batch * columns};
  }

  void compute(PackedWeights* cache = nullptr) {
    auto& c = call_;
    std::vector<std::shared_ptr<void>> packs;
    const PackedWeights::Layout layout{c.cell,     c.layout,   c.directions, int(sizeof(T)),
                                       c.use_bf16, c.features, c.units};
    c.packed = cache && cache->holds(layout);
    c.in_place = !cache && c.few_rows();
    if (c.packed) packs = cache->memory;
    for (int d = 0; d < c.directions; ++d) {
      if (!c.packed) packs.push_back(pool_alloc_array<T>(sizes_.forward_pack));
      c.direction[d].scratch_pack = static_cast<T*>(packs[size_t(d)].get());
    }
    std::shared_ptr<T> scratch;
    if (c.use_bf16 || c.drops_inputs())
      scratch = pool_alloc_array<T>(threads_ * sizes_.thread_scratch);
    c.scratch_thread = scratch.get();
    run_released(threads_, [&](const Team& team) { kernels<T>().recurrent_forward(c, team); });
    if (cache && !c.packed) *cache = {std::move(packs), layout};
  }

  // The forward pass once more, for the gates only.
  void recompute() {
    auto& c = call_;
    const Index columns = c.directions * c.units;
    const auto y = pool_alloc_array<T>(c.batch * c.steps * columns);
    if (!c.y_is_h) c.y = output_rows(y.get());
    for (int d = 0; d < c.directions; ++d) c.direction[d].h_last = c.direction[d].c_last = nullptr;
    compute();
  }

  RecurrentCall<T> call_{};
  RecurrentSizes sizes_{};
  BatchLayout layout_;
  std::vector<std::shared_ptr<T>> memory_;
  std::shared_ptr<T> memory_of_h_, bias_sums_[kMaxDirections];
  Arrays held_;  // their memory is what the call points at
  bool own_y_ = false, save_ = false;
  // The caller's memory for everything that a backward pass reads: what is left of it, the outputs
  // in it, and the element that the first backward pass sets.
  py::object reserve_;
  T *reserve_at_ = nullptr, *reserve_y_ = nullptr, *gates_taken_ = nullptr;
  int threads_ = 1;
  // Guarded by gates_in_use_, like the saved gates and, after the forward pass, call_.
  bool gates_overwritten_ = false;
  Exclusive gates_in_use_;
};

}  // namespace seqcore
