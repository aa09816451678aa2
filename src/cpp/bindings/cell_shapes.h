// Sizes that follow from the cell of a recurrent layer.
#pragma once

#include "arrays.h"

namespace seqcore {

inline Index gates_of(Cell cell) { return cell == Cell::kRnn ? 1 : cell == Cell::kLstm ? 4 : 3; }

inline Shape bias_shape(Cell cell, Index units) {
  if (cell == Cell::kGru) return {2, 3 * units};
  return {gates_of(cell) * units};
}

inline int state_count(Cell cell) { return cell == Cell::kLstm ? 2 : 1; }
inline const char* state_names(Cell cell) {
  return state_count(cell) == 2 ? "states (h, c)" : "state (h,)";
}

}  // namespace seqcore
