// Embeddings: rows of a table, and the sums of gradients by row.
#include <algorithm>
#include <cstring>

#include "bindings.h"
#include "ids.h"

namespace seqcore {
namespace {

// Nanoseconds of one core for an element (AMD EPYC, float32, 100 columns, 1e4 to 1e6 elements): a
// copied one 0.12 to 0.15, an added one 0.19 to 0.25.
constexpr double kCopyNs = 0.12, kAddNs = 0.2;

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
      run_released(threads_for(kCopyNs * kFlopsPerNs * double(N * D)), [&](const Team& team) {
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

// The grid of the sums: parts of the groups, cut where about as many positions go before, times
// parts of the columns, whole cache lines of a row. One group may hold most positions (the padding
// of short texts), and no two threads share a sum, so that its order stays. A row costs about as
// much as two lines more.
Grid sum_grid(Index positions, Index largest, Index lines, int threads) {
  constexpr Index kRowLines = 2;
  Grid best{1, 1};
  double least = 0;
  for (int parts = 1; parts <= threads && (parts == 1 || parts <= lines); ++parts) {
    const int row_parts = threads / parts;
    const double rows =
                     std::min(double(positions) / row_parts + double(largest), double(positions)),
                 busiest = rows * double((lines + parts - 1) / parts + kRowLines);
    if (parts > 1 && busiest >= least) continue;
    least = busiest;
    best = {row_parts, parts};
  }
  return best;
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
  const auto& starts = groups.starts;
  const int threads = threads_for(kAddNs * kFlopsPerNs * double(N * D));
  Index largest = 0;
  for (Index u = 0; u < U && threads > 1; ++u)
    largest = std::max(largest, Index(starts[size_t(u) + 1] - starts[size_t(u)]));
  run_released(threads, [&](const Team& team) {
    constexpr Index kLine = 64 / sizeof(T);
    const GridPlace place =
        place_in(sum_grid(N, largest, (D + kLine - 1) / kLine, team.size), team);
    if (!place.works) return;
    const Range columns = split_range(D, place.column, place.grid.column_parts, kLine);
    const auto edge = [&](Index part) {
      const P wanted = P(N * part / place.grid.row_parts);
      return std::lower_bound(starts.begin(), starts.end(), wanted) - starts.begin();
    };
    const P* const order = groups.order.data();
    const Index width = columns.end - columns.begin;
    const T* const rows_of_dy = from + columns.begin;
    for (Index u = edge(place.row), end = edge(place.row + 1); u < end; ++u) {
      const Index first = starts[size_t(u)], last = starts[size_t(u) + 1];
      if (place.column == 0) at[u] = id[order[first]];
      T* const __restrict sum = to + u * D + columns.begin;
      std::memcpy(sum, rows_of_dy + Index(order[first]) * D, sizeof(T) * size_t(width));
      for (Index n = first + 1; n < last; ++n) {
        const T* const __restrict row = rows_of_dy + Index(order[n]) * D;
        for (Index d = 0; d < width; ++d) sum[d] += row[d];
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
