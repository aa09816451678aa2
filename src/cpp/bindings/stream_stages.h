// The layers of a stream: packed weights and state, one time step at a time, on the calling thread.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "bindings.h"

namespace seqcore {

// The team of one: a stream never wakes other threads.
inline int never_stops = 0;
inline Index no_last_round = std::numeric_limits<Index>::max();
const Team kAlone{0, 1, nullptr, nullptr, nullptr, &never_stops, &no_last_round};

// A part of the state of a layer: memory (steps, batch, columns), to Python (batch, steps,
// columns), or (batch, columns) where it is not over time.
template <class T>
struct StatePart {
  T* data;
  Index columns, steps = 1;
  bool over_time = false;

  Shape shape(Index batch) const {
    return over_time ? Shape{batch, steps, columns} : Shape{batch, columns};
  }
  T* row(Index step, Index b, Index batch) const { return data + (step * batch + b) * columns; }
  void zero(Index b, Index batch) const {
    for (Index s = 0; s < steps; ++s) std::memset(row(s, b, batch), 0, sizeof(T) * size_t(columns));
  }
  void copy_to(T* to, Index batch) const {
    for (Index b = 0; b < batch; ++b)
      for (Index s = 0; s < steps; ++s, to += columns)
        std::memcpy(to, row(s, b, batch), sizeof(T) * size_t(columns));
  }
  void copy_from(const T* from, Index batch) const {
    for (Index b = 0; b < batch; ++b)
      for (Index s = 0; s < steps; ++s, from += columns)
        std::memcpy(row(s, b, batch), from, sizeof(T) * size_t(columns));
  }
};

template <class T>
class Stage {
 public:
  virtual ~Stage() = default;
  virtual void step(const T* x) = 0;
  virtual std::vector<StatePart<T>> state() { return {}; }
  const T* output() const { return output_.get(); }
  Index columns = 0;
  double products = 0;  // multiplications of a step

 protected:
  std::shared_ptr<T> output_;
};

// One time step of a recurrent layer: the sequence kernel over a sequence of one.
template <class T>
class RecurrentStage : public Stage<T> {
 public:
  RecurrentStage(Index batch, Index inputs, Cell cell, Activation activation,
                 Activation recurrent_activation, const T* kernel, const T* recurrent,
                 const T* bias, Index units, bool mixed) {
    this->columns = units;
    call_.cell = cell;
    call_.activation = activation;
    call_.recurrent_activation = recurrent_activation;
    call_.use_bf16 = mixed;
    call_.batch = batch;
    call_.steps = 1;
    call_.features = inputs;
    call_.units = units;
    call_.directions = 1;
    const bool forwards = false;
    layout_.build(batch, 1, {}, {}, 1, &forwards);
    // No size that is derived from these overflows: a row of gates is shorter than this, padding
    // included.
    product<T>({batch, 8, units + 64});
    RecurrentSizes sizes;
    kernels<T>().recurrent_sizes(call_, sizes);
    auto& dir = call_.direction[0];
    dir.batch = layout_.packed(0);
    dir.kernel = kernel;
    dir.recurrent = recurrent;
    dir.bias = bias;
    dir.recurrent_bias = recurrent_bias_of(cell, bias, units);
    dir.scratch_pack = own(sizes.forward_pack);
    if (mixed) call_.scratch_thread = own(sizes.thread_scratch);
    dir.saved_gates = own(sizes.chunk_rows * sizes.gate_stride);
    dir.saved_recurrent = own(batch * sizes.gate_stride);
    dir.saved_reset_h = own(batch * units);
    dir.saved_c = own(2 * batch * sizes.state_stride);
    dir.saved_h = own(2 * batch * units);
    h_ = own(batch * units);
    dir.h0 = dir.h_last = h_;
    if (state_count(cell) == 2) {
      c_ = own(batch * units);
      dir.c0 = dir.c_last = c_;
    }
    this->output_ = pool_alloc_array<T>(product<T>({batch, units}));
    call_.y = {this->output_.get(), units, 0};
    kernels<T>().recurrent_pack(call_, kAlone);
    dir.kernel = dir.recurrent = dir.bias = dir.recurrent_bias = nullptr;
    call_.packed = 1;
    this->products = double(batch) * double(inputs + units) * double(gates_of(cell) * units);
  }
  void step(const T* x) override {
    call_.x = {x, call_.features, 0};
    kernels<T>().recurrent_forward(call_, kAlone);
    // The next step begins with the weights that this one read last, which the second-level cache
    // still holds: 13.9 µs instead of 15.0 where it has 1.0 MB and they have 1.3.
    call_.descending ^= 1;
  }
  std::vector<StatePart<T>> state() override {
    std::vector<StatePart<T>> all{{h_, call_.units}};
    if (c_) all.push_back({c_, call_.units});
    return all;
  }

