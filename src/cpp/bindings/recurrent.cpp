// Recurrent layers over whole sequences, forward and back, and the context scan of RNN-CF.
#include <cstring>

#include "common.h"

namespace seqcore {
namespace {

// The turn of this thread with something that one thread uses at a time, waited for with the GIL
// released.
class Turn {
 public:
  explicit Turn(Exclusive& thing) : thing_(thing) {
    if (thing.is_mine()) fail("saved", "no call from within its own backward pass", "one");
    if (thing.try_enter()) return;
    bool entered;
    {
      const py::gil_scoped_release release;
      entered = thing.enter();
    }
    if (!entered) throw py::error_already_set();
  }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;
  ~Turn() { thing_.leave(); }

 private:
  Exclusive& thing_;
};

// What a forward call keeps, without its type.
class Saved {
 public:
  virtual ~Saved() = default;
  virtual py::tuple backward(const OptionalArray& dy, const OptionalItems& dstates, bool need_dx,
                             bool need_weights, bool need_initial, bool step_gradients,
                             const OptionalItems& out) = 0;
  Index nbytes() const { return nbytes_; }

 protected:
  Index nbytes_ = 0;
};

// The packed weights of one layer, kept from call to call while the weights stay as they are: the
// caller makes a new one when they change. It is read and written with the GIL held; two calls at
// once may both pack, and the later one stays.
struct PackedWeights {
  // What decides where each weight lies: with weights of another kind or size the memory is packed
  // anew.
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
  // A copy of a layer packs anew.
  py::tuple reduce() {
    return py::make_tuple(py::handle(reinterpret_cast<PyObject*>(class_of<PackedWeights>)),
                          py::tuple());
  }
};

std::shared_ptr<PackedWeights> make_packed_weights() { return std::make_shared<PackedWeights>(); }

// Arguments of a forward call.
struct ForwardArguments {
  Cell cell;
  const Array& x;
  const Items& weights;
  bool sequences, save;
  const OptionalItems& initial;
  const std::vector<bool>& reverse;
  const OptionalArray &lengths, &mask;
  const OptionalItems &x_scale, &h_scale;
  Activation activation, recurrent_activation;
  bool scan_order, zero_masked, mixed;
};

void require_size(const OptionalItems& items, Index count, const char* of) {
  if (items) items->require_size(count, of);
}

template <class T>
class Layer : public Saved {
 public:
  explicit Layer(const ForwardArguments& given) {
    auto& c = call_;
    c.cell = given.cell;
    c.activation = given.activation;
    c.recurrent_activation = given.recurrent_activation;
    c.return_sequences = given.sequences;
    c.processing_order = given.scan_order;
    c.zero_masked = given.zero_masked;
    c.use_bf16 = checked_mixed<T>(given.mixed);
    if (given.reverse.empty() || given.reverse.size() > kMaxDirections)
      fail("reverse", "one or two directions", std::to_string(given.reverse.size()));
    c.directions = int(given.reverse.size());
    given.weights.require_size(c.directions, "triples, one per direction");
    require_size(given.initial, c.directions, "states, one per direction");
    require_size(given.x_scale, c.directions, "masks, one per direction");
    require_size(given.h_scale, c.directions, "masks, one per direction");
    const Array& x = given.x;
    c.x = x.sequence<T>({-1, -1, -1});
    c.batch = x.shape(0);
    c.steps = x.shape(1);
    c.features = x.shape(2);
    if (!c.batch || !c.steps || !c.features)
      fail("x", "a sequence that is not empty", describe(x.object()));
    require_rows("x", c.batch, c.steps);
    hold(x);
    bool backwards[kMaxDirections] = {};
    for (int d = 0; d < c.directions; ++d) backwards[d] = given.reverse[size_t(d)];
    for (int d = 0; d < c.directions; ++d) take_direction(d, backwards[d], given);
    // No size that is derived from these overflows: a row of gates is shorter than this, padding
    // included.
    const Index longest_row = product<T>({8, c.units + 64});
    product<T>({c.batch, c.steps, std::max(longest_row, c.features)});
    // The output alone; x may be one element that stands for all.
    require_memory(sizeof(T) *
                   size_t(product<T>({c.batch, c.return_sequences ? c.steps : 1, c.units})));
    rows_.build(c.batch, c.steps, given.lengths, given.mask, c.directions, backwards);
    for (int d = 0; d < c.directions; ++d) c.direction[d].batch = rows_.map(d);
    const ThreadPlan plan = thread_plan_for(
        {c.cell, c.directions, c.batch, rows(), c.features, c.units, sizeof(T), given.save});
    threads_ = plan.threads;
    c.partition = plan.partition;
    c.keep_gates = given.save || c.partition != Partition::kSequences;
    allocate();
  }

