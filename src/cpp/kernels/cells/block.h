// The view of a cell's math: one block of units of one row at one time step.
#pragma once

#include "../tile.h"

namespace seqcore::SEQCORE_VARIANT {

// What one cell's maths sees of one block of units of one row. Gate g of the block stands at g *
// width.
template <class T>
struct Block {
  T *gates, *recurrent;  // in: x·W + b, h·U + b; kept for the way back; out on the way back: their
                         // gradients
  const T *h_before, *c_before;
  const T *h_dropped, *dropout;  // h_{t-1} as the products see it, and its dropout mask or null
  T *h, *c;  // on the way back h is null where a cell does not need it
  T *dh, *dc;  // gradients carried from step s + 1 to s and on to s - 1
  int count;  // units of the block that exist
};

}  // namespace seqcore::SEQCORE_VARIANT