 private:
  T* own(Index count) {
    memory_.push_back(pool_alloc_array<T>(count));
    return memory_.back().get();
  }
  RecurrentCall<T> call_{};
  BatchLayout layout_;
  std::vector<std::shared_ptr<T>> memory_;
  T *h_ = nullptr, *c_ = nullptr;
};

template <class T>
class DenseStage : public Stage<T> {
 public:
  DenseStage(Index batch, Index inputs, const T* kernel, const T* bias, Index outputs,
             Activation activation, bool mixed)
      : softmax_(activation == Activation::kSoftmax) {
    this->columns = outputs;
    call_.rows = batch;
    call_.inputs = inputs;
    call_.outputs = outputs;
    call_.activation = softmax_ ? Activation::kLinear : activation;
    call_.use_bf16 = mixed;
    DenseSizes sizes;
    kernels<T>().dense_sizes(call_, sizes);
    pack_ = pool_alloc_array<T>(sizes.pack);
    if (mixed) pairs_ = pool_alloc_array<T>(sizes.thread);
    call_.scratch_thread = pairs_.get();
    call_.scratch_pack = pack_.get();
    call_.kernel = kernel;
    call_.bias = bias;
    kernels<T>().dense_pack(call_, kAlone);
    call_.kernel = call_.bias = nullptr;
    call_.packed = 1;
    this->output_ = pool_alloc_array<T>(product<T>({batch, outputs}));
    call_.y = this->output_.get();
    this->products = double(batch) * double(inputs) * double(outputs);
  }
  void step(const T* x) override {
    call_.x = x;
    kernels<T>().dense_forward(call_, kAlone);
    if (softmax_) kernels<T>().softmax(call_.y, call_.rows, call_.outputs, kAlone);
  }

 private:
  DenseCall<T> call_{};
  std::shared_ptr<T> pack_, pairs_;
  bool softmax_;
};

// A causal convolution: a dense layer over the window of the last inputs. They lie one after the
// other in a buffer, at the end of which those that are still needed move to its front.
template <class T>
class ConvolutionStage : public DenseStage<T> {
 public:
  ConvolutionStage(Index batch, Index inputs, Index size, Index dilation, const T* kernel,
                   const T* bias, Index outputs, Activation activation, bool mixed)
      : DenseStage<T>(batch, product<T>({size, inputs}), kernel, bias, outputs, activation, mixed),
        batch_(batch), inputs_(inputs), size_(size), dilation_(dilation),
        past_((size - 1) * dilation), places_(2 * past_ + 1) {
    buffer_ = pool_alloc_array<T>(product<T>({places_, batch, inputs}));
    if (!in_place()) window_ = pool_alloc_array<T>(product<T>({batch, size, inputs}));
  }
  void step(const T* x) override {
    const Index row = batch_ * inputs_;
    if (first_ + past_ == places_) {
      std::memcpy(buffer_.get(), place(first_), sizeof(T) * size_t(past_ * row));
      first_ = 0;
    }
    std::memcpy(place(first_ + past_), x, sizeof(T) * size_t(row));
    const T* window = place(first_);
    if (!in_place()) {
      T* to = window_.get();
      for (Index b = 0; b < batch_; ++b)
        for (Index k = 0; k < size_; ++k, to += inputs_)
          std::memcpy(to, place(first_ + k * dilation_) + b * inputs_, sizeof(T) * size_t(inputs_));
      window = window_.get();
    }
    ++first_;
    DenseStage<T>::step(window);
  }
  std::vector<StatePart<T>> state() override { return {{place(first_), inputs_, past_, true}}; }