  py::tuple forward(PackedWeights* packed, bool want_states) {
    auto& c = call_;
    const Index B = c.batch, S = c.steps, H = c.units, all = c.directions * H;
    py::object y;
    c.y_is_h = c.return_sequences && c.directions == 1 && !rows_.ragged && !rows_.masked;
    if (c.y_is_h) {
      T* h = saved_h_.get() + B * H;
      const bool turned = c.direction[0].reverse && !c.processing_order;
      // Shares memory with what the backward pass reads: nobody may write there.
      y = on_memory<T>(saved_h_, turned ? h + (S - 1) * B * H : h, {B, S, H},
                       {H, turned ? -B * H : B * H, 1}, false);
    } else {
      y = c.return_sequences ? new_sequence<T>(B, S, all) : new_array<T>({B, all});
    }
    c.y = {data_of<T>(y), all, c.return_sequences ? B * all : 0};
    py::list states;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.h_last = dir.c_last = nullptr;
      if (!want_states) continue;
      const py::object h = new_array<T>({B, H});
      dir.h_last = data_of<T>(h);
      if (c.cell == Cell::kLstm) {
        const py::object cell_state = new_array<T>({B, H});
        dir.c_last = data_of<T>(cell_state);
        states.append(py::make_tuple(h, cell_state));
      } else {
        states.append(py::make_tuple(h));
      }
    }
    compute(packed);
    return py::make_tuple(y, states);
  }

  py::tuple backward(const OptionalArray& dy, const OptionalItems& dstates, bool need_dx,
                     bool need_weights, bool need_initial, bool step_gradients,
                     const OptionalItems& out) override {
    // Of this call: several threads may ask one saved forward pass.
    RecurrentCall<T> c = call_;
    const Index B = c.batch, S = c.steps, D = c.features, H = c.units, G = gates_of(c.cell),
                all = c.directions * H;
    const bool has_c = c.cell == Cell::kLstm;
    require_size(dstates, c.directions, "gradients, one per direction");
    require_size(out, c.directions, "triples, one per direction");
    OptionalArray dstate[kMaxDirections][2];
    OptionalItems homes[kMaxDirections];
    Arrays reads(held_);
    if (dy) reads.push_back(*dy);
    for (int d = 0; d < c.directions; ++d) {
      const char* states = has_c ? "states (h, c)" : "state (h,)";
      const OptionalItems given = dstates ? dstates->optional_items(d, states) : OptionalItems();
      require_size(given, has_c ? 2 : 1, states);
      for (int i = 0; given && i < (has_c ? 2 : 1); ++i) {
        dstate[d][i] = given->optional_array(i, "dstates");
        if (dstate[d][i]) reads.push_back(*dstate[d][i]);
      }
      if (out) homes[d] = out->optional_items(d, "arrays (kernel, recurrent, bias)");
      require_size(homes[d], 3, "arrays (kernel, recurrent, bias)");
    }
    c.dy = {};
    if (dy && c.return_sequences) c.dy = dy->sequence<T>({B, S, all});
    if (dy && !c.return_sequences) c.dy = {dy->read<T>({B, all}), all, 0};
    py::object dx = py::none();
    c.dx = {};
    if (need_dx) {
      dx = new_sequence<T>(B, S, D);
      c.dx = {data_of<T>(dx), D, B * D};
    }
    std::vector<std::shared_ptr<T>> scratch;
    py::list weights, initial, steps;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.dh_last = read<T>(dstate[d][0], {B, H});
      dir.dc_last = read<T>(dstate[d][1], {B, H});
      dir.dh0 = dir.dc0 = nullptr;
      if (need_initial) {
        const py::object dh0 = new_array<T>({B, H});
        dir.dh0 = data_of<T>(dh0);
        if (has_c) {
          const py::object dc0 = new_array<T>({B, H});
          dir.dc0 = data_of<T>(dc0);
          initial.append(py::make_tuple(dh0, dc0));
        } else {
          initial.append(py::make_tuple(dh0));
        }
      }
      dir.dkernel = dir.drecurrent = dir.dbias = nullptr;
      if (need_weights) {
        const py::object kernel = place<T>(homes[d], 0, {D, G * H}),
                         recurrent = place<T>(homes[d], 1, {H, G * H});
        dir.dkernel = data_of<T>(kernel);
        dir.drecurrent = data_of<T>(recurrent);
        py::object bias = py::none();
        if (dir.bias) {
          bias = place<T>(homes[d], 2, bias_shape(c.cell, H));
          dir.dbias = data_of<T>(bias);
        }
        weights.append(py::make_tuple(kernel, recurrent, bias));
      }
      scratch.push_back(pool_alloc_array<T>(3 * B * sizes_.state_stride));
      dir.scratch_state = scratch.back().get();
      scratch.push_back(pool_alloc_array<T>(sizes_.backward_pack));
      dir.scratch_pack = scratch.back().get();
      dir.step_gradients = nullptr;
      if (step_gradients) {
        scratch.push_back(pool_alloc_array<T>(rows() * H));
        dir.step_gradients = scratch.back().get();
      }
    }
    const int threads = threads_;
    scratch.push_back(pool_alloc_array<T>(threads * sizes_.thread_scratch));
    c.scratch_thread = scratch.back().get();
    if (out) require_own_memory(homes, reads);
    {
      // The gates become their gradients in place.
      const Turn turn(gates_in_use_);
      if (spent_) recompute();
      spent_ = true;
      run_released(threads, [&](const Team& team) { kernels<T>().recurrent_backward(c, team); });
    }
    for (int d = 0; d < c.directions && step_gradients; ++d) steps.append(by_step(c.direction[d]));
    return py::make_tuple(dx, need_weights ? py::object(weights) : py::none(),
                          need_initial ? py::object(initial) : py::none(),
                          step_gradients ? py::object(steps) : py::none());
  }

