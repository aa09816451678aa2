// Optimizer steps over lists of arrays, whose elements the threads share evenly.
#include <algorithm>

#include "bindings.h"

namespace seqcore {
namespace {

constexpr Index kChunk =
    1 << 16;  // elements; fixed, so that the norm's tree does not depend on the threads

// Nanoseconds of one core for an element in a cache (AMD EPYC, float32, 1e4 to 1e6 elements): 0.09
// to 0.11 with SGD, 0.44 to 0.49 with Adam, and of a norm 0.10 to 0.13.
constexpr double kSgdNs = 0.1, kRootNs = 0.45, kSumNs = 0.1;
double update_ns(Rule rule) { return rule == Rule::kSgd ? kSgdNs : kRootNs; }

using OptionalArrays = std::optional<Arrays>;

// Throws unless there are as many arrays as parameters.
void require_count(const char* name, const Arrays& arrays, const Arrays& params) {
  if (arrays.size() != params.size())
    fail(name, std::to_string(params.size()) + " arrays, one per parameter",
         std::to_string(arrays.size()));
}

using Clip = std::optional<double>;

// State of an optimizer: one array per parameter.
struct Slot {
  const char* name;
  const Arrays* arrays;  // null: not kept
};
Slot slot_of(const char* name, const OptionalArrays& arrays) {
  return {name, arrays ? &*arrays : nullptr};
}

// The settings that all rules share; the others are 0.
UpdateRule update_rule(Rule rule, double learning_rate, double scale, const Clip& clipvalue) {
  UpdateRule update{};
  update.rule = rule;
  update.learning_rate = learning_rate;
  update.scale = scale;
  if (clipvalue && !(*clipvalue >= 0))
    fail("clipvalue", "a number from 0", std::to_string(*clipvalue));
  update.clip = clipvalue.has_value();
  update.clipvalue = clipvalue.value_or(0);
  return update;
}

// The update of elements `part` of a piece, which may end before they begin. In chunks, so that a
// rule which reads them twice finds them in the cache.
template <class T>
void update_part(const UpdateRule& rule, const UpdatePiece<T>& piece, Range part) {
  const Index end = std::min(part.end, piece.count);
  for (Index n = std::max(part.begin, Index(0)); n < end; n += kChunk) {
    const auto at = [n](auto* slot) { return slot ? slot + n : slot; };
    kernels<T>().update(rule, {at(piece.param), at(piece.grad), at(piece.slot0), at(piece.slot1),
                               at(piece.slot2), std::min(kChunk, end - n)});
  }
}

// Everything is checked before the first array is changed.
void step(const UpdateRule& rule, const Arrays& params, const Arrays& grads, const Slot& slot0 = {},
          const Slot& slot1 = {}, const Slot& slot2 = {}) {
  const Slot* slots[] = {&slot0, &slot1, &slot2};
  require_count("grads", grads, params);
  for (const Slot* slot : slots)
    if (slot->arrays) require_count(slot->name, *slot->arrays, params);
  if (params.empty()) return;
  std::vector<Extent> extents;
  with_type_of(params[0], [&](auto zero) {
    using T = decltype(zero);
    std::vector<UpdatePiece<T>> pieces;  // one per parameter
    Index total = 0;
    for (size_t i = 0; i < params.size(); ++i) {
      const Shape shape = params[i].shape();
      T* param = params[i].write<T>(shape);
      const T* grad = grads[i].read<T>(shape);
      extents.push_back(params[i].extent(true));
      extents.push_back(grads[i].extent(false));
      T* of_slots[3] = {};
      for (int n = 0; n < 3; ++n) {
        if (!slots[n]->arrays) continue;
        of_slots[n] = (*slots[n]->arrays)[i].template write<T>(shape);
        extents.push_back((*slots[n]->arrays)[i].extent(true));
      }
      const auto [a, b, c] = of_slots;
      pieces.push_back({param, grad, a, b, c, params[i].size()});
      total += params[i].size();
    }
    require_apart(std::move(extents));
    // Not interruptible: an update is atomic.
    const py::gil_scoped_release release;
    run(threads_for(update_ns(rule.rule) * kFlopsPerNs * double(total)), [&](const Team& team) {
      constexpr Index kLine = 64 / sizeof(T);
      const Range mine = split_range(total, team, kLine);
      Index before = 0;
      for (const UpdatePiece<T>& piece : pieces) {
        update_part(rule, piece, {mine.begin - before, mine.end - before});
        before += piece.count;
      }
    });
  });
}

// One region for all arrays, a sum per chunk; they are added array by array.
double sum_squares(const Arrays& arrays) {
  struct Chunk {
    const void* data;
    Index begin, count;  // of all elements
    bool is_float, last;  // float or double; the last of its array
    double sum;
  };
  std::vector<Chunk> chunks;
  Index total = 0;
  for (const Array& array : arrays) {
    const Index count = array.size();
    with_type_of(array, [&](auto zero) {
      using T = decltype(zero);
      const T* data = array.read<T>(array.shape());
      for (Index n = 0; n < count; n += kChunk)
        chunks.push_back({data + n, total + n, std::min(kChunk, count - n),
                          sizeof(T) == sizeof(float), n + kChunk >= count, 0});
    });
    total += count;
  }
  {
    const py::gil_scoped_release release;
    run(threads_for(kSumNs * kFlopsPerNs * double(total)), [&](const Team& team) {
      const Range mine = split_range(total, team);
      for (Chunk& chunk : chunks) {
        if (chunk.begin < mine.begin || chunk.begin >= mine.end) continue;
        chunk.sum = chunk.is_float ? kernels<float>().sum_squares(
                                         static_cast<const float*>(chunk.data), chunk.count)
                                   : kernels<double>().sum_squares(
                                         static_cast<const double*>(chunk.data), chunk.count);
      }
    });
  }
  double total_sum = 0, of_array = 0;
  for (const Chunk& chunk : chunks) {
    of_array += chunk.sum;
    if (!chunk.last) continue;
    total_sum += of_array;
    of_array = 0;
  }
  return total_sum;
}

// True for unique, ascending indices within 0...bound - 1.
bool is_sorted_unique(const Array& indices, Index bound) {
  const int64_t* at = indices.read<int64_t>({-1});
  int64_t before = -1;
  bool ascending = true;
  for (Index n = 0; n < indices.size(); before = at[n++]) ascending = ascending && at[n] > before;
  return ascending && before < bound;
}

// One array of which some rows, or columns, are updated: `count` of them, `width` elements each.
template <class T>
struct Slices {
  T* param;
  const T* grad;
  std::shared_ptr<int64_t> indices;  // a copy: nobody can change them after the check
  Index count, width, stride;
  bool columns;
  Index at(Index n) const { return indices.get()[n]; }
};

template <class T>
Slices<T> slices_of(const Array& param, const Array& values, const Array& indices, bool columns) {
  if (param.rank() < 1 || (columns && param.rank() != 2))
    fail(param.name(), columns ? "two axes" : "at least one axis", describe(param.object()));
  const Shape shape = param.shape();
  Slices<T> slices{};
  slices.param = param.write<T>(shape);
  const int64_t* at = indices.read<int64_t>({-1});
  slices.count = indices.size();
  slices.indices = pool_alloc_array<int64_t>(slices.count);
  std::copy(at, at + slices.count, slices.indices.get());
  Shape of_values = shape;
  if (columns) of_values[1] = shape[0];
  of_values[0] = slices.count;
  slices.grad = values.read<T>(of_values);
  slices.columns = columns;
  slices.stride = columns ? shape[1] : 0;
  const Index lines = shape[columns ? 1 : 0];
  slices.width = lines ? param.size() / lines : 0;
  for (Index n = 0; n < slices.count; ++n)
    if (slices.at(n) < 0 || slices.at(n) >= lines || (n && slices.at(n) <= slices.at(n - 1)))
      fail(indices.name(),
           std::string(columns ? "columns" : "rows") + " 0..." + std::to_string(lines - 1) +
               ", each larger than the one before",
           std::to_string(slices.at(n)) + " at " + std::to_string(n));
  return slices;
}

constexpr Index kBlockRows = 16;  // rows of a matrix of which some columns are updated

// The columns of a matrix: of a few of its rows at a time, so that the addresses along each row
// ascend.
template <class T>
void sgd_columns(const UpdateRule& rule, const Slices<T>& slices, const Range& rows) {
  for (Index k0 = rows.begin; k0 < rows.end; k0 += kBlockRows) {
    const Index count = std::min(kBlockRows, rows.end - k0);
    T gathered[kBlockRows];
    UpdatePiece<T> piece{};
    piece.param = gathered;
    piece.count = count;
    for (Index n = 0; n < slices.count; ++n) {
      T* column = slices.param + k0 * slices.stride + slices.at(n);
      for (Index k = 0; k < count; ++k) gathered[k] = column[k * slices.stride];
      piece.grad = slices.grad + n * slices.width + k0;
      kernels<T>().update(rule, piece);
      for (Index k = 0; k < count; ++k) column[k * slices.stride] = gathered[k];
    }
  }
}

// All arrays are checked before the first is changed.
void sgd_slices(const Arrays& params, const Arrays& values, const Arrays& indices,
                Finite learning_rate, double scale, const Clip& clipvalue,
                const std::optional<std::vector<bool>>& columns) {
  require_count("values", values, params);
  require_count("indices", indices, params);
  if (columns && columns->size() != params.size())
    fail("columns", std::to_string(params.size()) + " flags", std::to_string(columns->size()));
  const UpdateRule rule = update_rule(Rule::kSgd, learning_rate, scale, clipvalue);
  if (params.empty()) return;
  with_type_of(params[0], [&](auto zero) {
    using T = decltype(zero);
    std::vector<Slices<T>> all;
    std::vector<Extent> extents;
    Index total = 0;
    for (size_t i = 0; i < params.size(); ++i) {
      all.push_back(slices_of<T>(params[i], values[i], indices[i], columns && (*columns)[i]));
      total += all.back().count * all.back().width;
      for (const auto& [array, written] :
           {std::pair(&params[i], true), {&values[i], false}, {&indices[i], false}})
        extents.push_back(array->extent(written));
    }
    require_apart(std::move(extents));
    // Not interruptible: an update is atomic.
    const py::gil_scoped_release release;
    run(threads_for(update_ns(Rule::kSgd) * kFlopsPerNs * double(total)), [&](const Team& team) {
      for (const Slices<T>& slices : all) {
        if (slices.columns) {
          sgd_columns(rule, slices, split_range(slices.width, team, kBlockRows));
          continue;
        }
        UpdatePiece<T> piece{};
        piece.count = slices.width;
        const Range mine = split_range(slices.count, team);
        for (Index n = mine.begin; n < mine.end; ++n) {
          piece.param = slices.param + slices.at(n) * slices.width;
          piece.grad = slices.grad + n * slices.width;
          kernels<T>().update(rule, piece);
        }
      }
    });
  });
}

void sgd(const Arrays& params, const Arrays& grads, const OptionalArrays& velocities,
         Finite learning_rate, Finite momentum, bool nesterov, double scale,
         const Clip& clipvalue) {
  UpdateRule rule = update_rule(Rule::kSgd, learning_rate, scale, clipvalue);
  rule.momentum = momentum;
  rule.nesterov = nesterov;
  if (momentum == 0) return step(rule, params, grads);
  if (!velocities) fail("velocities", "arrays, as momentum is not 0", "None");
  step(rule, params, grads, slot_of("velocities", velocities));
}

void adam(const Arrays& params, const Arrays& grads, const Arrays& momentums,
          const Arrays& velocities, const OptionalArrays& max_velocities, Finite learning_rate,
          Finite beta_1, Finite beta_2, Finite epsilon, Index step_number, double scale,
          const Clip& clipvalue) {
  if (step_number < 1) fail("step", "a number from 1", std::to_string(step_number));
  UpdateRule rule = update_rule(Rule::kAdam, learning_rate, scale, clipvalue);
  rule.beta_1 = beta_1;
  rule.beta_2 = beta_2;
  rule.epsilon = epsilon;
  rule.bias_1 = 1 - std::pow(beta_1, double(step_number));
  rule.bias_2 = 1 - std::pow(beta_2, double(step_number));
  step(rule, params, grads, {"momentums", &momentums}, {"velocities", &velocities},
       slot_of("max_velocities", max_velocities));
}

void rmsprop(const Arrays& params, const Arrays& grads, const Arrays& velocities,
             const OptionalArrays& momentums, const OptionalArrays& averages, Finite learning_rate,
             Finite rho, Finite momentum, Finite epsilon, double scale, const Clip& clipvalue) {
  UpdateRule rule = update_rule(Rule::kRmsprop, learning_rate, scale, clipvalue);
  rule.rho = rho;
  rule.momentum = momentum;
  rule.epsilon = epsilon;
  if (momentum != 0 && !momentums) fail("momentums", "arrays, as momentum is not 0", "None");
  step(rule, params, grads, {"velocities", &velocities},
       momentum != 0 ? slot_of("momentums", momentums) : Slot{}, slot_of("averages", averages));
}

void adagrad(const Arrays& params, const Arrays& grads, const Arrays& accumulators,
             Finite learning_rate, Finite epsilon, double scale, const Clip& clipvalue) {
  UpdateRule rule = update_rule(Rule::kAdagrad, learning_rate, scale, clipvalue);
  rule.epsilon = epsilon;
  step(rule, params, grads, {"accumulators", &accumulators});
}

}  // namespace

void bind_optimizer(py::module_& m) {
  define<&sum_squares>(m, "sum_squares(arrays)");
  define<&is_sorted_unique>(m, "is_sorted_unique(indices, bound)");
  define<&sgd_slices>(m,
                      "sgd_slices(params, values, indices, *, learning_rate, scale=1.0, "
                      "clipvalue=None, columns=None)");
  define<&sgd>(m,
               "sgd(params, grads, velocities=None, *, learning_rate, momentum=0.0, "
               "nesterov=False, scale=1.0, "
               "clipvalue=None)");
  define<&adam>(m,
                "adam(params, grads, momentums, velocities, max_velocities=None, *, learning_rate, "
                "beta_1=0.9, beta_2=0.999, "
                "epsilon=1e-7, step=1, scale=1.0, clipvalue=None)");
  define<&rmsprop>(m,
                   "rmsprop(params, grads, velocities, momentums=None, averages=None, *, "
                   "learning_rate, rho=0.9, momentum=0.0, "
                   "epsilon=1e-7, scale=1.0, clipvalue=None)");
  define<&adagrad>(m,
                   "adagrad(params, grads, accumulators, *, learning_rate, epsilon=1e-7, "
                   "scale=1.0, clipvalue=None)");
}

}  // namespace seqcore
