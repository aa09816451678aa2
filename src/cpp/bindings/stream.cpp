// Streaming inference: a stack of layers that is advanced one time step at a time.
#include "ids.h"
#include "stream_stages.h"

namespace seqcore {
namespace {

// Multiplications of a step from which on other threads may run Python meanwhile: 20 microseconds
// on a processor that makes 12.5 of them in a nanosecond. (AMD EPYC: 26 to 40 for one sequence.)
constexpr double kReleaseProducts = 250000;

// To other threads every method is one step: it has the layers for itself, or holds the GIL from
// its first check to its last write, and no Python code runs in between.
class StreamBase {
 public:
  virtual ~StreamBase() = default;
  virtual void add_embedding(const Array& table) = 0;
  virtual void add_recurrent(Cell cell, const Array& kernel, const Array& recurrent,
                             const OptionalArray& bias, Activation activation,
                             Activation recurrent_activation, bool mixed) = 0;
  virtual void add_context(const Array& context_kernel, const Array& kernel,
                           const Array& context_recurrent, const Array& recurrent,
                           const OptionalArray& bias, double alpha, Activation activation,
                           bool mixed) = 0;
  virtual void add_dense(const Array& kernel, const OptionalArray& bias,
                         OutputActivation activation, bool mixed) = 0;
  virtual void add_conv1d(const Array& kernel, const OptionalArray& bias,
                          OutputActivation activation, Index dilation_rate, bool mixed) = 0;
  virtual void add_activation(OutputActivation activation) = 0;
  virtual void add_layer_normalization(const OptionalArray& gamma, const OptionalArray& beta,
                                       double epsilon) = 0;
  virtual py::object step(const Array& x, const OptionalArray& out) = 0;
  virtual void reset(const OptionalArray& rows) = 0;
  virtual py::list get_state() = 0;
  virtual void set_state(const Items& state) = 0;
};

template <class T>
class Stream : public StreamBase {
 public:
  explicit Stream(Index batch) : batch_(batch) { require_range("batch_size", batch, 1, kMaxSize); }

  void add_embedding(const Array& table) override {
    const ExclusiveScope scope(in_use_);
    if (columns_)
      throw py::value_error(
          "add_embedding: expected to be the first layer, got one behind another");
    const T* from = table.read<T>({-1, -1});
    const Index columns = table.shape(1);
    require_elements(table);
    const auto looked_up = pool_alloc_array<T>(product<T>({batch_, columns}));
    table_ = pool_alloc_array<T>(table.size());
    std::memcpy(table_.get(), from, sizeof(T) * size_t(table.size()));
    looked_up_ = looked_up;
    ids_ = pool_alloc_array<int64_t>(batch_);
    vocabulary_ = table.shape(0);
    columns_ = table_columns_ = columns;
  }

  void add_recurrent(Cell cell, const Array& kernel, const Array& recurrent,
                     const OptionalArray& bias, Activation activation,
                     Activation recurrent_activation, bool mixed) override {
    const ExclusiveScope scope(in_use_);
    const Index H = recurrent.rank() ? recurrent.shape(0) : 0;
    if (!H)
      fail("recurrent", "a non-empty matrix (units, gates * units)", describe(recurrent.object()));
    const Index columns = product<T>({gates_of(cell), H});
    const T* u = recurrent.read<T>({H, columns});
    const T* w = kernel.read<T>({expected_inputs(), columns});
    const Index D = inputs_of(kernel);
    add(std::make_unique<RecurrentStage<T>>(batch_, D, cell, activation, recurrent_activation, w, u,
                                            read<T>(bias, bias_shape(cell, H)), H,
                                            checked_mixed<T>(mixed)),
        D);
  }

