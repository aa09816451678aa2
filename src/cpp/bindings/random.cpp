// Dropout masks by counter-based random numbers.
#include "../sampling.h"
#include "bindings.h"

namespace seqcore {
namespace {

py::object dropout_mask(const Shape& shape, double rate, uint64_t seed, uint32_t stream,
                        uint32_t call, DType dtype) {
  if (!(rate >= 0 && rate < 1))
    fail("rate", "a number from 0 up to but not including 1", std::to_string(rate));
  return with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    const Index count = product(shape.begin(), shape.end(), sizeof(T));
    const py::object mask = new_array<T>(shape);
    T* to = data_of<T>(mask);
    const T kept = T(1 / (1 - rate));
    const uint64_t limit = uint64_t(rate * 4294967296.0);
    const std::array<uint32_t, 2> key{uint32_t(seed), uint32_t(seed >> 32)};
    const Index groups = (count + 3) / 4;
    run_released(threads_for(30.0 * double(count)), [&](const Team& team) {
      const Range mine = split_range(groups, team);
      for (Index g = mine.begin; g < mine.end; ++g) {
        const auto drawn = philox({uint32_t(g), uint32_t(uint64_t(g) >> 32), call, stream}, key);
        for (int i = 0; i < 4 && 4 * g + i < count; ++i)
          to[4 * g + i] = drawn[size_t(i)] < limit ? T(0) : kept;
      }
    });
    return mask;
  });
}

}  // namespace

void bind_random(py::module_& m) {
  define<&dropout_mask>(m, "dropout_mask(shape, rate, seed, stream, call, dtype='float32')");
}

}  // namespace seqcore
