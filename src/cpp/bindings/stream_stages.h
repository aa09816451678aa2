// The layers of a stream: packed weights and state, one time step at a time, on the calling thread.
#pragma once

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
  std::shared_ptr<T> output_;
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
    dir.scratch_pack = own(sizes.forward_pack);
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
  BatchLayout layout_;
  std::vector<std::shared_ptr<T>> memory_;
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
  std::shared_ptr<T> pack_;
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
  std::shared_ptr<T> joint_, s_;
};

}  // namespace seqcore