  void add_context(const Array& context_kernel, const Array& kernel, const Array& context_recurrent,
                   const Array& recurrent, const OptionalArray& bias, double alpha,
                   Activation activation, bool mixed) override {
    const ExclusiveScope scope(in_use_);
    const T* b = context_kernel.read<T>({expected_inputs(), -1});
    const Index D = inputs_of(context_kernel), C = context_kernel.shape(1);
    const T* a = kernel.read<T>({D, -1});
    const Index H = kernel.shape(1);
    if (!C || !H)
      fail(C ? "kernel" : "context_kernel", "a non-empty matrix", describe(Shape{D, 0}));
    if (!(alpha >= 0 && alpha <= 1)) fail("alpha", "a number from 0 to 1", std::to_string(alpha));
    const T* p = context_recurrent.read<T>({C, H});
    const T* r = recurrent.read<T>({H, H});
    const auto joint = pool_alloc_array<T>(product<T>({D + C, H}));
    std::memcpy(joint.get(), a, sizeof(T) * size_t(D * H));
    std::memcpy(joint.get() + D * H, p, sizeof(T) * size_t(C * H));
    add(std::make_unique<ContextStage<T>>(batch_, D, b, C, joint.get(), r, read<T>(bias, {H}), H,
                                          alpha, activation, checked_mixed<T>(mixed)),
        D);
  }

  void add_dense(const Array& kernel, const OptionalArray& bias, OutputActivation activation,
                 bool mixed) override {
    const ExclusiveScope scope(in_use_);
    const T* w = kernel.read<T>({expected_inputs(), -1});
    const Index D = inputs_of(kernel), N = kernel.shape(1);
    if (!N) fail("kernel", "a non-empty matrix", describe(kernel.object()));
    add(std::make_unique<DenseStage<T>>(batch_, D, w, read<T>(bias, {N}), N, activation,
                                        checked_mixed<T>(mixed)),
        D);
  }

  void add_conv1d(const Array& kernel, const OptionalArray& bias, OutputActivation activation,
                  Index dilation_rate, bool mixed) override {
    const ExclusiveScope scope(in_use_);
    const T* w = kernel.read<T>({-1, expected_inputs(), -1});
    const Index K = kernel.shape(0), D = kernel.shape(1), N = kernel.shape(2);
    if (!K || !D || !N) fail("kernel", "a non-empty array", describe(kernel.object()));
    require_range("dilation_rate", dilation_rate, 1, kMaxSize);
    product<T>({2, K, dilation_rate, batch_, D});
    add(std::make_unique<ConvolutionStage<T>>(batch_, D, K, dilation_rate, w, read<T>(bias, {N}), N,
                                              activation, checked_mixed<T>(mixed)),
        D);
  }

  void add_activation(OutputActivation activation) override {
    const ExclusiveScope scope(in_use_);
    if (!columns_)
      throw py::value_error("add_activation: expected a layer before it, got an empty stream");
    add(std::make_unique<ActivationStage<T>>(batch_, columns_, activation), columns_);
  }

  void add_layer_normalization(const OptionalArray& gamma, const OptionalArray& beta,
                               double epsilon) override {
    const ExclusiveScope scope(in_use_);
    const OptionalArray& given = gamma ? gamma : beta;
    const Index D = columns_ ? columns_ : given && given->rank() == 1 ? given->shape(0) : 0;
    if (!D)
      throw py::value_error(
          "add_layer_normalization: expected gamma, beta or a layer before it, got none of them");
    if (!(epsilon >= 0)) fail("epsilon", "a number from 0", std::to_string(epsilon));
    add(std::make_unique<NormalizationStage<T>>(batch_, D, read<T>(gamma, {D}), read<T>(beta, {D}),
                                                epsilon),
        D);
  }

  py::object step(const Array& x, const OptionalArray& out) override {
    if (!columns_)
      throw py::value_error("step: expected a stream with at least one layer, got an empty one");
    // One sequence may come without the axis of the batch; then there is none in the output.
    const bool unbatched = !table_ && batch_ == 1 && x.rank() == 1;
    const Index columns = columns_;
    const Shape shape = unbatched ? Shape{columns} : Shape{batch_, columns};
    // Before the layers move: to make an object may run Python's garbage collector, and so
    // anything.
    const py::object y = out ? out->object() : new_array<T>(shape);
    T* to = out ? out->write<T>(shape) : data_of<T>(y);
    const T* at;
    if (products_ < kReleaseProducts) {
      require_columns(columns);
      at = run(table_ ? look_up(x) : input(x, unbatched, false));
    } else {
      const ExclusiveScope scope(in_use_);
      require_columns(columns);
      at = table_ ? look_up(x) : input(x, unbatched, true);
      const py::gil_scoped_release release;
      at = run(at);
    }
    // With the GIL: no other step begins before this is done.
    std::memcpy(to, at, sizeof(T) * size_t(batch_ * columns));
    return y;
  }

