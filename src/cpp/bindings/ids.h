// Row numbers given as arrays: checks, and grouping of equal ones by a radix sort.
#pragma once

#include <algorithm>
#include <limits>
#include <utility>

#include "bindings.h"

namespace seqcore {

// Calls f(pointer) for a C-contiguous array of int32 or int64, whatever its shape.
template <class F>
auto with_ids(const Array& ids, F f) {
  if (ids.holds<int32_t>()) return f(ids.read<int32_t>(ids.shape()));
  if (ids.holds<int64_t>()) return f(ids.read<int64_t>(ids.shape()));
  fail_type(ids.name(), "an array of int32 or int64", ids.object());
}

// Throws ValueError unless every id from `first` on is one of the `items` 0...bound-1.
template <class I>
void require_ids(Name name, const char* items, const I* ids, Index count, Index bound,
                 Index first = 0) {
  for (Index n = first; n < count; ++n)
    if (ids[n] < 0 || ids[n] >= bound)
      fail(name, std::string(items) + " 0..." + std::to_string(bound - 1),
           std::to_string(ids[n]) + " at " + std::to_string(n));
}
// A checked copy: nobody can change the ids after the check.
template <class I>
std::shared_ptr<I> copy_ids(Name name, const char* items, const I* ids, Index count, Index bound) {
  auto copy = pool_alloc_array<I>(count);
  std::copy(ids, ids + count, copy.get());
  require_ids(name, items, copy.get(), count, bound);
  return copy;
}

// Equal ids next to each other: group u holds the positions order[starts[u]...starts[u + 1]), in
// order of appearance; the groups are ordered by their id. P: the type of a position.
template <class P>
struct Groups {
  std::vector<P> order, starts;
  Index count() const { return Index(starts.size()) - 1; }
};

constexpr Index kMaxInt32 = std::numeric_limits<int32_t>::max();

// ids: n numbers 0...bound-1; Id holds each of them, P each position.
template <class P, class Id, class I>
Groups<P> group_ids_as(const I* ids, Index n, Index bound) {
  // Sorted digit by digit, the lowest first; 8 bits a time keep the counters in the first-level
  // cache.
  constexpr int kBits = 8, kDigits = 1 << kBits;
  using Item = std::pair<Id, P>;  // id, position
  std::vector<Item> items(2 * size_t(n));
  Item *from = items.data(), *to = from + n;
  for (Index i = 0; i < n; ++i) from[i] = {Id(ids[i]), P(i)};
  for (int shift = 0; shift < int(8 * sizeof(Id)) && (bound - 1) >> shift; shift += kBits) {
    P place[kDigits + 1] = {};
    for (Index i = 0; i < n; ++i) ++place[((from[i].first >> shift) & (kDigits - 1)) + 1];
    for (int d = 0; d < kDigits; ++d) place[d + 1] += place[d];
    for (Index i = 0; i < n; ++i) to[place[(from[i].first >> shift) & (kDigits - 1)]++] = from[i];
    std::swap(from, to);
  }
  Groups<P> groups;
  groups.order.resize(size_t(n));
  groups.starts.reserve(size_t(n) + 1);
  for (Index i = 0; i < n; ++i) {
    groups.order[size_t(i)] = from[i].second;
    if (!i || from[i].first != from[i - 1].first) groups.starts.push_back(P(i));
  }
  groups.starts.push_back(P(n));
  return groups;
}

template <class P, class I>
Groups<P> group_ids(const I* ids, Index n, Index bound) {
  if (sizeof(I) > sizeof(int32_t) && bound - 1 > kMaxInt32)
    return group_ids_as<P, int64_t>(ids, n, bound);
  return group_ids_as<P, int32_t>(ids, n, bound);
}

}  // namespace seqcore
