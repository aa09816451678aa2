// Recurrent layers over whole sequences, forward and back, and the context scan of RNN-CF.
#include <cstring>

#include "arguments.h"

namespace seqcore {
namespace {

py::object item(const py::object& sequence, int i) {
  if (sequence.is_none()) return py::none();
  if (PyTuple_CheckExact(sequence.ptr()) && i < PyTuple_GET_SIZE(sequence.ptr()))
    return py::reinterpret_borrow<py::object>(PyTuple_GET_ITEM(sequence.ptr(), i));
  return sequence[py::int_(i)];
}

// Throws unless `sequence` is None or holds `count` items, described by `items`.
void require_items(std::string_view name, const py::object& sequence, int count, const char* items) {
  if (!sequence.is_none() && py::len(sequence) != size_t(count))
    fail(name, std::to_string(count) + " " + items, std::to_string(py::len(sequence)));
}

// The turn of this thread with something that one thread uses at a time, waited for with the GIL released.
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
  virtual py::tuple backward(const py::object& dy, const py::object& dstates, bool need_dx, bool need_weights, bool need_initial,
                             bool step_gradients, const py::object& out) = 0;
  Index nbytes() const { return nbytes_; }

 protected:
  Index nbytes_ = 0;
};

// The packed weights of one layer, kept from call to call while the weights stay as they are: the caller makes a new one when
// they change. It is read and written with the GIL held; two calls at once may both pack, and the later one stays.
struct PackedWeights {
  std::vector<std::shared_ptr<void>> memory;  // of each direction
  std::size_t bytes = 0;                      // of each
  bool mixed = false;

  bool holds(int directions, std::size_t wanted, bool of_pairs) const {
    return memory.size() == size_t(directions) && bytes == wanted && mixed == of_pairs;
  }
};

struct ForwardOptions {
  Cell cell;
  Activation activation, recurrent_activation;
  bool sequences, scan_order, zero_masked, save, mixed;
};

template <class T>
class Layer : public Saved {
 public:
  Layer(const ForwardOptions& options, const py::array& x, const py::object& weights, const py::object& initial,
        const std::vector<bool>& reverse, const py::object& lengths, const py::object& mask, const py::object& x_scale,
        const py::object& h_scale) {
    auto& c = call_;
    c.cell = options.cell;
    c.activation = options.activation;
    c.recurrent_activation = options.recurrent_activation;
    c.sequences = options.sequences;
    c.scan_order = options.scan_order;
    c.zero_masked = options.zero_masked;
    c.mixed = checked_mixed<T>(options.mixed);
    if (reverse.empty() || reverse.size() > kMaxDirections)
      fail("reverse", "one or two directions", std::to_string(reverse.size()));
    c.directions = int(reverse.size());
    require_items("weights", weights, c.directions, "triples, one per direction");
    require_items("initial", initial, c.directions, "states, one per direction");
    require_items("x_scale", x_scale, c.directions, "masks, one per direction");
    require_items("h_scale", h_scale, c.directions, "masks, one per direction");
    c.x = sequence_of<const T>("x", x, {-1, -1, -1});
    c.batch = x.shape(0);
    c.steps = x.shape(1);
    c.features = x.shape(2);
    if (!c.batch || !c.steps || !c.features) fail("x", "a sequence that is not empty", describe(x));
    hold(x);
    bool backwards[kMaxDirections] = {};
    for (int d = 0; d < c.directions; ++d) backwards[d] = reverse[d];
    rows_.build(c.batch, c.steps, lengths, mask, c.directions, backwards);
    for (int d = 0; d < c.directions; ++d)
      take_direction(d, backwards[d], item(weights, d), item(initial, d), item(x_scale, d), item(h_scale, d));
    const double flops = 2.0 * double(rows()) * double(c.features + c.units) * double(gates_of(c.cell) * c.units) * c.directions;
    // One sequence leaves the other threads little to do: a part of the products with W.
    constexpr double kWorthSharing = 4e6;
    threads_ = c.batch * c.directions == 1 && flops < kWorthSharing ? 1 : threads_for(flops);
    // Threads share the batch, without a barrier, unless there are few sequences, or the recurrent weights exceed what one
    // core caches: then each thread had better read its half of them than all of them.
    constexpr double kCached = double(1 << 20);
    const bool few = c.batch < 2 * threads_ && c.units >= 256;
    const bool large = double(gates_of(c.cell) * c.units * c.units) * sizeof(T) > kCached && c.batch < 32 * threads_;
    // Sharing the products keeps the gates of all steps, which a call without a way back should not pay with much memory.
    constexpr double kMostGates = double(1 << 26);
    const bool little = options.save || double(rows()) * double(gates_of(c.cell) * c.units) * sizeof(T) < kMostGates;
    if (threads_ > 1 && c.cell != Cell::kGruResetBefore && (few || large))
      c.partition = Partition::kUnits;
    else if (c.batch * c.directions < threads_ && little)
      c.partition = Partition::kProducts;
    c.keep = options.save || c.partition != Partition::kSequences;
    allocate();
  }

