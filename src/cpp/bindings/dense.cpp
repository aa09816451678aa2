// Dense layers, softmax with its loss, embeddings.
#include <cstring>

#include "arguments.h"
#include "ids.h"

namespace seqcore {
namespace {

template <class T>
DenseCall<T> dense_call(const py::array& x, const py::array& kernel, const std::string& activation, bool mixed) {
  DenseCall<T> call{};
  call.x = contiguous<T>("x", x, {-1, -1});
  call.rows = x.shape(0);
  call.inputs = x.shape(1);
  call.kernel = contiguous<T>("kernel", kernel, {call.inputs, -1});
  call.outputs = kernel.shape(1);
  call.activation = activation_of("activation", activation);
  call.mixed = checked_mixed<T>(mixed);
  if (!call.rows || !call.inputs || !call.outputs) fail("x", "a matrix that is not empty", describe(x));
  return call;
}

double flops_of(Index rows, Index inputs, Index outputs) { return 2.0 * double(rows) * double(inputs) * double(outputs); }

py::array dense_forward(const py::array& x, const py::array& kernel, const py::object& bias, const std::string& activation,
                        bool mixed) {
  return with_type_of("x", x, [&](auto zero) {
    using T = decltype(zero);
    auto call = dense_call<T>(x, kernel, activation, mixed);
    call.bias = optional_contiguous<T>("bias", bias, {call.outputs});
    const py::array y = new_array<T>({call.rows, call.outputs});
    call.y = data_of<T>(y);
    DenseSizes sizes;
    kernels<T>().dense_sizes(call, sizes);
    const auto pack = borrow_array<T>(sizes.pack);
    call.scratch_pack = pack.get();
    const int threads = threads_for(flops_of(call.rows, call.inputs, call.outputs));
    const auto scratch = borrow_array<T>(mixed ? threads * sizes.thread : 0);
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().dense_forward(call, team); });
    return y;
  });
}

// The array given in `out`, or a new one; `index` is its place there.
template <class T>
py::array place(const py::object& out, int index, const Shape& shape) {
  const py::object given = out.is_none() ? py::none() : py::object(out[py::int_(index)]);
  if (given.is_none()) return new_array<T>(shape);
  writable<T>("out", given.cast<py::array>(), shape);
  return given.cast<py::array>();
}

py::tuple dense_backward(const py::array& x, const py::array& kernel, const py::array& y, const py::array& dy,
                         const std::string& activation, bool use_bias, bool need_dx, bool need_weights, const py::object& out,
                         bool mixed) {
  return with_type_of("x", x, [&](auto zero) {
    using T = decltype(zero);
    auto call = dense_call<T>(x, kernel, activation, mixed);
    const Index R = call.rows, K = call.inputs, N = call.outputs;
    call.y = contiguous<T>("y", y, {R, N});
    call.dy = contiguous<T>("dy", dy, {R, N});
    py::object dx = py::none(), dkernel = py::none(), dbias = py::none();
    if (need_dx) {
      dx = new_array<T>({R, K});
      call.dx = data_of<T>(dx.cast<py::array>());
    }
    if (need_weights) {
      dkernel = place<T>(out, 0, {K, N});
      call.dkernel = data_of<T>(dkernel.cast<py::array>());
      if (use_bias) {
        dbias = place<T>(out, 1, {N});
        call.dbias = data_of<T>(dbias.cast<py::array>());
      }
    }
    DenseSizes sizes;
    kernels<T>().dense_sizes(call, sizes);
    const int threads = threads_for(2 * flops_of(R, K, N));
    const auto pack = borrow_array<T>(sizes.pack), rows = borrow_array<T>(sizes.rows),
               scratch = borrow_array<T>(threads * sizes.thread);
    call.scratch_pack = pack.get();
    call.scratch_rows = rows.get();
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().dense_backward(call, team); });
    return py::make_tuple(dx, dkernel, dbias);
  });
}

