// Embeddings: rows of a table, and the sums of gradients by row.
#include <algorithm>
#include <cstring>

#include "bindings.h"
#include "ids.h"

namespace seqcore {
namespace {

py::object embedding_forward(const Array& table, const Array& ids) {
  return with_type_of(table, [&](auto zero) {
    using T = decltype(zero);
    const T* rows = table.read<T>({-1, -1});
    const Index V = table.shape(0), D = table.shape(1), N = ids.size();
    if (ids.rank() > 2) fail("ids", "two axes at most", describe(ids.object()));
    return with_ids(ids, [&](auto* user_ids) {
      const auto copy = copy_ids(ids.name(), "whole numbers", user_ids, N, V);
      const auto* id = copy.get();
      const Index B = ids.rank() == 2 ? ids.shape(0) : N, S = ids.rank() == 2 ? ids.shape(1) : 1;
      py::object y = ids.rank() == 2   ? new_sequence<T>(B, S, D)
                     : ids.rank() == 1 ? new_array<T>({N, D})
                                       : new_array<T>({D});
      T* to = data_of<T>(y);
      run_released(threads_for(4.0 * double(N * D)), [&](const Team& team) {
        const Range mine = split_range(N, team);
        const auto row = [&](Index n) { return rows + Index(id[(n % B) * S + n / B]) * D; };
        // A large table lies in no cache: the rows to come are on their way while this one is
        // copied.
        constexpr Index kPrefetchDistance = 8, kLine = 64 / sizeof(T);
        for (Index n = mine.begin; n < mine.end; ++n) {
          if (n + kPrefetchDistance < mine.end)
            for (Index d = 0; d < D; d += kLine) __builtin_prefetch(row(n + kPrefetchDistance) + d);
          std::memcpy(to + n * D, row(n), sizeof(T) * size_t(D));
        }
      });
      return y;
    });
  });
}

// The sums of the rows of dy with equal ids; P holds their positions.
template <class P, class T, class I>
py::tuple sum_by_id(const I* id, const T* from, Index N, Index D, Index rows) {
  const Groups<P> groups = group_ids<P>(id, N, rows);
  const Index U = groups.count();
  const py::object values = new_array<T>({U, D});
  const py::object indices = new_array<int64_t>({U});
  T* to = data_of<T>(values);
  int64_t* at = data_of<int64_t>(indices);
  run_released(threads_for(4.0 * double(N * D)), [&](const Team& team) {
    const Range mine = split_range(U, team);
    for (Index u = mine.begin; u < mine.end; ++u) {
      const P* position = groups.order.data();
      const Index first = groups.starts[size_t(u)], end = groups.starts[size_t(u) + 1];
      at[u] = id[position[first]];
      T* sum = to + u * D;
      for (Index n = first; n < end; ++n) {
        const T* row = from + Index(position[n]) * D;
        if (n == first) {
          std::memcpy(sum, row, sizeof(T) * size_t(D));
        } else {
          for (Index d = 0; d < D; ++d) sum[d] += row[d];
        }
      }
    }
  });
  return py::make_tuple(values, indices);
}

py::tuple embedding_backward(const Array& ids, const Array& dy, Index rows) {
  return with_type_of(dy, [&](auto zero) {
    using T = decltype(zero);
    const Index N = ids.size();
    if (ids.rank() != 1) fail("ids", "one axis", describe(ids.object()));
    const T* from = dy.read<T>({N, -1});
    const Index D = dy.shape(1);
    if (rows < 1) fail("rows", "a number from 1", std::to_string(rows));
    return with_ids(ids, [&](auto* id) {
      require_ids(ids.name(), "whole numbers", id, N, rows);
      return N <= kMaxInt32 ? sum_by_id<int32_t>(id, from, N, D, rows)
                            : sum_by_id<Index>(id, from, N, D, rows);
    });
  });
}

}  // namespace

void bind_embedding(py::module_& m) {
  define<&embedding_forward>(m, "embedding_forward(table, ids)");
  define<&embedding_backward>(m, "embedding_backward(ids, dy, rows)");
}

}  // namespace seqcore
