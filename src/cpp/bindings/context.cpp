// The scan of RNN-CF's context: s_t = (1 - alpha) z_t + alpha s_{t-1}.
#include "bindings.h"

namespace seqcore {
namespace {

template <class T>
py::tuple scan(bool backward, const OptionalArray& input, Shape shape, double alpha,
               const OptionalArray& initial, const OptionalArray& lengths,
               const OptionalArray& mask, bool reverse) {
  if (!(alpha >= 0 && alpha <= 1)) fail("alpha", "a number from 0 to 1", std::to_string(alpha));
  ContextScan<T> call{};
  if (input) {
    call.z = input->sequence<T>(shape);
    shape = input->shape();
  }
  const Index B = shape[0], S = shape[1], C = shape[2];
  if (B < 1 || S < 1 || C < 1)
    fail(backward ? "shape" : "z", "a non-empty sequence", describe(shape));
  require_rows(backward ? "shape" : "z", B, S);
  const Index count = product<T>({B, S, C});
  require_memory(sizeof(T) * size_t(count));
  BatchLayout layout;
  layout.build(B, S, lengths, mask, 1, &reverse);
  call.batch = layout.packed(0);
  call.reverse = reverse;
  call.columns = C;
  call.alpha = alpha;
  call.initial = read<T>(initial, {B, C});
  const py::object result = new_sequence<T>(B, S, C), last = new_array<T>({B, C});
  call.s = {data_of<T>(result), C, B * C};
  call.last = data_of<T>(last);
  run_released(threads_for(20.0 * double(count)), [&](const Team& team) {
    backward ? kernels<T>().context_backward(call, team) : kernels<T>().context_forward(call, team);
  });
  return py::make_tuple(result, last);
}

py::tuple context_scan_forward(const Array& z, double alpha, const OptionalArray& initial,
                               const OptionalArray& lengths, const OptionalArray& mask,
                               bool reverse) {
  return with_type_of(z, [&](auto zero) {
    return scan<decltype(zero)>(false, z, {-1, -1, -1}, alpha, initial, lengths, mask, reverse);
  });
}

py::tuple context_scan_backward(const OptionalArray& ds, const OptionalArray& ds_last, double alpha,
                                const Shape& shape, const OptionalArray& lengths,
                                const OptionalArray& mask, bool reverse, DType dtype) {
  if (shape.rank() != 3) fail("shape", "(batch, time, columns)", describe(shape));
  return with_dtype(dtype, [&](auto zero) {
    return scan<decltype(zero)>(true, ds, shape, alpha, ds_last, lengths, mask, reverse);
  });
}

}  // namespace

void bind_context(py::module_& m) {
  define<&context_scan_forward>(
      m, "context_scan_forward(z, alpha, initial=None, lengths=None, mask=None, reverse=False)");
  define<&context_scan_backward>(
      m,
      "context_scan_backward(ds, ds_last, alpha, shape, lengths=None, mask=None, reverse=False, "
      "dtype='float32')");
}

}  // namespace seqcore