  py::tuple forward(PackedWeights* packed, bool want_states) {
    auto& c = call_;
    const Index B = c.batch, S = c.steps, H = c.units, all = c.directions * H;
    py::array y;
    c.y_is_h = c.sequences && c.directions == 1 && !rows_.ragged && !rows_.mask_data;
    if (c.y_is_h) {
      T* h = saved_h_.get() + B * H;
      const bool turned = c.direction[0].reverse && !c.scan_order;
      // Shares memory with what the way back reads: nobody may write there.
      y = on_memory<T>(saved_h_, turned ? h + (S - 1) * B * H : h, {B, S, H}, {H, turned ? -B * H : B * H, 1});
      py::detail::array_proxy(y.ptr())->flags &= ~py::detail::npy_api::NPY_ARRAY_WRITEABLE_;
    } else {
      y = c.sequences ? new_sequence<T>(B, S, all) : new_array<T>({B, all});
    }
    c.y = {data_of<T>(y), c.sequences && !c.y_is_h ? all : y.strides(0) / Index(sizeof(T)), c.sequences ? B * all : 0};
    py::list states;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      dir.h_last = dir.c_last = nullptr;
      if (!want_states) continue;
      const py::array h = new_array<T>({B, H});
      dir.h_last = data_of<T>(h);
      if (c.cell == Cell::kLstm) {
        const py::array cell_state = new_array<T>({B, H});
        dir.c_last = data_of<T>(cell_state);
        states.append(py::make_tuple(h, cell_state));
      } else {
        states.append(py::make_tuple(h));
      }
    }
    compute(packed);
    return py::make_tuple(y, states);
  }