py::tuple linear_softmax(const py::array& x, const py::array& kernel, const py::object& bias, const py::array& targets,
                         const py::object& weights, bool gradients, bool need_dx, const py::object& out, bool mixed) {
  return with_type_of("x", x, [&](auto zero) {
    using T = decltype(zero);
    LinearSoftmaxCall<T> call{};
    call.mixed = checked_mixed<T>(mixed);
    call.x = contiguous<T>("x", x, {-1, -1});
    const Index R = call.rows = x.shape(0), K = call.inputs = x.shape(1);
    call.kernel = contiguous<T>("kernel", kernel, {K, -1});
    const Index V = call.classes = kernel.shape(1);
    if (!R || !K || !V) fail("x", "a matrix that is not empty", describe(x));
    call.bias = optional_contiguous<T>("bias", bias, {V});
    call.targets = contiguous<int32_t>("targets", targets, {R});
    for (Index r = 0; r < R; ++r)
      if (call.targets[r] < 0 || call.targets[r] >= V)
        fail("targets", "class numbers 0..." + std::to_string(V - 1),
             std::to_string(call.targets[r]) + " at row " + std::to_string(r));
    call.weights = optional_contiguous<T>("weights", weights, {R});
    const py::array losses = new_array<T>({R});
    const py::array_t<bool> correct(R);
    call.losses = data_of<T>(losses);
    call.correct = data_of<uint8_t>(correct);
    py::object dx = py::none(), dkernel = py::none(), dbias = py::none();
    if (gradients) {
      if (need_dx) {
        dx = new_array<T>({R, K});
        call.dx = data_of<T>(dx.cast<py::array>());
      }
      dkernel = place<T>(out, 0, {K, V});
      call.dkernel = data_of<T>(dkernel.cast<py::array>());
      if (call.bias) {
        dbias = place<T>(out, 1, {V});
        call.dbias = data_of<T>(dbias.cast<py::array>());
      }
    }
    LinearSoftmaxSizes sizes;
    kernels<T>().linear_softmax_sizes(call, sizes);
    const int threads = threads_for(flops_of(R, K, V));
    const auto pack = borrow_array<T>(sizes.pack), logits = borrow_array<T>(sizes.logits), rows = borrow_array<T>(sizes.rows),
               scratch = borrow_array<T>(threads * sizes.thread);
    call.scratch_pack = pack.get();
    call.scratch_logits = logits.get();
    call.scratch_rows = rows.get();
    call.scratch_thread = scratch.get();
    run_released(threads, [&](const Team& team) { kernels<T>().linear_softmax(call, team); });
    return py::make_tuple(losses, correct, dx, dkernel, dbias);
  });
}

py::array softmax(const py::array& x) {
  return with_type_of("x", x, [&](auto zero) {
    using T = decltype(zero);
    const T* from = contiguous<T>("x", x, {-1, -1});
    const Index R = x.shape(0), N = x.shape(1);
    if (!R || !N) fail("x", "a matrix that is not empty", describe(x));
    const py::array y = new_array<T>({R, N});
    T* to = data_of<T>(y);
    std::memcpy(to, from, sizeof(T) * size_t(R * N));
    run_released(threads_for(20.0 * double(R * N)), [&](const Team& team) { kernels<T>().softmax(to, R, N, team); });
    return y;
  });
}

template <class I>
void check_ids(const I* ids, Index count, Index rows) {
  for (Index n = 0; n < count; ++n)
    if (ids[n] < 0 || ids[n] >= rows)
      fail("ids", "whole numbers 0..." + std::to_string(rows - 1), std::to_string(ids[n]) + " at " + std::to_string(n));
}