  void reset(const OptionalArray& rows) override {
    const ExclusiveScope scope(in_use_);
    const int64_t* chosen = rows ? rows->read<int64_t>({-1}) : nullptr;
    const Index count = rows ? rows->shape(0) : batch_;
    if (rows) require_ids("rows", "rows", chosen, count, batch_);
    for (const auto& stage : stages_)
      for (const auto& part : stage->state())
        for (Index i = 0; i < count; ++i) part.zero(rows ? Index(chosen[i]) : i, batch_);
  }

  py::list get_state() override {
    std::vector<std::vector<Shape>> shapes;
    {
      const ExclusiveScope scope(in_use_);
      for (const auto& stage : stages_) {
        std::vector<Shape> own;
        for (const auto& part : stage->state()) own.push_back(part.shape(batch_));
        if (!own.empty()) shapes.push_back(std::move(own));
      }
    }
    py::list states;
    std::vector<T*> copies;
    for (const auto& own : shapes) {
      py::tuple state(own.size());
      for (size_t i = 0; i < own.size(); ++i) {
        const py::object copy = new_array<T>(own[i]);
        copies.push_back(data_of<T>(copy));
        state[i] = copy;
      }
      states.append(state);
    }
    // All at once, when no object is made any more. A layer may have been added meanwhile.
    const ExclusiveScope scope(in_use_);
    auto copy = copies.begin();
    for (const auto& stage : stages_)
      for (const auto& part : stage->state())
        if (copy != copies.end()) part.copy_to(*copy++, batch_);
    return states;
  }

  // Everything is checked before anything is written.
  void set_state(const Items& state) override {
    const ExclusiveScope scope(in_use_);
    std::vector<StatePart<T>> parts;
    std::vector<const T*> values;
    Arrays held;
    Index layer = 0;
    for (const auto& stage : stages_) {
      const auto own = stage->state();
      if (own.empty()) continue;
      const std::string count = std::to_string(own.size()) + " arrays";
      if (layer >= state.size())
        fail("state", "one entry per layer with a state", std::to_string(state.size()));
      const Items given(Name("state", layer), state[layer].ptr(), count.c_str());
      ++layer;
      given.require_size(Index(own.size()), "arrays");
      for (size_t i = 0; i < own.size(); ++i) {
        held.push_back(given.array(Index(i), "state"));
        values.push_back(held.back().template read<T>(own[i].shape(batch_)));
        parts.push_back(own[i]);
      }
    }
    state.require_size(layer, "entries, one per layer with a state");
    for (size_t i = 0; i < parts.size(); ++i) parts[i].copy_from(values[i], batch_);
  }

 private:
  Index expected_inputs() const { return columns_ ? columns_ : -1; }
  static Index inputs_of(const Array& kernel) {
    if (!kernel.shape(0)) fail(kernel.name(), "a non-empty matrix", describe(kernel.object()));
    return kernel.shape(0);
  }

  void add(std::unique_ptr<Stage<T>> stage, Index inputs) {
    if (stages_.empty() && !table_) inputs_ = inputs;
    columns_ = stage->columns;
    products_ += stage->products;
    for (const auto& part : stage->state())
      for (Index b = 0; b < batch_; ++b) part.zero(b, batch_);
    stages_.push_back(std::move(stage));
  }

  void require_columns(Index columns) const {
    if (columns != columns_)
      throw py::value_error(
          "step: expected the layers to stay as they are, got one more meanwhile");
  }
  const T* run(const T* at) {
    for (const auto& stage : stages_) {
      stage->step(at);
      at = stage->output();
    }
    return at;
  }