  py::tuple backward(const py::object& dy, const py::object& dstates, bool need_dx, bool need_weights, bool need_initial,
                     bool step_gradients, const py::object& out) override {
    // Of this call: several threads may ask one saved forward pass.
    RecurrentCall<T> c = call_;
    const Index B = c.batch, S = c.steps, D = c.features, H = c.units, G = gates_of(c.cell), all = c.directions * H;
    const bool has_c = c.cell == Cell::kLstm;
    require_items("dstates", dstates, c.directions, "gradients, one per direction");
    require_items("out", out, c.directions, "triples, one per direction");
    for (int d = 0; d < c.directions; ++d) {
      require_items("dstates", item(dstates, d), has_c ? 2 : 1, has_c ? "states (h, c)" : "state (h,)");
      require_items("out", item(out, d), 3, "arrays (kernel, recurrent, bias)");
    }
    c.dy = {};
    if (!dy.is_none()) {
      const auto array = dy.cast<py::array>();
      if (c.sequences) {
        c.dy = sequence_of<const T>("dy", array, {B, S, all});
      } else {
        c.dy = {contiguous<T>("dy", array, {B, all}), all, 0};
      }
    }
    py::object dx = py::none();
    c.dx = {};
    if (need_dx) {
      dx = new_sequence<T>(B, S, D);
      c.dx = {data_of<T>(dx.cast<py::array>()), D, B * D};
    }
    std::vector<std::shared_ptr<T>> scratch;
    py::list weights, initial, steps;
    for (int d = 0; d < c.directions; ++d) {
      auto& dir = c.direction[d];
      const py::object given = item(dstates, d), home = item(out, d);
      dir.dh_last = given.is_none() ? nullptr : optional_contiguous<T>("dstates", item(given, 0), {B, H});
      dir.dc_last = given.is_none() || !has_c ? nullptr : optional_contiguous<T>("dstates", item(given, 1), {B, H});
      dir.dh0 = dir.dc0 = nullptr;
      if (need_initial) {
        const py::array dh0 = new_array<T>({B, H});
        dir.dh0 = data_of<T>(dh0);
        if (has_c) {
          const py::array dc0 = new_array<T>({B, H});
          dir.dc0 = data_of<T>(dc0);
          initial.append(py::make_tuple(dh0, dc0));
        } else {
          initial.append(py::make_tuple(dh0));
        }
      }
      dir.dkernel = dir.drecurrent = dir.dbias = nullptr;
      if (need_weights) {
        const auto place = [&](const char* name, int i, const Shape& shape) {
          const py::object wanted = home.is_none() ? py::none() : item(home, i);
          if (wanted.is_none()) return new_array<T>(shape);
          writable<T>(name, wanted.cast<py::array>(), shape);
          return wanted.cast<py::array>();
        };
        const py::array kernel = place("out", 0, {D, G * H}), recurrent = place("out", 1, {H, G * H});
        dir.dkernel = data_of<T>(kernel);
        dir.drecurrent = data_of<T>(recurrent);
        py::object bias = py::none();
        if (dir.bias) {
          bias = place("out", 2, bias_shape(c.cell, H));
          dir.dbias = data_of<T>(bias.cast<py::array>());
        }
        weights.append(py::make_tuple(kernel, recurrent, bias));
      }
      scratch.push_back(borrow_array<T>(3 * B * sizes_.state_stride));
      dir.scratch_state = scratch.back().get();
      scratch.push_back(borrow_array<T>(sizes_.backward_pack));
      dir.scratch_pack = scratch.back().get();
      dir.step_gradients = nullptr;
      if (step_gradients) {
        scratch.push_back(borrow_array<T>(rows() * H));
        dir.step_gradients = scratch.back().get();
      }
    }
    const int threads = threads_;
    scratch.push_back(borrow_array<T>(threads * sizes_.thread_scratch));
    c.scratch_thread = scratch.back().get();
    {
      // The gates become their gradients in place.
      const Turn turn(gates_in_use_);
      if (spent_) recompute();
      spent_ = true;
      run_released(threads, [&](const Team& team) { kernels<T>().recurrent_backward(c, team); });
    }
    for (int d = 0; d < c.directions && step_gradients; ++d) steps.append(by_step(c.direction[d]));
    return py::make_tuple(dx, need_weights ? py::object(weights) : py::none(), need_initial ? py::object(initial) : py::none(),
                          step_gradients ? py::object(steps) : py::none());
  }

 private:
  Index rows() const { return rows_.offset[call_.steps]; }
  void hold(const py::object& object) { held_.append(object); }

