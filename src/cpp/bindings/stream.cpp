// Streaming inference: a stack of layers that is advanced one time step at a time.
#include "ids.h"
#include "stream_stages.h"

namespace seqcore {
namespace {

// Every method holds the GIL from its first check to its last write, and no Python code runs in
// between: to other threads each is one step.
class StreamBase {
 public:
  virtual ~StreamBase() = default;
  virtual void add_embedding(const Array& table) = 0;
  virtual void add_recurrent(Cell cell, const Array& kernel, const Array& recurrent,
                             const OptionalArray& bias, Activation activation,
                             Activation recurrent_activation) = 0;
  virtual void add_context(const Array& context_kernel, const Array& kernel,
                           const Array& context_recurrent, const Array& recurrent,
                           const OptionalArray& bias, double alpha, Activation activation) = 0;
  virtual void add_dense(const Array& kernel, const OptionalArray& bias,
                         OutputActivation activation) = 0;
  virtual void add_activation(OutputActivation activation) = 0;
  virtual py::object step(const Array& x) = 0;
  virtual void reset() = 0;
  virtual py::list get_state() = 0;
  virtual void set_state(const Items& state) = 0;
};

template <class T>
class Stream : public StreamBase {
 public:
  explicit Stream(Index batch) : batch_(batch) { require_range("batch_size", batch, 1, kMaxSize); }

  void add_embedding(const Array& table) override {
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
    vocabulary_ = table.shape(0);
    columns_ = table_columns_ = columns;
  }

  void add_recurrent(Cell cell, const Array& kernel, const Array& recurrent,
                     const OptionalArray& bias, Activation activation,
                     Activation recurrent_activation) override {
    const Index H = recurrent.rank() ? recurrent.shape(0) : 0;
    if (!H)
      fail("recurrent", "a non-empty matrix (units, gates * units)", describe(recurrent.object()));
    const Index columns = product<T>({gates_of(cell), H});
    const T* u = recurrent.read<T>({H, columns});
    const T* w = kernel.read<T>({expected_inputs(), columns});
    const Index D = inputs_of(kernel);
    add(std::make_unique<RecurrentStage<T>>(batch_, D, cell, activation, recurrent_activation, w, u,
                                            read<T>(bias, bias_shape(cell, H)), H),
        D);
  }

  void add_context(const Array& context_kernel, const Array& kernel, const Array& context_recurrent,
                   const Array& recurrent, const OptionalArray& bias, double alpha,
                   Activation activation) override {
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
                                          alpha, activation),
        D);
  }

  void add_dense(const Array& kernel, const OptionalArray& bias,
                 OutputActivation activation) override {
    const T* w = kernel.read<T>({expected_inputs(), -1});
    const Index D = inputs_of(kernel), N = kernel.shape(1);
    if (!N) fail("kernel", "a non-empty matrix", describe(kernel.object()));
    add(std::make_unique<DenseStage<T>>(batch_, D, w, read<T>(bias, {N}), N, activation), D);
  }

  void add_activation(OutputActivation activation) override {
    if (!columns_)
      throw py::value_error("add_activation: expected a layer before it, got an empty stream");
    add(std::make_unique<ActivationStage<T>>(batch_, columns_, activation), columns_);
  }

  py::object step(const Array& x) override {
    if (!columns_)
      throw py::value_error("step: expected a stream with at least one layer, got an empty one");
    // Before the layers move: to make an object may run Python's garbage collector, and so
    // anything.
    py::object y = new_array<T>({batch_, columns_});
    const T* at = table_ ? look_up(x) : x.read<T>({batch_, inputs_});
    for (const auto& stage : stages_) {
      stage->step(at);
      at = stage->output();
    }
    std::memcpy(data_of<T>(y), at, sizeof(T) * size_t(batch_ * columns_));
    return y;
  }

  void reset() override {
    for (const auto& stage : stages_) stage->reset();
  }

  py::list get_state() override {
    py::list states;
    std::vector<std::pair<T*, Index>> copies;
    for (const auto& stage : stages_) {
      const auto parts = stage->state();
      if (parts.empty()) continue;
      py::tuple state(parts.size());
      for (size_t i = 0; i < parts.size(); ++i) {
        const py::object copy = new_array<T>({batch_, parts[i].second});
        copies.push_back({data_of<T>(copy), batch_ * parts[i].second});
        state[i] = copy;
      }
      states.append(state);
    }
    // All at once, when no object is made any more.
    auto copy = copies.begin();
    for (const auto& stage : stages_)
      for (const auto& part : stage->state()) {
        std::memcpy(copy->first, part.first, sizeof(T) * size_t(copy->second));
        ++copy;
      }
    return states;
  }

  // Everything is checked before anything is written.
  void set_state(const Items& state) override {
    std::vector<std::pair<T*, Index>> parts;
    std::vector<const T*> values;
    Arrays held;
    Index layer = 0;
    for (const auto& stage : stages_) {
      const auto own = stage->state();
      if (own.empty()) continue;
      const std::string count = std::to_string(own.size()) + " arrays";
      if (layer >= state.size())
        fail("state", "one entry per recurrent layer", std::to_string(state.size()));
      const Items given(Name("state", layer), state[layer].ptr(), count.c_str());
      ++layer;
      given.require_size(Index(own.size()), "arrays");
      for (size_t i = 0; i < own.size(); ++i) {
        held.push_back(given.array(Index(i), "state"));
        values.push_back(held.back().template read<T>({batch_, own[i].second}));
        parts.push_back(own[i]);
      }
    }
    state.require_size(layer, "entries, one per recurrent layer");
    for (size_t i = 0; i < parts.size(); ++i)
      std::memcpy(parts[i].first, values[i], sizeof(T) * size_t(batch_ * parts[i].second));
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
    stages_.push_back(std::move(stage));
  }

  template <class I>
  void copy_rows(const I* ids) {
    const Index D = table_columns_;
    require_ids("x", "ids", ids, batch_, vocabulary_);
    for (Index b = 0; b < batch_; ++b)
      std::memcpy(looked_up_.get() + b * D, table_.get() + Index(ids[b]) * D,
                  sizeof(T) * size_t(D));
  }
  const T* look_up(const Array& ids) {
    if (ids.holds<int32_t>())
      copy_rows(ids.read<int32_t>({batch_}));
    else
      copy_rows(ids.read<int64_t>({batch_}));
    return looked_up_.get();
  }

  Index batch_, inputs_ = 0, columns_ = 0, vocabulary_ = 0, table_columns_ = 0;
  std::shared_ptr<T> table_, looked_up_;
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
          "recurrent_activation='sigmoid')")
      .method<&StreamBase::add_context>(
          "add_context(context_kernel, kernel, context_recurrent, recurrent, bias, alpha, "
          "activation='tanh')")
      .method<&StreamBase::add_dense>("add_dense(kernel, bias, activation='linear')")
      .method<&StreamBase::add_activation>("add_activation(activation)")
      .method<&StreamBase::step>("step(x)")
      .method<&StreamBase::reset>("reset()")
      .method<&StreamBase::get_state>("get_state()")
      .method<&StreamBase::set_state>("set_state(state)");
}

}  // namespace seqcore