 private:
  bool in_place() const { return batch_ == 1 && dilation_ == 1; }
  T* place(Index n) { return buffer_.get() + n * batch_ * inputs_; }

  Index batch_, inputs_, size_, dilation_;
  Index past_;  // inputs that a step needs next to its own
  Index places_;  // of the buffer
  Index first_ = 0;  // place of the oldest input that is still needed
  std::shared_ptr<T> buffer_, window_;
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

// gamma (x - mean) / sqrt(variance + epsilon) + beta of each row.
template <class T>
class NormalizationStage : public Stage<T> {
 public:
  NormalizationStage(Index batch, Index columns, const T* gamma, const T* beta, double epsilon)
      : batch_(batch), epsilon_(epsilon), gamma_(size_t(columns), T(1)),
        beta_(size_t(columns), T(0)) {
    this->columns = columns;
    this->output_ = pool_alloc_array<T>(product<T>({batch, columns}));
    if (gamma) gamma_.assign(gamma, gamma + columns);
    if (beta) beta_.assign(beta, beta + columns);
  }
  void step(const T* x) override {
    const Index columns = this->columns;
    T* y = this->output_.get();
    for (Index b = 0; b < batch_; ++b, x += columns, y += columns) {
      double sum = 0, squares = 0;
      for (Index n = 0; n < columns; ++n) sum += double(x[n]);
      const double mean = sum / double(columns);
      for (Index n = 0; n < columns; ++n) squares += (x[n] - mean) * (x[n] - mean);
      const double scale = 1 / std::sqrt(squares / double(columns) + epsilon_);
      for (Index n = 0; n < columns; ++n)
        y[n] = T((x[n] - mean) * scale) * gamma_[size_t(n)] + beta_[size_t(n)];
    }
  }

 private:
  Index batch_;
  double epsilon_;
  std::vector<T> gamma_, beta_;
};

// RNN-CF: s = (1 - α) x·B + α s; h = f([x, s]·[A; P] + h·R + b); output [h, s].
template <class T>
class ContextStage : public Stage<T> {
 public:
  ContextStage(Index batch, Index inputs, const T* context_kernel, Index context,
               const T* joint_kernel, const T* recurrent, const T* bias, Index units, double alpha,
               Activation activation, bool mixed)
      : batch_(batch), inputs_(inputs), context_(context), units_(units), alpha_(alpha),
        product_(batch, inputs, context_kernel, nullptr, context, Activation::kLinear, mixed),
        rnn_(batch, inputs + context, Cell::kRnn, activation, Activation::kSigmoid, joint_kernel,
             recurrent, bias, units, mixed) {
    this->columns = units + context;
    this->output_ = pool_alloc_array<T>(product<T>({batch, this->columns}));
    joint_ = pool_alloc_array<T>(product<T>({batch, inputs + context}));
    s_ = pool_alloc_array<T>(product<T>({batch, context}));
    this->products = product_.products + rnn_.products;
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
  std::vector<StatePart<T>> state() override {
    auto all = rnn_.state();
    all.push_back({s_.get(), context_});
    return all;
  }

 private:
  Index batch_, inputs_, context_, units_;
  double alpha_;
  DenseStage<T> product_;
  RecurrentStage<T> rnn_;
  std::shared_ptr<T> joint_, s_;
};

}  // namespace seqcore
