// Row numbers given as arrays, and grouping equal ones.
#pragma once

#include <utility>

#include "common.h"

namespace seqcore {

// Calls f(pointer) for an array of int32 or int64.
template <class F>
auto with_ids(const std::string& name, const py::array& ids, F f) {
  if (py::isinstance<py::array_t<int32_t>>(ids)) return f(data_of<const int32_t>(ids));
  if (py::isinstance<py::array_t<int64_t>>(ids)) return f(data_of<const int64_t>(ids));
  throw py::type_error(name + ": expected an array of int32 or int64, got " + describe(ids));
}

// Equal ids side by side: group u holds the positions order[starts[u]...starts[u + 1]), in order of appearance; the groups are
// ordered by their id.
struct Groups {
  std::vector<int32_t> order, starts;
  Index count() const { return Index(starts.size()) - 1; }
};

// ids: n numbers 0...bound-1.
template <class I>
Groups group_ids(const I* ids, Index n, Index bound) {
  // Sorted digit by digit, the lowest first; 8 bits a time keep the counters in the first-level cache.
  constexpr int kBits = 8, kDigits = 1 << kBits;
  using Item = std::pair<int32_t, int32_t>;  // id, position
  std::vector<Item> items(size_t(2 * n));
  Item *from = items.data(), *to = from + n;
  for (Index i = 0; i < n; ++i) from[i] = {int32_t(ids[i]), int32_t(i)};
  for (int shift = 0; shift < 31 && (bound - 1) >> shift; shift += kBits) {
    int32_t place[kDigits + 1] = {};
    for (Index i = 0; i < n; ++i) ++place[((from[i].first >> shift) & (kDigits - 1)) + 1];
    for (int d = 0; d < kDigits; ++d) place[d + 1] += place[d];
    for (Index i = 0; i < n; ++i) to[place[(from[i].first >> shift) & (kDigits - 1)]++] = from[i];
    std::swap(from, to);
  }
  Groups groups;
  groups.order.resize(size_t(n));
  groups.starts.reserve(size_t(n) + 1);
  for (Index i = 0; i < n; ++i) {
    groups.order[size_t(i)] = from[i].second;
    if (!i || from[i].first != from[i - 1].first) groups.starts.push_back(int32_t(i));
  }
  groups.starts.push_back(int32_t(n));
  return groups;
}

}  // namespace seqcore
