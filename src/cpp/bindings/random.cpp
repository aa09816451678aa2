// Dropout masks by counter-based random numbers.
#include "../sampling.h"
#include "bindings.h"

namespace seqcore {
namespace {

py::object dropout_mask(const Shape& shape, double rate, uint64_t seed, uint32_t stream,
                        uint32_t call, DType dtype, Index first) {
  if (first < 0 || first > Index(1) << 62) fail("first", "0...2^62", std::to_string(first));
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
    // Groups of four elements share a counter; the first and the last may lie outside in part.
    const Index first_group = first / 4, end = first + count;
    const Index groups = (end + 3) / 4 - first_group;
    run_released(threads_for(30.0 * double(count)), [&](const Team& team) {
      const Range mine = split_range(groups, team);
      for (Index g = first_group + mine.begin; g < first_group + mine.end; ++g) {
        const auto drawn = philox({uint32_t(g), uint32_t(uint64_t(g) >> 32), call, stream}, key);
        for (Index e = std::max(first, 4 * g); e < std::min(end, 4 * g + 4); ++e)
          to[e - first] = drawn[size_t(e - 4 * g)] < limit ? T(0) : kept;
      }
    });
    return mask;
  });
}

}  // namespace

void bind_random(py::module_& m) {
  define<&dropout_mask>(m,
                        "dropout_mask(shape, rate, seed, stream, call, dtype='float32', first=0)");
}

}  // namespace seqcore
