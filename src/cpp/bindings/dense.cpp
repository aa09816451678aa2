// Dense layers, softmax with its loss, and the normal distribution of GELU.
#include <cmath>
#include <cstring>

#include "bindings.h"
#include "ids.h"

namespace seqcore {
namespace {

template <class T>
DenseCall<T> dense_call(const Array& x, const Array& kernel, Activation activation, bool mixed) {
  DenseCall<T> call{};
  call.x = x.read<T>({-1, -1});
  call.rows = x.shape(0);
  call.inputs = x.shape(1);
  call.kernel = kernel.read<T>({call.inputs, -1});
  call.outputs = kernel.shape(1);
  call.activation = activation;
  call.use_bf16 = checked_mixed<T>(mixed);
  require_elements(x);
  require_elements(kernel);
  return call;
}

// The gradients that are wanted, as arrays that the call points at.
struct Gradients {
  py::object dx = py::none(), dkernel = py::none(), dbias = py::none();

  template <class T, class Call>
  void make(Call& call, Index columns, bool need_dx, bool need_weights, bool use_bias,
            const OptionalItems& out, Outputs& outputs) {
    if (need_dx) {
      dx = new_array<T>({call.rows, call.inputs});
      call.dx = data_of<T>(dx);
    }
    if (!need_weights) return;
    dkernel = outputs.array<T>(out, 0, {call.inputs, columns});
    call.dkernel = data_of<T>(dkernel);
    if (!use_bias) return;
    dbias = outputs.array<T>(out, 1, {columns});
    call.dbias = data_of<T>(dbias);
  }
};

double flops_of(Index rows, Index inputs, Index outputs) {
  return 2.0 * double(rows) * double(inputs) * double(outputs);
}

py::object dense_forward(const Array& x, const Array& kernel, const OptionalArray& bias,
                         Activation activation, bool mixed) {
  return with_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    auto call = dense_call<T>(x, kernel, activation, mixed);
    call.bias = read<T>(bias, {call.outputs});
    const py::object y = new_array<T>({call.rows, call.outputs});
    call.y = data_of<T>(y);
    DenseSizes sizes;
    kernels<T>().dense_sizes(call, sizes);
    const auto pack = pool_alloc_array<T>(sizes.pack);
    call.scratch_pack = pack.get();
    const int threads = threads_for(flops_of(call.rows, call.inputs, call.outputs));
    const auto scratch = pool_alloc_array<T>(mixed ? threads * sizes.thread : 0);
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().dense_forward(call, team); });
    return y;
  });
}

py::tuple dense_backward(const Array& x, const Array& kernel, const Array& y, const Array& dy,
                         Activation activation, bool use_bias, bool need_dx, bool need_weights,
                         const OptionalItems& out, bool mixed) {
  return with_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    if (out) out->require_size(2, "arrays (dkernel, dbias)");
    auto call = dense_call<T>(x, kernel, activation, mixed);
    const Index R = call.rows, K = call.inputs, N = call.outputs;
    call.y = const_cast<T*>(y.read<T>({R, N}));
    call.dy = dy.read<T>({R, N});
    Outputs outputs;
    Gradients gradients;
    gradients.make<T>(call, N, need_dx, need_weights, use_bias, out, outputs);
    outputs.require_apart(x, kernel, y, dy);
    DenseSizes sizes;
    kernels<T>().dense_sizes(call, sizes);
    const int threads = threads_for(2 * flops_of(R, K, N));
    const auto pack = pool_alloc_array<T>(sizes.pack), rows = pool_alloc_array<T>(sizes.rows),
               scratch = pool_alloc_array<T>(threads * sizes.thread);
    call.scratch_pack = pack.get();
    call.scratch_rows = rows.get();
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().dense_backward(call, team); });
    return py::make_tuple(gradients.dx, gradients.dkernel, gradients.dbias);
  });
}