 private:
  Index rows() const { return rows_.offset[call_.steps]; }
  void hold(const Array& array) { held_.push_back(array); }
  const T* held(const OptionalArray& array, const Shape& shape) {
    const T* data = read<T>(array, shape);
    if (array) hold(*array);
    return data;
  }

  void take_direction(int d, bool reverse, const ForwardArguments& given) {
    constexpr const char* kTriple = "arrays (kernel, recurrent, bias) per direction";
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
    dir.kernel = kernel.read<T>({c.features, columns});
    dir.recurrent = recurrent.read<T>({H, columns});
    hold(kernel);
    hold(recurrent);
    dir.bias = held(weights.optional_array(2, "weights: bias"), bias_shape(c.cell, H));
    const int states = c.cell == Cell::kLstm ? 2 : 1;
    const char* expected = states == 1 ? "state (h,)" : "states (h, c)";
    if (const auto initial =
            given.initial ? given.initial->optional_items(d, expected) : OptionalItems()) {
      initial->require_size(states, expected);
      dir.h0 = held(initial->optional_array(0, "initial: h"), {c.batch, H});
      if (states == 2) dir.c0 = held(initial->optional_array(1, "initial: c"), {c.batch, H});
    }
    if (given.x_scale)
      dir.input_dropout = held(given.x_scale->optional_array(d, "x_scale"), {c.batch, c.features});
    if (given.h_scale)
      dir.state_dropout = held(given.h_scale->optional_array(d, "h_scale"), {c.batch, H});
  }

