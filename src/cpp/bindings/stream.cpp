// Streaming inference: layers with packed weights and their state, one time step at a time, on the
// calling thread.
#include <cstring>
#include <limits>

#include "common.h"

namespace seqcore {
namespace {

template <class T>
using Memory = std::shared_ptr<T>;

// The team of one: a stream never wakes other threads.
int never_stops = 0;
Index no_last_round = std::numeric_limits<Index>::max();
const Team kAlone{0, 1, nullptr, nullptr, nullptr, nullptr, &never_stops, &no_last_round};

template <class T>
class Stage {
 public:
  virtual ~Stage() = default;
  virtual void step(const T* x) = 0;
  virtual void reset() {}
  virtual std::vector<std::pair<T*, Index>> state() { return {}; }  // (data, columns) of each
  const T* output() const { return output_.get(); }
  Index columns = 0;

 protected:
  Memory<T> output_;
};

// One time step of a recurrent layer: the sequence kernel over a sequence of one.
template <class T>
class RecurrentStage : public Stage<T> {
 public:
  RecurrentStage(Index batch, Index inputs, Cell cell, Activation activation,
                 Activation recurrent_activation, const T* kernel, const T* recurrent,
                 const T* bias, Index units) {
    this->columns = units;
    call_.cell = cell;
    call_.activation = activation;
    call_.recurrent_activation = recurrent_activation;
    call_.batch = batch;
    call_.steps = 1;
    call_.features = inputs;
    call_.units = units;
    call_.directions = 1;
    const bool forwards = false;
    rows_.build(batch, 1, {}, {}, 1, &forwards);
    // No size that is derived from these overflows: a row of gates is shorter than this, padding
    // included.
    product<T>({batch, 8, units + 64});
    RecurrentSizes sizes;
    kernels<T>().recurrent_sizes(call_, sizes);
    auto& dir = call_.direction[0];
    dir.batch = rows_.map(0);
    dir.kernel = kernel;
    dir.recurrent = recurrent;
    dir.bias = bias;
    dir.scratch_pack = own(sizes.forward_pack);
    dir.saved_gates = own(sizes.chunk_rows * sizes.gate_stride);
    dir.saved_recurrent = own(batch * sizes.gate_stride);
    dir.saved_reset_h = own(batch * units);
    dir.saved_c = own(2 * batch * sizes.state_stride);
    dir.saved_h = own(2 * batch * units);
    h_ = own(batch * units);
    dir.h0 = dir.h_last = h_;
    if (cell == Cell::kLstm) {
      c_ = own(batch * units);
      dir.c0 = dir.c_last = c_;
    }
    this->output_ = pool_alloc_array<T>(product<T>({batch, units}));
    call_.y = {this->output_.get(), units, 0};
    kernels<T>().recurrent_pack(call_, kAlone);
    dir.kernel = dir.recurrent = dir.bias = nullptr;
    call_.packed = 1;
    RecurrentStage::reset();
  }
  void step(const T* x) override {
    call_.x = {x, call_.features, 0};
    kernels<T>().recurrent_forward(call_, kAlone);
  }
  void reset() override {
    for (const auto& [data, columns] : state())
      std::memset(data, 0, sizeof(T) * size_t(call_.batch * columns));
  }
  std::vector<std::pair<T*, Index>> state() override {
    std::vector<std::pair<T*, Index>> all{{h_, call_.units}};
    if (c_) all.push_back({c_, call_.units});
    return all;
  }

 private:
  T* own(Index count) {
    memory_.push_back(pool_alloc_array<T>(count));
    return memory_.back().get();
  }
  RecurrentCall<T> call_{};
  Rows rows_;
  std::vector<Memory<T>> memory_;
  T *h_ = nullptr, *c_ = nullptr;
};

template <class T>
class DenseStage : public Stage<T> {
 public:
  DenseStage(Index batch, Index inputs, const T* kernel, const T* bias, Index outputs,
             Activation activation)
      : softmax_(activation == Activation::kSoftmax) {
    this->columns = outputs;
    call_.rows = batch;
    call_.inputs = inputs;
    call_.outputs = outputs;
    call_.activation = softmax_ ? Activation::kLinear : activation;
    DenseSizes sizes;
    kernels<T>().dense_sizes(call_, sizes);
    pack_ = pool_alloc_array<T>(sizes.pack);
    call_.scratch_pack = pack_.get();
    call_.kernel = kernel;
    call_.bias = bias;
    kernels<T>().dense_pack(call_, kAlone);
    call_.kernel = call_.bias = nullptr;
    call_.packed = 1;
    this->output_ = pool_alloc_array<T>(product<T>({batch, outputs}));
    call_.y = this->output_.get();
  }
  void step(const T* x) override {
    call_.x = x;
    kernels<T>().dense_forward(call_, kAlone);
    if (softmax_) kernels<T>().softmax(call_.y, call_.rows, call_.outputs, kAlone);
  }