  void take_direction(int d, bool reverse, const py::object& weights, const py::object& initial, const py::object& x_scale,
                      const py::object& h_scale) {
    auto& c = call_;
    auto& dir = c.direction[d];
    require_items("weights", weights, 3, "arrays (kernel, recurrent, bias) per direction");
    const auto recurrent = item(weights, 1).cast<py::array>();
    const Index G = gates_of(c.cell), H = recurrent.ndim() ? recurrent.shape(0) : 0;
    if (d && H != c.units) fail("weights", std::to_string(c.units) + " units in both directions", std::to_string(H));
    if (!H) fail("weights", "a recurrent kernel (units, gates * units)", describe(recurrent));
    c.units = H;
    dir.reverse = reverse;
    dir.y_column = d * H;
    dir.map = rows_.map(d);
    dir.kernel = contiguous<T>("weights: kernel", item(weights, 0).cast<py::array>(), {c.features, G * H});
    dir.recurrent = contiguous<T>("weights: recurrent", recurrent, {H, G * H});
    dir.bias = optional_contiguous<T>("weights: bias", item(weights, 2), bias_shape(c.cell, H));
    hold(weights);
    if (!initial.is_none()) {
      const int expected = c.cell == Cell::kLstm ? 2 : 1;
      require_items("initial", initial, expected, expected == 1 ? "state (h,)" : "states (h, c)");
      dir.h0 = optional_contiguous<T>("initial: h", item(initial, 0), {c.batch, H});
      if (expected == 2) dir.c0 = optional_contiguous<T>("initial: c", item(initial, 1), {c.batch, H});
      hold(initial);
    }
    dir.x_scale = optional_contiguous<T>("x_scale", x_scale, {c.batch, c.features});
    dir.h_scale = optional_contiguous<T>("h_scale", h_scale, {c.batch, H});
    hold(x_scale);
    hold(h_scale);
  }

  std::shared_ptr<T> keep_memory(Index count) {
    memory_.push_back(borrow_array<T>(count));
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
      dir.saved_gates = keep_memory(c.keep ? R * columns : threads_ * sizes_.chunk_rows * columns).get();
      if (c.cell == Cell::kGru || c.cell == Cell::kGruResetBefore)
        dir.saved_recurrent = keep_memory((c.keep ? R : B) * columns).get();
      if (c.cell == Cell::kGruResetBefore) dir.saved_reset_h = keep_memory((c.keep ? R : B) * H).get();
      if (c.cell == Cell::kLstm) dir.saved_c = keep_memory((c.keep ? B + R : 2 * B) * sizes_.state_stride).get();
      saved_h_ = keep_memory((B + R) * H);
      dir.saved_h = saved_h_.get();
      if (dir.h_scale) dir.saved_used_h = keep_memory(R * H).get();
    }
  }

  // dL/dh in the order of y, zeros past a length.
  py::array by_step(const RecurrentDirection<T>& dir) const {
    const Index B = call_.batch, S = call_.steps, H = call_.units;
    const py::array result = new_sequence<T>(B, S, H);
    T* to = data_of<T>(result);
    std::memset(to, 0, sizeof(T) * size_t(B * S * H));
    for (Index s = 0; s < S; ++s)
      for (Index j = 0; j < rows_.active[size_t(s)]; ++j) {
        const Index b = rows_.order[size_t(j)], t = dir.reverse && !call_.scan_order ? rows_.lengths[size_t(b)] - 1 - s : s;
        std::memcpy(to + (t * B + b) * H, dir.step_gradients + (rows_.offset[size_t(s)] + j) * H, sizeof(T) * size_t(H));
      }
    return result;
  }

  void compute(PackedWeights* home = nullptr) {
    auto& c = call_;
    std::vector<std::shared_ptr<void>> packs;
    const std::size_t bytes = sizeof(T) * size_t(sizes_.forward_pack);
    c.packed = home && home->holds(c.directions, bytes, c.mixed);
    if (c.packed) packs = home->memory;
    for (int d = 0; d < c.directions; ++d) {
      if (!c.packed) packs.push_back(borrow(bytes));
      c.direction[d].scratch_pack = static_cast<T*>(packs[size_t(d)].get());
    }
    std::vector<std::shared_ptr<T>> scratch;
    c.scratch_thread = nullptr;
    if (c.mixed || c.scales_x()) {
      scratch.push_back(borrow_array<T>(threads_ * sizes_.thread_scratch));
      c.scratch_thread = scratch.back().get();
    }
    run_released(threads_, [&](const Team& team) { kernels<T>().recurrent_forward(c, team); });
    if (home && !c.packed) *home = {std::move(packs), bytes, bool(c.mixed)};
  }

  // The gates were overwritten by their gradients: a second way back (of a persistent tape) needs them again.
  void recompute() {
    py::array y = new_array<T>({call_.batch * call_.steps * call_.directions * call_.units});
    const bool was_h = call_.y_is_h;
    if (!was_h && call_.sequences)
      call_.y = {data_of<T>(y), call_.directions * call_.units, call_.batch * call_.directions * call_.units};
    if (!call_.sequences) call_.y = {data_of<T>(y), call_.directions * call_.units, 0};
    for (int d = 0; d < call_.directions; ++d) call_.direction[d].h_last = call_.direction[d].c_last = nullptr;
    compute();
  }

  RecurrentCall<T> call_{};
  RecurrentSizes sizes_{};
  Rows rows_;
  std::vector<std::shared_ptr<T>> memory_;
  std::shared_ptr<T> saved_h_;
  py::list held_;  // arrays whose memory the call points at
  int threads_ = 1;
  bool spent_ = false;  // guarded by gates_in_use_, like the saved gates and call_ after the forward pass
  Exclusive gates_in_use_;
};