py::tuple linear_softmax(const Array& x, const Array& kernel, const OptionalArray& bias,
                         const Array& targets, const OptionalArray& weights, bool gradients,
                         bool need_dx, const OptionalItems& out, bool mixed) {
  return with_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    if (out) out->require_size(2, "arrays (dkernel, dbias)");
    LinearSoftmaxCall<T> call{};
    call.use_bf16 = checked_mixed<T>(mixed);
    call.x = x.read<T>({-1, -1});
    const Index R = call.rows = x.shape(0), K = call.inputs = x.shape(1);
    call.kernel = kernel.read<T>({K, -1});
    const Index V = call.classes = kernel.shape(1);
    require_elements(x);
    if (!V || V > kMaxSize)
      fail("kernel", "1..." + std::to_string(kMaxSize) + " columns", describe(kernel.object()));
    call.bias = read<T>(bias, {V});
    const auto classes = copy_ids("targets", "class numbers", targets.read<int32_t>({R}), R, V);
    call.targets = classes.get();
    call.weights = read<T>(weights, {R});
    const py::object losses = new_array<T>({R}), correct = new_array<bool>({R});
    call.losses = data_of<T>(losses);
    call.correct = data_of<uint8_t>(correct);
    Outputs outputs;
    Gradients wanted;
    wanted.make<T>(call, V, gradients && need_dx, gradients, call.bias, out, outputs);
    outputs.require_apart(x, kernel, bias, targets, weights);
    LinearSoftmaxSizes sizes;
    kernels<T>().linear_softmax_sizes(call, sizes);
    const int threads = threads_for(flops_of(R, K, V));
    const auto pack = pool_alloc_array<T>(sizes.pack), logits = pool_alloc_array<T>(sizes.logits),
               rows = pool_alloc_array<T>(sizes.rows),
               scratch = pool_alloc_array<T>(threads * sizes.thread);
    call.scratch_pack = pack.get();
    call.scratch_logits = logits.get();
    call.scratch_rows = rows.get();
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().linear_softmax(call, team); });
    return py::make_tuple(losses, correct, wanted.dx, wanted.dkernel, wanted.dbias);
  });
}

py::object softmax(const Array& x) {
  return with_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.read<T>({-1, -1});
    const Index R = x.shape(0), N = x.shape(1);
    require_elements(x);
    const py::object y = new_array<T>({R, N});
    T* to = data_of<T>(y);
    std::memcpy(to, from, sizeof(T) * size_t(R * N));
    run_released(threads_for(20.0 * double(R * N)),
                 [&](const Team& team) { kernels<T>().softmax(to, R, N, team); });
    return y;
  });
}

py::object normal_cdf(const Array& x) {
  return with_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.read<T>({-1});
    const Index N = x.shape(0);
    const py::object y = new_array<T>({N});
    T* to = data_of<T>(y);
    run_released(threads_for(30.0 * double(N)), [&](const Team& team) {
      const Range mine = split_range(N, team);
      // erfc, not 1 + erf, whose digits cancel far below zero.
      for (Index i = mine.begin; i < mine.end; ++i)
        to[i] = std::erfc(from[i] * T(-0.70710678118654752440)) / 2;
    });
    return y;
  });
}

}  // namespace

void bind_dense(py::module_& m) {
  define<&dense_forward>(
      m, "dense_forward(x, kernel, bias=None, activation='linear', *, mixed=False)");
  define<&dense_backward>(
      m,
      "dense_backward(x, kernel, y, dy, activation='linear', *, use_bias=True, need_dx=True, "
      "need_weights=True, out=None, mixed=False)");
  define<&linear_softmax>(m,
                          "linear_softmax(x, kernel, bias, targets, weights=None, *, "
                          "gradients=True, need_dx=True, out=None, "
                          "mixed=False)");
  define<&softmax>(m, "softmax(x)");
  define<&normal_cdf>(m, "normal_cdf(x)");
}

}  // namespace seqcore