  // Gradients that are written where the call still reads would be wrong.
  void require_own_memory(const OptionalItems (&homes)[kMaxDirections], const Arrays& reads) const {
    std::vector<Extent> extents;
    for (const Array& array : reads) extents.push_back(array.extent(false));
    for (int d = 0; d < call_.directions; ++d)
      for (int i = 0; homes[d] && i < 3; ++i)
        if (const auto array = homes[d]->optional_array(i, "out"))
          extents.push_back(array->extent(true));
    require_apart(std::move(extents));
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
      if (c.cell == Cell::kLstm)
        dir.saved_c = keep_memory((c.keep_gates ? B + R : 2 * B) * sizes_.state_stride).get();
      saved_h_ = keep_memory((B + R) * H);
      dir.saved_h = saved_h_.get();
      if (dir.state_dropout) dir.saved_dropped_h = keep_memory(R * H).get();
    }
  }

  // dL/dh in the order of y, zeros past a length.
  py::object by_step(const RecurrentDirection<T>& dir) const {
    const Index B = call_.batch, S = call_.steps, H = call_.units;
    const py::object result = new_sequence<T>(B, S, H);
    T* to = data_of<T>(result);
    std::memset(to, 0, sizeof(T) * size_t(B * S * H));
    for (Index s = 0; s < S; ++s)
      for (Index j = 0; j < rows_.active[size_t(s)]; ++j) {
        const Index b = rows_.order[size_t(j)], t = dir.reverse && !call_.processing_order
                                                        ? rows_.lengths[size_t(b)] - 1 - s
                                                        : s;
        std::memcpy(to + (t * B + b) * H, dir.step_gradients + (rows_.offset[size_t(s)] + j) * H,
                    sizeof(T) * size_t(H));
      }
    return result;
  }

  void compute(PackedWeights* home = nullptr) {
    auto& c = call_;
    std::vector<std::shared_ptr<void>> packs;
    const PackedWeights::Layout layout{c.cell,     c.directions, int(sizeof(T)),
                                       c.use_bf16, c.features,   c.units};
    c.packed = home && home->holds(layout);
    if (c.packed) packs = home->memory;
    for (int d = 0; d < c.directions; ++d) {
      if (!c.packed) packs.push_back(pool_alloc_array<T>(sizes_.forward_pack));
      c.direction[d].scratch_pack = static_cast<T*>(packs[size_t(d)].get());
    }
    std::vector<std::shared_ptr<T>> scratch;
    c.scratch_thread = nullptr;
    if (c.use_bf16 || c.drops_inputs()) {
      scratch.push_back(pool_alloc_array<T>(threads_ * sizes_.thread_scratch));
      c.scratch_thread = scratch.back().get();
    }
    run_released(threads_, [&](const Team& team) { kernels<T>().recurrent_forward(c, team); });
    if (home && !c.packed) *home = {std::move(packs), layout};
  }

  // The gates were overwritten by their gradients: a second way back (of a persistent tape) needs
  // them again.
  void recompute() {
    const auto y = pool_alloc_array<T>(call_.batch * call_.steps * call_.directions * call_.units);
    const bool was_h = call_.y_is_h;
    if (!was_h && call_.return_sequences)
      call_.y = {y.get(), call_.directions * call_.units,
                 call_.batch * call_.directions * call_.units};
    if (!call_.return_sequences) call_.y = {y.get(), call_.directions * call_.units, 0};
    for (int d = 0; d < call_.directions; ++d)
      call_.direction[d].h_last = call_.direction[d].c_last = nullptr;
    compute();
  }

  RecurrentCall<T> call_{};
  RecurrentSizes sizes_{};
  Rows rows_;
  std::vector<std::shared_ptr<T>> memory_;
  std::shared_ptr<T> saved_h_;
  Arrays held_;  // whose memory the call points at
  int threads_ = 1;
  bool spent_ =
      false;  // guarded by gates_in_use_, like the saved gates and call_ after the forward pass
  Exclusive gates_in_use_;
};

py::tuple plan_threads_of(Cell cell, Index batch, Index rows, Index features, Index units,
                          int directions, DType dtype, bool save, int threads,
                          bool oversubscribed) {
  constexpr const char* kNames[] = {"sequences", "products", "units"};
  for (const auto& [name, value] : {std::pair("batch", batch), {"rows", rows}, {"units", units}})
    require_range(name, value, 1, kMaxRows);
  require_range("features", features, 1, kMaxRows);
  require_range("directions", directions, 1, kMaxDirections);
  require_range("threads", threads, 1, kMaxThreads);
  const Index item_size = dtype == DType::kFloat32 ? sizeof(float) : sizeof(double);
  const ThreadPlan plan = plan_threads(
      {cell, directions, batch, rows, features, units, item_size, save}, {threads, oversubscribed});
  return py::make_tuple(plan.threads, kNames[int(plan.partition)]);
}

py::tuple recurrent_forward(Cell cell, const Array& x, const Items& weights, bool sequences,
                            bool save, bool states, PackedWeights* packed,
                            const OptionalItems& initial,
                            const std::optional<std::vector<bool>>& reverse,
                            const OptionalArray& lengths, const OptionalArray& mask,
                            const OptionalItems& x_scale, const OptionalItems& h_scale,
                            Activation activation, Activation recurrent_activation, bool scan_order,
                            bool zero_masked, bool mixed) {
  static const std::vector<bool> kForwards{false};
  const ForwardArguments given{cell,
                               x,
                               weights,
                               sequences,
                               save,
                               initial,
                               reverse ? *reverse : kForwards,
                               lengths,
                               mask,
                               x_scale,
                               h_scale,
                               activation,
                               recurrent_activation,
                               scan_order,
                               zero_masked,
                               mixed};
  return with_type_of(x, [&](auto zero) {
    auto layer = std::make_shared<Layer<decltype(zero)>>(given);
    const py::tuple result = layer->forward(packed, states);
    const py::object saved =
        save ? make_object(std::static_pointer_cast<Saved>(layer)) : py::none();
    return py::make_tuple(result[0], result[1], saved);
  });
}