py::tuple forward(const std::string& cell, const py::array& x, const py::object& weights, bool sequences, bool save, bool states,
                  const py::object& packed, const py::object& initial, const std::vector<bool>& reverse,
                  const py::object& lengths, const py::object& mask, const py::object& x_scale, const py::object& h_scale,
                  const std::string& activation, const std::string& recurrent_activation, bool scan_order, bool zero_masked,
                  bool mixed) {
  const ForwardOptions options{cell_of(cell),
                               activation_of("activation", activation),
                               activation_of("recurrent_activation", recurrent_activation),
                               sequences,
                               scan_order,
                               zero_masked,
                               save,
                               mixed};
  return with_type_of("x", x, [&](auto zero) {
    auto layer = std::make_shared<Layer<decltype(zero)>>(options, x, weights, initial, reverse, lengths, mask, x_scale, h_scale);
    const py::tuple result = layer->forward(packed.is_none() ? nullptr : packed.cast<PackedWeights*>(), states);
    const py::object saved = save ? py::cast(std::static_pointer_cast<Saved>(layer)) : py::none();
    return py::make_tuple(result[0], result[1], saved);
  });
}

template <class T>
py::tuple scan(bool back, const py::object& input, Shape shape, double alpha, const py::object& initial,
               const py::object& lengths, const py::object& mask, bool reverse) {
  if (!(alpha >= 0 && alpha <= 1)) fail("alpha", "a number from 0 to 1", std::to_string(alpha));
  ContextScan<T> call{};
  if (!input.is_none()) {
    const auto array = input.cast<py::array>();
    call.z = sequence_of<const T>(back ? "ds" : "z", array, shape);
    shape = {array.shape(0), array.shape(1), array.shape(2)};
  }
  const Index B = shape[0], S = shape[1], C = shape[2];
  if (B < 1 || S < 1 || C < 1) fail(back ? "shape" : "z", "a sequence that is not empty", describe(shape));
  Rows rows;
  rows.build(B, S, lengths, mask, 1, &reverse);
  call.map = rows.map(0);
  call.reverse = reverse;
  call.columns = C;
  call.alpha = alpha;
  call.initial = optional_contiguous<T>(back ? "ds_last" : "initial", initial, {B, C});
  const py::array result = new_sequence<T>(B, S, C), last = new_array<T>({B, C});
  call.s = {data_of<T>(result), C, B * C};
  call.last = data_of<T>(last);
  run_released(threads_for(20.0 * double(B * S * C)), [&](const Team& team) {
    back ? kernels<T>().context_backward(call, team) : kernels<T>().context_forward(call, team);
  });
  return py::make_tuple(result, last);
}

}  // namespace

