// Dense layers, softmax with its loss, embeddings.
#include <algorithm>
#include <cstring>

#include "common.h"
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
  if (!call.rows || !call.inputs) fail("x", "a matrix that is not empty", describe(x.object()));
  if (!call.outputs) fail("kernel", "a matrix that is not empty", describe(kernel.object()));
  return call;
}

// Arrays that are written share no memory with each other or with those that are read.
void require_out_apart(const OptionalItems& out, std::initializer_list<const Array*> reads) {
  if (!out) return;
  std::vector<Extent> extents;
  for (const Array* array : reads)
    if (array) extents.push_back(array->extent(false));
  for (Index i = 0; i < out->size(); ++i)
    if (const auto array = out->optional_array(i)) extents.push_back(array->extent(true));
  require_apart(std::move(extents));
}
const Array* pointer(const OptionalArray& array) { return array ? &*array : nullptr; }

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
    require_out_apart(out, {&x, &kernel, &y, &dy});
    py::object dx = py::none(), dkernel = py::none(), dbias = py::none();
    if (need_dx) {
      dx = new_array<T>({R, K});
      call.dx = data_of<T>(dx);
    }
    if (need_weights) {
      dkernel = place<T>(out, 0, {K, N});
      call.dkernel = data_of<T>(dkernel);
      if (use_bias) {
        dbias = place<T>(out, 1, {N});
        call.dbias = data_of<T>(dbias);
      }
    }
    DenseSizes sizes;
    kernels<T>().dense_sizes(call, sizes);
    const int threads = threads_for(2 * flops_of(R, K, N));
    const auto pack = pool_alloc_array<T>(sizes.pack), rows = pool_alloc_array<T>(sizes.rows),
               scratch = pool_alloc_array<T>(threads * sizes.thread);
    call.scratch_pack = pack.get();
    call.scratch_rows = rows.get();
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().dense_backward(call, team); });
    return py::make_tuple(dx, dkernel, dbias);
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
    if (!R || !K) fail("x", "a matrix that is not empty", describe(x.object()));
    if (!V || V > kMaxRows)
      fail("kernel", "1..." + std::to_string(kMaxRows) + " columns", describe(kernel.object()));
    call.bias = read<T>(bias, {V});
    // A copy: nobody can change the numbers after they were looked at.
    const int32_t* given = targets.read<int32_t>({R});
    const auto classes = pool_alloc_array<int32_t>(R);
    std::memcpy(classes.get(), given, sizeof(int32_t) * size_t(R));
    call.targets = classes.get();
    for (Index r = 0; r < R; ++r)
      if (call.targets[r] < 0 || call.targets[r] >= V)
        fail("targets", "class numbers 0..." + std::to_string(V - 1),
             std::to_string(call.targets[r]) + " at row " + std::to_string(r));
    call.weights = read<T>(weights, {R});
    require_out_apart(out, {&x, &kernel, pointer(bias), &targets, pointer(weights)});
    const py::object losses = new_array<T>({R}), correct = new_array<bool>({R});
    call.losses = data_of<T>(losses);
    call.correct = data_of<uint8_t>(correct);
    py::object dx = py::none(), dkernel = py::none(), dbias = py::none();
    if (gradients) {
      if (need_dx) {
        dx = new_array<T>({R, K});
        call.dx = data_of<T>(dx);
      }
      dkernel = place<T>(out, 0, {K, V});
      call.dkernel = data_of<T>(dkernel);
      if (call.bias) {
        dbias = place<T>(out, 1, {V});
        call.dbias = data_of<T>(dbias);
      }
    }
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
    return py::make_tuple(losses, correct, dx, dkernel, dbias);
  });
}

py::object softmax(const Array& x) {
  return with_type_of(x, [&](auto zero) {
    using T = decltype(zero);
    const T* from = x.read<T>({-1, -1});
    const Index R = x.shape(0), N = x.shape(1);
    if (!R || !N) fail("x", "a matrix that is not empty", describe(x.object()));
    const py::object y = new_array<T>({R, N});
    T* to = data_of<T>(y);
    std::memcpy(to, from, sizeof(T) * size_t(R * N));
    run_released(threads_for(20.0 * double(R * N)),
                 [&](const Team& team) { kernels<T>().softmax(to, R, N, team); });
    return y;
  });
}

