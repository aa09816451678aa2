// The cells of recurrent layers: their names in Python, and the sizes that follow from them.
#pragma once

#include "arrays.h"

namespace seqcore {

struct CellInfo {
  const char* name;
  Index gates;
  int states;
};
// In the order of enum class Cell.
inline constexpr CellInfo kCells[] = {
    {"rnn", 1, 1}, {"lstm", 4, 2}, {"gru", 3, 1}, {"gru_reset_before", 3, 1}};

inline Index gates_of(Cell cell) { return kCells[int(cell)].gates; }

inline Shape bias_shape(Cell cell, Index units) {
  if (cell == Cell::kGru) return {2, 3 * units};
  return {gates_of(cell) * units};
}

// The second row of the biases in Keras's order, which only the reset-after GRU has.
template <class T>
T* recurrent_bias_of(Cell cell, T* bias, Index units) {
  return cell == Cell::kGru && bias ? bias + 3 * units : nullptr;
}

inline int state_count(Cell cell) { return kCells[int(cell)].states; }
inline const char* state_names(Cell cell) {
  return state_count(cell) == 2 ? "states (h, c)" : "state (h,)";
}

}  // namespace seqcore