 private:
  DenseCall<T> call_{};
  Memory<T> pack_;
  bool softmax_;
};

template <class T>
class ActivationStage : public Stage<T> {
 public:
  ActivationStage(Index batch, Index columns, Activation activation)
      : batch_(batch), activation_(activation) {
    this->columns = columns;
    this->output_ = pool_alloc_array<T>(product<T>({batch, columns}));
  }
  void step(const T* x) override {
    T* y = this->output_.get();
    std::memcpy(y, x, sizeof(T) * size_t(batch_ * this->columns));
    if (activation_ == Activation::kSoftmax)
      kernels<T>().softmax(y, batch_, this->columns, kAlone);
    else
      kernels<T>().activate(y, batch_ * this->columns, activation_);
  }

 private:
  Index batch_;
  Activation activation_;
};

// RNN-CF: s = (1 - α) x·B + α s; h = f([x, s]·[A; P] + h·R + b); output [h, s].
template <class T>
class ContextStage : public Stage<T> {
 public:
  ContextStage(Index batch, Index inputs, const T* context_kernel, Index context,
               const T* joint_kernel, const T* recurrent, const T* bias, Index units, double alpha,
               Activation activation)
      : batch_(batch), inputs_(inputs), context_(context), units_(units), alpha_(alpha),
        product_(batch, inputs, context_kernel, nullptr, context, Activation::kLinear),
        rnn_(batch, inputs + context, Cell::kRnn, activation, Activation::kSigmoid, joint_kernel,
             recurrent, bias, units) {
    this->columns = units + context;
    this->output_ = pool_alloc_array<T>(product<T>({batch, this->columns}));
    joint_ = pool_alloc_array<T>(product<T>({batch, inputs + context}));
    s_ = pool_alloc_array<T>(product<T>({batch, context}));
    ContextStage::reset();
  }
  void step(const T* x) override {
    product_.step(x);
    const T keep = T(alpha_), take = T(1 - alpha_);
    const Index width = inputs_ + context_;
    for (Index b = 0; b < batch_; ++b) {
      T* joint = joint_.get() + b * width;
      std::memcpy(joint, x + b * inputs_, sizeof(T) * size_t(inputs_));
      for (Index n = 0; n < context_; ++n) {
        T& s = s_.get()[b * context_ + n];
        s = take * product_.output()[b * context_ + n] + keep * s;
        joint[inputs_ + n] = s;
      }
    }
    rnn_.step(joint_.get());
    for (Index b = 0; b < batch_; ++b) {
      T* y = this->output_.get() + b * this->columns;
      std::memcpy(y, rnn_.output() + b * units_, sizeof(T) * size_t(units_));
      std::memcpy(y + units_, s_.get() + b * context_, sizeof(T) * size_t(context_));
    }
  }
  void reset() override {
    rnn_.reset();
    std::memset(s_.get(), 0, sizeof(T) * size_t(batch_ * context_));
  }
  std::vector<std::pair<T*, Index>> state() override {
    auto all = rnn_.state();
    all.push_back({s_.get(), context_});
    return all;
  }

 private:
  Index batch_, inputs_, context_, units_;
  double alpha_;
  DenseStage<T> product_;
  RecurrentStage<T> rnn_;
  Memory<T> joint_, s_;
};

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
  explicit Stream(Index batch) : batch_(batch) { require_range("batch_size", batch, 1, kMaxRows); }

  void add_embedding(const Array& table) override {
    if (columns_)
      throw py::value_error(
          "add_embedding: expected to be the first layer, got one behind another");
    const T* from = table.read<T>({-1, -1});
    const Index columns = table.shape(1);
    if (!table.size()) fail("table", "a matrix that is not empty", describe(table.object()));
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
      fail("recurrent", "a matrix (units, gates * units) that is not empty",
           describe(recurrent.object()));
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
      fail(C ? "kernel" : "context_kernel", "a matrix that is not empty", describe(Shape{D, 0}));
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
    if (!N) fail("kernel", "a matrix that is not empty", describe(kernel.object()));
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
    if (!kernel.shape(0))
      fail(kernel.name(), "a matrix that is not empty", describe(kernel.object()));
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
    for (Index b = 0; b < batch_; ++b)
      if (ids[b] < 0 || ids[b] >= vocabulary_)
        fail("x", "ids 0..." + std::to_string(vocabulary_ - 1),
             std::to_string(ids[b]) + " at " + std::to_string(b));
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
  Memory<T> table_, looked_up_;
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