py::array embedding_forward(const py::array& table, const py::array& ids) {
  return with_type_of("table", table, [&](auto zero) {
    using T = decltype(zero);
    const T* rows = contiguous<T>("table", table, {-1, -1});
    const Index V = table.shape(0), D = table.shape(1), N = ids.size();
    if (ids.ndim() > 2) fail("ids", "two axes at most", describe(ids));
    if (!(ids.flags() & py::array::c_style)) fail("ids", "a C-contiguous array", describe(ids) + " with other strides");
    return with_ids("ids", ids, [&](auto* id) {
      check_ids(id, N, V);
      const Index B = ids.ndim() == 2 ? ids.shape(0) : N, S = ids.ndim() == 2 ? ids.shape(1) : 1;
      py::array y = ids.ndim() == 2 ? new_sequence<T>(B, S, D) : ids.ndim() == 1 ? new_array<T>({N, D}) : new_array<T>({D});
      T* to = data_of<T>(y);
      run_released(threads_for(4.0 * double(N * D)), [&](const Team& team) {
        const Range mine = share(N, team);
        const auto row = [&](Index n) { return rows + Index(id[(n % B) * S + n / B]) * D; };
        // A large table lies in no cache: the rows to come are on their way while this one is copied.
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
  const py::array values = new_array<T>({U, D});
  const py::array indices = new_array<int64_t>({U});
  T* to = data_of<T>(values);
  int64_t* at = data_of<int64_t>(indices);
  run_released(threads_for(4.0 * double(N * D)), [&](const Team& team) {
    const Range mine = share(U, team);
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

py::tuple embedding_backward(const py::array& ids, const py::array& dy, Index rows) {
  return with_type_of("dy", dy, [&](auto zero) {
    using T = decltype(zero);
    const Index N = ids.size();
    if (ids.ndim() != 1 || !(ids.flags() & py::array::c_style)) fail("ids", "a contiguous array with one axis", describe(ids));
    const T* from = contiguous<T>("dy", dy, {N, -1});
    const Index D = dy.shape(1);
    if (rows < 1) fail("rows", "a number from 1", std::to_string(rows));
    return with_ids("ids", ids, [&](auto* id) {
      check_ids(id, N, rows);
      return N <= kMostInt32 ? sum_by_id<int32_t>(id, from, N, D, rows) : sum_by_id<Index>(id, from, N, D, rows);
    });
  });
}

}  // namespace

void bind_dense(py::module_& m) {
  define(m, "dense_forward", "x:array kernel:array bias:array? activation:str mixed:bool", &dense_forward, py::arg("x"),
         py::arg("kernel"), py::arg("bias") = py::none(), py::arg("activation") = "linear", py::kw_only(),
         py::arg("mixed") = false);
  define(m, "dense_backward",
         "x:array kernel:array y:array dy:array activation:str use_bias:bool need_dx:bool "
         "need_weights:bool out:sequence? mixed:bool",
         &dense_backward, py::arg("x"), py::arg("kernel"), py::arg("y"), py::arg("dy"), py::arg("activation") = "linear",
         py::kw_only(), py::arg("use_bias") = true, py::arg("need_dx") = true, py::arg("need_weights") = true,
         py::arg("out") = py::none(), py::arg("mixed") = false);
  define(m, "linear_softmax",
         "x:array kernel:array bias:array? targets:array weights:array? gradients:bool need_dx:bool "
         "out:sequence? mixed:bool",
         &linear_softmax, py::arg("x"), py::arg("kernel"), py::arg("bias"), py::arg("targets"), py::arg("weights") = py::none(),
         py::kw_only(), py::arg("gradients") = true, py::arg("need_dx") = true, py::arg("out") = py::none(),
         py::arg("mixed") = false);
  define(m, "softmax", "x:array", &softmax, py::arg("x"));
  define(m, "embedding_forward", "table:array ids:array", &embedding_forward, py::arg("table"), py::arg("ids"));
  define(m, "embedding_backward", "ids:array dy:array rows:int", &embedding_backward, py::arg("ids"), py::arg("dy"),
         py::arg("rows"));
}

}  // namespace seqcore
