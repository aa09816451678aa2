// The choice of the instruction set: detected once, or forced by SEQCORE_ISA.
#pragma once

#include <string>
#include <vector>

#include "kernels/api.h"

namespace seqcore {

// The table in use. Throws std::runtime_error for an unknown or unsupported SEQCORE_ISA.
const Table& table();
template <class T>
const Kernels<T>& kernels();
template <>
inline const Kernels<float>& kernels<float>() {
  return table().f32;
}
template <>
inline const Kernels<double>& kernels<double>() {
  return table().f64;
}
// The variants of this build that this CPU can run, the simplest first.
std::vector<std::string> available_isas();

}  // namespace seqcore