void bind_recurrent(py::module_& m) {
  py::class_<Saved, std::shared_ptr<Saved>>(m, "Saved").def_property_readonly("nbytes", &Saved::nbytes);
  // A copy of a layer packs anew.
  py::class_<PackedWeights, std::shared_ptr<PackedWeights>>(m, "PackedWeights")
      .def(py::init<>())
      .def("__reduce__", [](const py::object& self) { return py::make_tuple(py::type::of(self), py::tuple()); });
  define(m, "recurrent_forward",
         "cell:str x:array weights:sequence sequences:bool save:bool states:bool packed:PackedWeights? initial:sequence? "
         "reverse:sequence lengths:array? mask:array? x_scale:sequence? h_scale:sequence? activation:str "
         "recurrent_activation:str scan_order:bool zero_masked:bool mixed:bool",
         // Looking for arguments by name costs a microsecond; what every call of a layer gives goes by position.
         &forward, py::arg("cell"), py::arg("x"), py::arg("weights"), py::arg("sequences") = true, py::arg("save") = true,
         py::arg("states") = true, py::arg("packed") = py::none(), py::kw_only(), py::arg("initial") = py::none(),
         py::arg("reverse") = std::vector<bool>{false}, py::arg("lengths") = py::none(), py::arg("mask") = py::none(),
         py::arg("x_scale") = py::none(), py::arg("h_scale") = py::none(), py::arg("activation") = "tanh",
         py::arg("recurrent_activation") = "sigmoid", py::arg("scan_order") = false, py::arg("zero_masked") = false,
         py::arg("mixed") = false);
  define(
      m, "recurrent_backward",
      "saved:Saved dy:array? dstates:sequence? need_dx:bool need_weights:bool need_initial:bool step_gradients:bool "
      "out:sequence?",
      [](Saved& saved, const py::object& dy, const py::object& dstates, bool need_dx, bool need_weights, bool need_initial,
         bool step_gradients,
         const py::object& out) { return saved.backward(dy, dstates, need_dx, need_weights, need_initial, step_gradients, out); },
      py::arg("saved"), py::arg("dy"), py::arg("dstates") = py::none(), py::arg("need_dx") = true, py::arg("need_weights") = true,
      py::arg("need_initial") = true, py::arg("step_gradients") = false, py::arg("out") = py::none());
  define(
      m, "context_scan_forward", "z:array alpha:float initial:array? lengths:array? mask:array? reverse:bool",
      [](const py::array& z, double alpha, const py::object& initial, const py::object& lengths, const py::object& mask,
         bool reverse) {
        return with_type_of("z", z, [&](auto zero) {
          return scan<decltype(zero)>(false, z, {-1, -1, -1}, alpha, initial, lengths, mask, reverse);
        });
      },
      py::arg("z"), py::arg("alpha"), py::arg("initial") = py::none(), py::arg("lengths") = py::none(),
      py::arg("mask") = py::none(), py::arg("reverse") = false);
  define(
      m, "context_scan_backward",
      "ds:array? ds_last:array? alpha:float shape:sequence lengths:array? mask:array? reverse:bool "
      "dtype:str",
      [](const py::object& ds, const py::object& ds_last, double alpha, const Shape& shape, const py::object& lengths,
         const py::object& mask, bool reverse, const std::string& dtype) {
        if (shape.size() != 3) fail("shape", "(batch, time, columns)", describe(shape));
        return with_dtype(
            dtype, [&](auto zero) { return scan<decltype(zero)>(true, ds, shape, alpha, ds_last, lengths, mask, reverse); });
      },
      py::arg("ds"), py::arg("ds_last"), py::arg("alpha"), py::arg("shape"), py::arg("lengths") = py::none(),
      py::arg("mask") = py::none(), py::arg("reverse") = false, py::arg("dtype") = "float32");
}

}  // namespace seqcore