py::tuple recurrent_backward(Saved& saved, const OptionalArray& dy, const OptionalItems& dstates,
                             bool need_dx, bool need_weights, bool need_initial,
                             bool step_gradients, const OptionalItems& out) {
  return saved.backward(dy, dstates, need_dx, need_weights, need_initial, step_gradients, out);
}

template <class T>
py::tuple scan(bool back, const OptionalArray& input, Shape shape, double alpha,
               const OptionalArray& initial, const OptionalArray& lengths,
               const OptionalArray& mask, bool reverse) {
  if (!(alpha >= 0 && alpha <= 1)) fail("alpha", "a number from 0 to 1", std::to_string(alpha));
  ContextScan<T> call{};
  if (input) {
    call.z = input->sequence<T>(shape);
    shape = input->shape();
  }
  const Index B = shape[0], S = shape[1], C = shape[2];
  if (B < 1 || S < 1 || C < 1)
    fail(back ? "shape" : "z", "a sequence that is not empty", describe(shape));
  require_rows(back ? "shape" : "z", B, S);
  const Index count = product<T>({B, S, C});
  require_memory(sizeof(T) * size_t(count));
  Rows rows;
  rows.build(B, S, lengths, mask, 1, &reverse);
  call.batch = rows.map(0);
  call.reverse = reverse;
  call.columns = C;
  call.alpha = alpha;
  call.initial = read<T>(initial, {B, C});
  const py::object result = new_sequence<T>(B, S, C), last = new_array<T>({B, C});
  call.s = {data_of<T>(result), C, B * C};
  call.last = data_of<T>(last);
  run_released(threads_for(20.0 * double(count)), [&](const Team& team) {
    back ? kernels<T>().context_backward(call, team) : kernels<T>().context_forward(call, team);
  });
  return py::make_tuple(result, last);
}

py::tuple context_scan_forward(const Array& z, double alpha, const OptionalArray& initial,
                               const OptionalArray& lengths, const OptionalArray& mask,
                               bool reverse) {
  return with_type_of(z, [&](auto zero) {
    return scan<decltype(zero)>(false, z, {-1, -1, -1}, alpha, initial, lengths, mask, reverse);
  });
}

py::tuple context_scan_backward(const OptionalArray& ds, const OptionalArray& ds_last, double alpha,
                                const Shape& shape, const OptionalArray& lengths,
                                const OptionalArray& mask, bool reverse, DType dtype) {
  if (shape.rank() != 3) fail("shape", "(batch, time, columns)", describe(shape));
  return with_dtype(dtype, [&](auto zero) {
    return scan<decltype(zero)>(true, ds, shape, alpha, ds_last, lengths, mask, reverse);
  });
}

}  // namespace

void bind_recurrent(py::module_& m) {
  Class<Saved>(m, "Saved").property<&Saved::nbytes>("nbytes");
  Class<PackedWeights, &make_packed_weights>(m, "PackedWeights()")
      .method<&PackedWeights::reduce>("__reduce__()");
  // Looking for arguments by name costs time; what every call of a layer gives comes first, by
  // position.
  define<&recurrent_forward>(
      m,
      "recurrent_forward(cell, x, weights, sequences=True, save=True, states=True, packed=None, *, "
      "initial=None, reverse=None, lengths=None, mask=None, x_scale=None, h_scale=None, "
      "activation='tanh', recurrent_activation='sigmoid', scan_order=False, zero_masked=False, "
      "mixed=False)");
  define<&recurrent_backward>(m,
                              "recurrent_backward(saved, dy, dstates=None, need_dx=True, "
                              "need_weights=True, need_initial=True, "
                              "step_gradients=False, out=None)");
  define<&plan_threads_of>(
      m,
      "plan_threads(cell, batch, rows, features, units, *, directions=1, dtype='float32', "
      "save=True, threads, oversubscribed=False)");
  define<&context_scan_forward>(
      m, "context_scan_forward(z, alpha, initial=None, lengths=None, mask=None, reverse=False)");
  define<&context_scan_backward>(
      m,
      "context_scan_backward(ds, ds_last, alpha, shape, lengths=None, mask=None, reverse=False, "
      "dtype='float32')");
}

}  // namespace seqcore
