// The rows of a batch of sequences in the order of a scan.
#pragma once

#include <vector>

#include "arrays.h"

namespace seqcore {

// Sequences of a batch, steps of a sequence, ids of a call: the kernels count them in int32.
constexpr Index kMaxSize = INT32_MAX;

void require_rows(Name name, Index batch, Index steps);

// Copies of the lengths and the mask that the user gave, and the order that follows from them: the
// longest sequence first, so that the rows that are active at a step follow one another.
struct BatchLayout {
  std::vector<int32_t> order, lengths, active;
  std::vector<Index> offset;
  std::vector<uint8_t> mask;
  std::vector<int32_t> first_valid[kMaxDirections];
  Index batch = 0, steps = 0;
  bool ragged = false, masked = false;

  // After require_rows.
  void build(Index batch_size, Index step_count, const OptionalArray& lengths_array,
             const OptionalArray& mask_array, int directions, const bool* reverse);
  // The same of sequences without padding, longest first: `sizes` has the sequences that are active
  // at each step.
  void build_unpadded(const Array& sizes, Index rows);
  PackedBatch packed(int direction) const;
};

}  // namespace seqcore
