// Streaming inference: layers with packed weights and their state, one time step at a time, on the calling thread.
#include <cstring>
#include <limits>

#include "arguments.h"

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
  RecurrentStage(Index batch, Index inputs, Cell cell, Activation activation, Activation recurrent_activation, const T* kernel,
                 const T* recurrent, const T* bias, Index units) {
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
    rows_.build(batch, 1, py::none(), py::none(), 1, &forwards);
    RecurrentSizes sizes;
    kernels<T>().recurrent_sizes(call_, sizes);
    auto& dir = call_.direction[0];
    dir.map = rows_.map(0);
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
    this->output_ = borrow_array<T>(batch * units);
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
    for (const auto& [data, columns] : state()) std::memset(data, 0, sizeof(T) * size_t(call_.batch * columns));
  }
  std::vector<std::pair<T*, Index>> state() override {
    std::vector<std::pair<T*, Index>> all{{h_, call_.units}};
    if (c_) all.push_back({c_, call_.units});
    return all;
  }

 private:
  T* own(Index count) {
    memory_.push_back(borrow_array<T>(count));
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
  DenseStage(Index batch, Index inputs, const T* kernel, const T* bias, Index outputs, Activation activation)
      : softmax_(activation == Activation::kSoftmax) {
    this->columns = outputs;
    call_.rows = batch;
    call_.inputs = inputs;
    call_.outputs = outputs;
    call_.activation = softmax_ ? Activation::kLinear : activation;
    DenseSizes sizes;
    kernels<T>().dense_sizes(call_, sizes);
    pack_ = borrow_array<T>(sizes.pack);
    call_.scratch_pack = pack_.get();
    call_.kernel = kernel;
    call_.bias = bias;
    kernels<T>().dense_pack(call_, kAlone);
    call_.kernel = call_.bias = nullptr;
    call_.packed = 1;
    this->output_ = borrow_array<T>(batch * outputs);
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
  ActivationStage(Index batch, Index columns, Activation activation) : batch_(batch), activation_(activation) {
    this->columns = columns;
    this->output_ = borrow_array<T>(batch * columns);
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
  ContextStage(Index batch, Index inputs, const T* context_kernel, Index context, const T* joint_kernel, const T* recurrent,
               const T* bias, Index units, double alpha, Activation activation)
      : batch_(batch), inputs_(inputs), context_(context), units_(units), alpha_(alpha),
        product_(batch, inputs, context_kernel, nullptr, context, Activation::kLinear),
        rnn_(batch, inputs + context, Cell::kRnn, activation, Activation::kSigmoid, joint_kernel, recurrent, bias, units) {
    this->columns = units + context;
    this->output_ = borrow_array<T>(batch * this->columns);
    joint_ = borrow_array<T>(batch * (inputs + context));
    s_ = borrow_array<T>(batch * context);
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

class StreamBase {
 public:
  virtual ~StreamBase() = default;
  virtual void add_embedding(const py::array& table) = 0;
  virtual void add_recurrent(const std::string& cell, const py::array& kernel, const py::array& recurrent, const py::object& bias,
                             const std::string& activation, const std::string& recurrent_activation) = 0;
  virtual void add_context(const py::array& context_kernel, const py::array& kernel, const py::array& context_recurrent,
                           const py::array& recurrent, const py::object& bias, double alpha, const std::string& activation) = 0;
  virtual void add_dense(const py::array& kernel, const py::object& bias, const std::string& activation) = 0;
  virtual void add_activation(const std::string& activation) = 0;
  virtual py::array step(const py::array& x) = 0;
  virtual void reset() = 0;
  virtual py::list get_state() = 0;
  virtual void set_state(const py::object& state) = 0;
};

template <class T>
class Stream : public StreamBase {
 public:
  explicit Stream(Index batch) : batch_(batch) {
    if (batch < 1) fail("batch_size", "a number from 1", std::to_string(batch));
  }

  void add_embedding(const py::array& table) override {
    if (columns_ || table_) throw py::value_error("add_embedding: expected to be the first layer");
    const T* from = contiguous<T>("table", table, {-1, -1});
    vocabulary_ = table.shape(0);
    columns_ = table_columns_ = table.shape(1);
    table_ = borrow_array<T>(table.size());
    std::memcpy(table_.get(), from, sizeof(T) * size_t(table.size()));
    looked_up_ = borrow_array<T>(batch_ * columns_);
  }

  void add_recurrent(const std::string& cell, const py::array& kernel, const py::array& recurrent, const py::object& bias,
                     const std::string& activation, const std::string& recurrent_activation) override {
    const Cell which = cell_of(cell);
    const Index H = recurrent.ndim() ? recurrent.shape(0) : 0, columns = gates_of(which) * H;
    const T* u = contiguous<T>("recurrent", recurrent, {H, columns});
    const T* w = contiguous<T>("kernel", kernel, {expected_inputs(), columns});
    add(std::make_unique<RecurrentStage<T>>(batch_, kernel.shape(0), which, activation_of("activation", activation),
                                            activation_of("recurrent_activation", recurrent_activation), w, u,
                                            optional_contiguous<T>("bias", bias, bias_shape(which, H)), H),
        kernel.shape(0));
  }

  void add_context(const py::array& context_kernel, const py::array& kernel, const py::array& context_recurrent,
                   const py::array& recurrent, const py::object& bias, double alpha, const std::string& activation) override {
    const T* b = contiguous<T>("context_kernel", context_kernel, {expected_inputs(), -1});
    const Index D = context_kernel.shape(0), C = context_kernel.shape(1);
    const T* a = contiguous<T>("kernel", kernel, {D, -1});
    const Index H = kernel.shape(1);
    const T* p = contiguous<T>("context_recurrent", context_recurrent, {C, H});
    const T* r = contiguous<T>("recurrent", recurrent, {H, H});
    const auto joint = borrow_array<T>((D + C) * H);
    std::memcpy(joint.get(), a, sizeof(T) * size_t(D * H));
    std::memcpy(joint.get() + D * H, p, sizeof(T) * size_t(C * H));
    add(std::make_unique<ContextStage<T>>(batch_, D, b, C, joint.get(), r, optional_contiguous<T>("bias", bias, {H}), H, alpha,
                                          activation_of("activation", activation)),
        D);
  }

  void add_dense(const py::array& kernel, const py::object& bias, const std::string& activation) override {
    const T* w = contiguous<T>("kernel", kernel, {expected_inputs(), -1});
    const Index N = kernel.shape(1);
    add(std::make_unique<DenseStage<T>>(batch_, kernel.shape(0), w, optional_contiguous<T>("bias", bias, {N}), N,
                                        activation_of("activation", activation, true)),
        kernel.shape(0));
  }

  void add_activation(const std::string& activation) override {
    if (!columns_) throw py::value_error("add_activation: expected a layer before it");
    add(std::make_unique<ActivationStage<T>>(batch_, columns_, activation_of("activation", activation, true)), columns_);
  }

  py::array step(const py::array& x) override {
    if (stages_.empty() && !table_) throw py::value_error("step: expected a stream with at least one layer");
    const T* at = table_ ? look_up(x) : contiguous<T>("x", x, {batch_, inputs_});
    for (const auto& stage : stages_) {
      stage->step(at);
      at = stage->output();
    }
    py::array_t<T> y({batch_, columns_});
    std::memcpy(y.mutable_data(), at, sizeof(T) * size_t(batch_ * columns_));
    return std::move(y);
  }

  void reset() override {
    for (const auto& stage : stages_) stage->reset();
  }

  py::list get_state() override {
    py::list states;
    for (const auto& stage : stages_) {
      const auto parts = stage->state();
      if (parts.empty()) continue;
      py::tuple state(parts.size());
      for (size_t i = 0; i < parts.size(); ++i) {
        py::array_t<T> copy({batch_, parts[i].second});
        std::memcpy(copy.mutable_data(), parts[i].first, sizeof(T) * size_t(batch_ * parts[i].second));
        state[i] = copy;
      }
      states.append(state);
    }
    return states;
  }

  // Everything is checked before anything is written.
  void set_state(const py::object& state) override {
    std::vector<std::pair<T*, Index>> parts;
    std::vector<const T*> values;
    size_t layer = 0;
    for (const auto& stage : stages_) {
      const auto own = stage->state();
      if (own.empty()) continue;
      if (layer >= py::len(state)) fail("state", "one entry per recurrent layer", std::to_string(py::len(state)));
      const py::object given = state[py::int_(layer++)];
      if (py::len(given) != own.size()) fail("state", std::to_string(own.size()) + " arrays", std::to_string(py::len(given)));
      for (size_t i = 0; i < own.size(); ++i) {
        values.push_back(contiguous<T>("state", given[py::int_(i)].template cast<py::array>(), {batch_, own[i].second}));
        parts.push_back(own[i]);
      }
    }
    if (layer != py::len(state))
      fail("state", std::to_string(layer) + " entries, one per recurrent layer", std::to_string(py::len(state)));
    for (size_t i = 0; i < parts.size(); ++i)
      std::memcpy(parts[i].first, values[i], sizeof(T) * size_t(batch_ * parts[i].second));
  }

 private:
  Index expected_inputs() const { return columns_ ? columns_ : -1; }

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
        fail("x", "ids 0..." + std::to_string(vocabulary_ - 1), std::to_string(ids[b]) + " at " + std::to_string(b));
    for (Index b = 0; b < batch_; ++b)
      std::memcpy(looked_up_.get() + b * D, table_.get() + Index(ids[b]) * D, sizeof(T) * size_t(D));
  }
  const T* look_up(const py::array& ids) {
    if (py::isinstance<py::array_t<int32_t>>(ids))
      copy_rows(contiguous<int32_t>("x", ids, {batch_}));
    else
      copy_rows(contiguous<int64_t>("x", ids, {batch_}));
    return looked_up_.get();
  }

  Index batch_, inputs_ = 0, columns_ = 0, vocabulary_ = 0, table_columns_ = 0;
  Memory<T> table_, looked_up_;
  std::vector<std::unique_ptr<Stage<T>>> stages_;
};

}  // namespace

void bind_stream(py::module_& m) {
  py::class_<StreamBase> stream(m, "Stream");
  stream.def(py::init([](Index batch_size, const std::string& dtype) {
               return with_dtype(dtype, [&](auto zero) -> std::unique_ptr<StreamBase> {
                 return std::make_unique<Stream<decltype(zero)>>(batch_size);
               });
             }),
             py::arg("batch_size"), py::arg("dtype") = "float32");
  define_method(stream, "add_embedding", "table:array", &StreamBase::add_embedding, py::arg("table"));
  define_method(stream, "add_recurrent",
                "cell:str kernel:array recurrent:array bias:array? activation:str recurrent_activation:str",
                &StreamBase::add_recurrent, py::arg("cell"), py::arg("kernel"), py::arg("recurrent"), py::arg("bias"),
                py::arg("activation") = "tanh", py::arg("recurrent_activation") = "sigmoid");
  define_method(stream, "add_context",
                "context_kernel:array kernel:array context_recurrent:array recurrent:array bias:array? "
                "alpha:float activation:str",
                &StreamBase::add_context, py::arg("context_kernel"), py::arg("kernel"), py::arg("context_recurrent"),
                py::arg("recurrent"), py::arg("bias"), py::arg("alpha"), py::arg("activation") = "tanh");
  define_method(stream, "add_dense", "kernel:array bias:array? activation:str", &StreamBase::add_dense, py::arg("kernel"),
                py::arg("bias"), py::arg("activation") = "linear");
  define_method(stream, "add_activation", "activation:str", &StreamBase::add_activation, py::arg("activation"));
  define_method(stream, "step", "x:array", &StreamBase::step, py::arg("x"));
  stream.def("reset", &StreamBase::reset);
  stream.def("get_state", &StreamBase::get_state);
  define_method(stream, "set_state", "state:sequence", &StreamBase::set_state, py::arg("state"));
}

}  // namespace seqcore
