// The order of the rows of a batch.
#include "batch_layout.h"

#include <algorithm>
#include <numeric>

#include "../workspace.h"

namespace seqcore {

void require_rows(Name name, Index batch, Index steps) {
  if (batch > kMaxSize || steps > kMaxSize)
    fail(name, "at most " + std::to_string(kMaxSize) + " sequences and steps",
         std::to_string(batch) + " and " + std::to_string(steps));
}

void BatchLayout::build(Index batch_size, Index step_count, const OptionalArray& lengths_array,
                        const OptionalArray& mask_array, int directions, const bool* reverse) {
  batch = batch_size;
  steps = step_count;
  require_memory(size_t(2 * batch) * sizeof(int32_t) +
                 size_t(steps) * (sizeof(int32_t) + sizeof(Index)));
  if (lengths_array && mask_array) fail("mask", "lengths or mask", "both");
  const int32_t* given = read<int32_t>(lengths_array, {batch});
  const auto* valid = reinterpret_cast<const uint8_t*>(read<bool>(mask_array, {batch, steps}));
  lengths.assign(size_t(batch), int32_t(steps));
  order.resize(size_t(batch));
  std::iota(order.begin(), order.end(), 0);
  if (given) {
    for (Index b = 0; b < batch; ++b)
      if (given[b] < 0 || given[b] > steps)
        fail("lengths", "integers 0..." + std::to_string(steps),
             std::to_string(given[b]) + " at " + std::to_string(b));
    lengths.assign(given, given + batch);
    ragged = std::any_of(lengths.begin(), lengths.end(), [&](int32_t n) { return n != steps; });
    if (ragged)
      std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
        return lengths[size_t(a)] > lengths[size_t(b)];
      });
  }
  active.assign(size_t(steps) + 1, 0);
  offset.assign(size_t(steps) + 1, 0);
  Index j = batch;
  for (Index s = 0; s < steps; ++s) {
    while (j > 0 && lengths[size_t(order[size_t(j - 1)])] <= s) --j;
    active[size_t(s)] = int32_t(j);
    offset[size_t(s) + 1] = offset[size_t(s)] + j;
  }
  if (!valid) return;
  masked = true;
  mask.assign(valid, valid + batch * steps);
  for (int d = 0; d < directions; ++d) {
    first_valid[d].assign(size_t(batch), int32_t(steps));
    for (Index b = 0; b < batch; ++b)
      for (Index s = steps - 1; s >= 0; --s)
        if (mask[size_t(b * steps + (reverse[d] ? steps - 1 - s : s))])
          first_valid[d][size_t(b)] = int32_t(s);
  }
}

void BatchLayout::build_unpadded(const Array& sizes, Index rows) {
  const int64_t* given = sizes.read<int64_t>({-1});
  steps = sizes.shape(0);
  active.assign(size_t(steps) + 1, 0);
  offset.assign(size_t(steps) + 1, 0);
  for (Index s = 0; s < steps; ++s) {
    const int64_t most = s ? given[s - 1] : kMaxSize;
    if (given[s] < 1 || given[s] > most)
      fail(sizes.name(), "numbers from 1 that do not rise",
           std::to_string(given[s]) + " at " + std::to_string(s));
    active[size_t(s)] = int32_t(given[s]);
    offset[size_t(s) + 1] = offset[size_t(s)] + given[s];
  }
  if (!steps || offset[size_t(steps)] != rows)
    fail(sizes.name(), "numbers whose sum is " + std::to_string(rows),
         std::to_string(offset[size_t(steps)]));
  batch = active[0];
  order.resize(size_t(batch));
  std::iota(order.begin(), order.end(), 0);
  lengths.assign(size_t(batch), int32_t(steps));
  for (Index s = 0; s < steps; ++s)
    std::fill(lengths.begin() + active[size_t(s) + 1], lengths.begin() + active[size_t(s)],
              int32_t(s + 1));
}

PackedBatch BatchLayout::packed(int direction) const {
  return {batch,
          steps,
          offset[size_t(steps)],
          order.data(),
          lengths.data(),
          active.data(),
          offset.data(),
          masked ? mask.data() : nullptr,
          masked ? first_valid[direction].data() : nullptr};
}

}  // namespace seqcore