template <class I>
void check_ids(const I* ids, Index count, Index rows) {
  for (Index n = 0; n < count; ++n)
    if (ids[n] < 0 || ids[n] >= rows)
      fail("ids", "whole numbers 0..." + std::to_string(rows - 1),
           std::to_string(ids[n]) + " at " + std::to_string(n));
}

py::object embedding_forward(const Array& table, const Array& ids) {
  return with_type_of(table, [&](auto zero) {
    using T = decltype(zero);
    const T* rows = table.read<T>({-1, -1});
    const Index V = table.shape(0), D = table.shape(1), N = ids.size();
    if (ids.rank() > 2) fail("ids", "two axes at most", describe(ids.object()));
    return with_ids(ids, [&](auto* given) {
      // A copy: nobody can change the numbers after they were looked at.
      const auto kept =
          pool_alloc_array<std::remove_const_t<std::remove_pointer_t<decltype(given)>>>(N);
      const auto* id = kept.get();
      std::copy(given, given + N, kept.get());
      check_ids(id, N, V);
      const Index B = ids.rank() == 2 ? ids.shape(0) : N, S = ids.rank() == 2 ? ids.shape(1) : 1;
      py::object y = ids.rank() == 2   ? new_sequence<T>(B, S, D)
                     : ids.rank() == 1 ? new_array<T>({N, D})
                                       : new_array<T>({D});
      T* to = data_of<T>(y);
      run_released(threads_for(4.0 * double(N * D)), [&](const Team& team) {
        const Range mine = split_range(N, team);
        const auto row = [&](Index n) { return rows + Index(id[(n % B) * S + n / B]) * D; };
        // A large table lies in no cache: the rows to come are on their way while this one is
        // copied.
        constexpr Index kAhead = 8, kLine = 64 / sizeof(T);
        for (Index n = mine.begin; n < mine.end; ++n) {
          if (n + kAhead < mine.end)
            for (Index d = 0; d < D; d += kLine) __builtin_prefetch(row(n + kAhead) + d);
          std::memcpy(to + n * D, row(n), sizeof(T) * size_t(D));
        }
      });
      return y;
    });
  });
}

// The sums of the rows of dy with equal ids; P holds their positions.
template <class P, class T, class I>
py::tuple sum_by_id(const I* id, const T* from, Index N, Index D, Index rows) {
  const Groups<P> groups = group_ids<P>(id, N, rows);
  const Index U = groups.count();
  const py::object values = new_array<T>({U, D});
  const py::object indices = new_array<int64_t>({U});
  T* to = data_of<T>(values);
  int64_t* at = data_of<int64_t>(indices);
  run_released(threads_for(4.0 * double(N * D)), [&](const Team& team) {
    const Range mine = split_range(U, team);
    for (Index u = mine.begin; u < mine.end; ++u) {
      const P* position = groups.order.data();
      const Index first = groups.starts[size_t(u)], end = groups.starts[size_t(u) + 1];
      at[u] = id[position[first]];
      T* sum = to + u * D;
      for (Index n = first; n < end; ++n) {
        const T* row = from + Index(position[n]) * D;
        if (n == first) {
          std::memcpy(sum, row, sizeof(T) * size_t(D));
        } else {
          for (Index d = 0; d < D; ++d) sum[d] += row[d];
        }
      }
    }
  });
  return py::make_tuple(values, indices);
}

py::tuple embedding_backward(const Array& ids, const Array& dy, Index rows) {
  return with_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const Index N = ids.size();
    if (ids.rank() != 1) fail("ids", "one axis", describe(ids.object()));
    const T* from = dy.read<T>({N, -1});
    const Index D = dy.shape(1);
    if (rows < 1) fail("rows", "a number from 1", std::to_string(rows));
    return with_ids(ids, [&](auto* id) {
      check_ids(id, N, rows);
      return N <= kMaxInt32 ? sum_by_id<int32_t>(id, from, N, D, rows)
                            : sum_by_id<Index>(id, from, N, D, rows);
    });
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
  define<&embedding_forward>(m, "embedding_forward(table, ids)");
  define<&embedding_backward>(m, "embedding_backward(ids, dy, rows)");
}

}  // namespace seqcore