  // The numbers of x (batch, inputs), or (inputs,): where they are, or a copy of those that have
  // other strides or the other type.
  const T* input(const Array& x, bool unbatched, bool copied) {
    const Shape shape = unbatched ? Shape{inputs_} : Shape{batch_, inputs_};
    const auto* array = py::detail::array_proxy(x.object().ptr());
    const bool in_order = array->flags & py::detail::npy_api::NPY_ARRAY_C_CONTIGUOUS_;
    if (!copied && in_order && x.holds<T>()) return x.read<T>(shape);
    x.require_shape(shape);
    if (!input_) input_ = pool_alloc_array<T>(batch_ * inputs_);
    const Index row = unbatched ? 0 : array->strides[0], column = array->strides[array->nd - 1];
    with_type_of(x, [&](auto number) {
      for (Index b = 0; b < batch_; ++b)
        for (Index i = 0; i < inputs_; ++i) {
          std::memcpy(&number, array->data + b * row + i * column, sizeof(number));
          input_.get()[b * inputs_ + i] = T(number);
        }
    });
    return input_.get();
  }

  const T* look_up(const Array& ids) {
    if (ids.holds<int32_t>())
      copy_ids<int32_t>(ids);
    else
      copy_ids<int64_t>(ids);
    require_ids("x", "ids", ids_.get(), batch_, vocabulary_);
    const Index D = table_columns_;
    for (Index b = 0; b < batch_; ++b)
      std::memcpy(looked_up_.get() + b * D, table_.get() + ids_.get()[b] * D,
                  sizeof(T) * size_t(D));
    return looked_up_.get();
  }
  template <class I>
  void copy_ids(const Array& ids) {
    ids.require_type<I>();
    ids.require_shape({batch_});
    const auto* array = py::detail::array_proxy(ids.object().ptr());
    for (Index b = 0; b < batch_; ++b) {
      I id;
      std::memcpy(&id, array->data + b * array->strides[0], sizeof(id));
      ids_.get()[b] = id;
    }
  }

  Index batch_, inputs_ = 0, columns_ = 0, vocabulary_ = 0, table_columns_ = 0;
  double products_ = 0;
  std::shared_ptr<T> table_, looked_up_, input_;
  std::shared_ptr<int64_t> ids_;
  Exclusive in_use_;
  std::vector<std::unique_ptr<Stage<T>>> stages_;
};

std::shared_ptr<StreamBase> make_stream(Index batch_size, DType dtype) {
  return with_dtype(dtype, [&](auto zero) -> std::shared_ptr<StreamBase> {
    return std::make_shared<Stream<decltype(zero)>>(batch_size);
  });
}

}  // namespace

void bind_stream(py::module_& m) {
  Class<StreamBase, &make_stream>(m, "Stream(batch_size, dtype='float32')")
      .method<&StreamBase::add_embedding>("add_embedding(table)")
      .method<&StreamBase::add_recurrent>(
          "add_recurrent(cell, kernel, recurrent, bias, activation='tanh', "
          "recurrent_activation='sigmoid', mixed=False)")
      .method<&StreamBase::add_context>(
          "add_context(context_kernel, kernel, context_recurrent, recurrent, bias, alpha, "
          "activation='tanh', mixed=False)")
      .method<&StreamBase::add_dense>("add_dense(kernel, bias, activation='linear', mixed=False)")
      .method<&StreamBase::add_conv1d>(
          "add_conv1d(kernel, bias, activation='linear', dilation_rate=1, mixed=False)")
      .method<&StreamBase::add_activation>("add_activation(activation)")
      .method<&StreamBase::add_layer_normalization>(
          "add_layer_normalization(gamma, beta, epsilon=0.001)")
      .method<&StreamBase::step>("step(x, out=None)")
      .method<&StreamBase::reset>("reset(rows=None)")
      .method<&StreamBase::get_state>("get_state()")
      .method<&StreamBase::set_state>("set_state(state)");
}

}  // namespace seqcore
