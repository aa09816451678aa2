// The forward pass of a recurrent layer over whole sequences: its arguments, its memory, the call
// of the kernel. The object keeps everything that a backward pass needs.
#pragma once

#include <algorithm>
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
    int directions, item_size, mixed;
    Index features, units;
    bool operator==(const Layout& other) const {
      return cell == other.cell && directions == other.directions && item_size == other.item_size &&
             mixed == other.mixed && features == other.features && units == other.units;
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

constexpr const char* kTriple = "arrays (kernel, recurrent, bias)";

inline void require_size(const OptionalItems& items, Index count, const char* of) {
  if (items) items->require_size(count, of);
}

template <class T>
class RecurrentForward : public SavedForward {
 public:
  explicit RecurrentForward(const ForwardArguments& given) {
    auto& c = call_;
    take_options(given);
    take_input(given.x);
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
    layout_.build(c.batch, c.steps, given.lengths, given.mask, c.directions, reverse);
    for (int d = 0; d < c.directions; ++d) c.direction[d].batch = layout_.packed(d);
    const ThreadPlan plan = thread_plan_for({c.cell, c.directions, c.batch, rows(), c.features,
                                             c.units, sizeof(T), given.save, kernels<T>().lanes});
    threads_ = plan.threads;
    c.loop = plan.loop;
    c.shares_products = plan.shares_products;
    c.keep_gates = given.save || plan.shares_products;
    allocate();
  }

  py::tuple forward(PackedWeights* packed, bool want_states) {
    auto& c = call_;
    const py::object y = make_output();
    py::list states;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.h_last = dir.c_last = nullptr;
      if (want_states) states.append(new_states(dir.h_last, dir.c_last));
    }
    compute(packed);
    return py::make_tuple(y, states);
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
    c.use_bf16 = checked_mixed<T>(given.mixed);
    if (given.reverse.empty() || given.reverse.size() > kMaxDirections)
      fail("reverse", "one or two directions", std::to_string(given.reverse.size()));
    c.directions = int(given.reverse.size());
    given.weights.require_size(c.directions, "triples, one per direction");
    require_size(given.initial, c.directions, "states, one per direction");
    require_size(given.input_dropout, c.directions, "masks, one per direction");
    require_size(given.state_dropout, c.directions, "masks, one per direction");
  }

  void take_input(const Array& x) {
    auto& c = call_;
    c.x = x.sequence<T>({-1, -1, -1});
    c.batch = x.shape(0);
    c.steps = x.shape(1);
    c.features = x.shape(2);
    if (!c.batch || !c.steps || !c.features)
      fail("x", "a non-empty sequence", describe(x.object()));
    require_rows("x", c.batch, c.steps);
    held_.push_back(x);
  }

  void take_direction(int d, bool reverse, const ForwardArguments& given) {
    auto& c = call_;
    auto& dir = c.direction[d];
    const Items weights(given.weights.name(), given.weights[d].ptr(), kTriple);
    weights.require_size(3, kTriple);
    const Array kernel = weights.array(0, "weights: kernel"),
                recurrent = weights.array(1, "weights: recurrent");
    const Index G = gates_of(c.cell), H = recurrent.rank() ? recurrent.shape(0) : 0;
    if (d && H != c.units)
      fail("weights", std::to_string(c.units) + " units in both directions", std::to_string(H));
    if (!H)
      fail("weights", "a recurrent kernel (units, gates * units)", describe(recurrent.object()));
    const Index columns = product<T>({G, H});
    c.units = H;
    dir.reverse = reverse;
    dir.y_column = d * H;
    dir.kernel = hold(kernel, {c.features, columns});
    dir.recurrent = hold(recurrent, {H, columns});
    dir.bias = hold(weights.optional_array(2, "weights: bias"), bias_shape(c.cell, H));
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

  std::shared_ptr<T> keep_memory(Index count) {
    memory_.push_back(pool_alloc_array<T>(count));
    nbytes_ += count * Index(sizeof(T));
    return memory_.back();
  }

  void allocate() {
    auto& c = call_;
    const Index B = c.batch, R = rows(), H = c.units;
    kernels<T>().recurrent_sizes(c, sizes_);
    const Index columns = sizes_.gate_stride;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.saved_gates =
          keep_memory(c.keep_gates ? R * columns : threads_ * sizes_.chunk_rows * columns).get();
      if (c.cell == Cell::kGru || c.cell == Cell::kGruResetBefore)
        dir.saved_recurrent = keep_memory((c.keep_gates ? R : B) * columns).get();
      if (c.cell == Cell::kGruResetBefore)
        dir.saved_reset_h = keep_memory((c.keep_gates ? R : B) * H).get();
      if (state_count(c.cell) == 2)
        dir.saved_c = keep_memory((c.keep_gates ? B + R : 2 * B) * sizes_.state_stride).get();
      saved_h_ = keep_memory((B + R) * H);
      dir.saved_h = saved_h_.get();
      if (dir.state_dropout) dir.saved_dropped_h = keep_memory(R * H).get();
    }
  }

  // The array of the outputs: a view of the saved h, where they are the same.
  py::object make_output() {
    auto& c = call_;
    const Index B = c.batch, S = c.steps, H = c.units, columns = c.directions * H;
    c.y_is_h = c.return_sequences && c.directions == 1 && !layout_.ragged && !layout_.masked;
    py::object y;
    if (c.y_is_h) {
      T* h = saved_h_.get() + B * H;
      const bool descending = c.direction[0].reverse && !c.processing_order;  // in time
      // Shares memory with what the backward pass reads: nobody may write there.
      y = on_memory<T>(saved_h_, descending ? h + (S - 1) * B * H : h, {B, S, H},
                       {H, descending ? -B * H : B * H, 1}, false);
    } else {
      y = c.return_sequences ? new_sequence<T>(B, S, columns) : new_array<T>({B, columns});
    }
    c.y = {data_of<T>(y), columns, c.return_sequences ? B * columns : 0};
    return y;
  }

  void compute(PackedWeights* cache = nullptr) {
    auto& c = call_;
    std::vector<std::shared_ptr<void>> packs;
    const PackedWeights::Layout layout{c.cell,     c.directions, int(sizeof(T)),
                                       c.use_bf16, c.features,   c.units};
    c.packed = cache && cache->holds(layout);
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
    if (!c.return_sequences)
      c.y = {y.get(), columns, 0};
    else if (!c.y_is_h)
      c.y = {y.get(), columns, c.batch * columns};
    for (int d = 0; d < c.directions; ++d) c.direction[d].h_last = c.direction[d].c_last = nullptr;
    compute();
  }

  RecurrentCall<T> call_{};
  RecurrentSizes sizes_{};
  BatchLayout layout_;
  std::vector<std::shared_ptr<T>> memory_;
  std::shared_ptr<T> saved_h_;
  Arrays held_;  // their memory is what the call points at
  int threads_ = 1;
  // Guarded by gates_in_use_, like the saved gates and, after the forward pass, call_.
  bool gates_overwritten_ = false;
  Exclusive gates_in_use_;
};

}  // namespace seqcore
