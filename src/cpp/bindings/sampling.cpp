// Samplers of classes, and the losses over sampled classes.
#include "../sampling.h"

#include <algorithm>
#include <cmath>

#include "bindings.h"
#include "ids.h"

namespace seqcore {
namespace {

constexpr Index kMaxClasses = INT32_MAX;

std::shared_ptr<AliasTable> alias_table(const Array& weights) {
  const double* w = weights.read<double>({-1});
  const Index n = weights.size();
  if (n < 1 || n > kMaxClasses)
    fail("weights", "1..." + std::to_string(kMaxClasses) + " numbers", std::to_string(n));
  bool any = false;
  for (Index k = 0; k < n; ++k) {
    if (!(w[k] >= 0) || std::isinf(w[k]))
      fail("weights", "finite numbers >= 0", std::to_string(w[k]) + " at " + std::to_string(k));
    any = any || w[k] > 0;
  }
  if (!any) fail("weights", "at least one number > 0", "zeros");
  return std::make_shared<AliasTable>(w, n);
}

Distribution distribution_of(const Anything& from, Index classes) {
  if (classes < 1 || classes > kMaxClasses)
    fail("range_max", "1..." + std::to_string(kMaxClasses) + " classes", std::to_string(classes));
  PyObject* value = from.value.ptr();
  if (Py_TYPE(value) == class_of<AliasTable>) {
    const AliasTable& table = *value_of<AliasTable>(value);
    if (table.size() != classes)
      fail("range_max", std::to_string(table.size()) + ", one per weight", std::to_string(classes));
    return Distribution::of(table);
  }
  if (!PyUnicode_Check(value))
    fail_type(from.name, "'log_uniform', 'uniform' or an AliasTable", value);
  const std::string name = load_text(from.name, value);
  if (name == "log_uniform") return Distribution::log_uniform(classes);
  if (name == "uniform") return Distribution::uniform(classes);
  fail(from.name, "'log_uniform', 'uniform' or an AliasTable", describe(value));
}

void require_reachable(const Distribution& from, Index count, bool unique) {
  if (unique && count > from.reachable())
    fail("num_sampled",
         "at most " + std::to_string(from.reachable()) +
             ", the classes that can be drawn without replacement",
         std::to_string(count));
}

// Draws `count` >= 1 classes into `out`; returns the number of draws that it took.
double draw(const Distribution& from, const Draws& draws, Index count, bool unique, int64_t* out) {
  double tries = double(count);
  run_released(unique ? 1 : threads_for(40.0 * double(count)), [&](const Team& team) {
    if (unique)
      tries = draw_unique_classes(from, draws, count, out, team);
    else
      draw_classes(from, draws, count, out, team);
  });
  return tries;
}

py::tuple sample_classes(const Anything& distribution, Index classes, const Array& true_classes,
                         Index count, bool unique, uint64_t seed, uint64_t call) {
  const Distribution from = distribution_of(distribution, classes);
  const Index N = true_classes.size();
  const auto labels =
      copy_ids("true_classes", "class numbers", true_classes.read<int64_t>({-1}), N, classes);
  if (count < 1) fail("num_sampled", "a number from 1", std::to_string(count));
  require_reachable(from, count, unique);
  const py::object sampled = new_array<int64_t>({count}), of_labels = new_array<double>({N}),
                   of_sampled = new_array<double>({count});
  int64_t* out = data_of<int64_t>(sampled);
  const double tries = draw(from, {seed, call}, count, unique, out);
  double *a = data_of<double>(of_labels), *b = data_of<double>(of_sampled);
  run_released(threads_for(100.0 * double(N + count)), [&](const Team& team) {
    const Range mine = split_range(N + count, team);
    for (Index n = mine.begin; n < mine.end; ++n) {
      const int64_t of = n < N ? labels.get()[n] : out[n - N];
      (n < N ? a[n] : b[n - N]) = expected_count(from, of, count, tries, unique);
    }
  });
  return py::make_tuple(sampled, of_labels, of_sampled);
}

py::tuple accidental_hits(const Array& true_classes, const Array& sampled) {
  const int64_t* label = true_classes.read<int64_t>({-1, -1});
  const int64_t* sample = sampled.read<int64_t>({-1});
  const Index N = true_classes.size(), S = sampled.size(),
              of_row = std::max<Index>(true_classes.shape(1), 1);
  // The places of each class, in order.
  std::vector<std::pair<int64_t, Index>> places(static_cast<size_t>(S));
  for (Index s = 0; s < S; ++s) places[size_t(s)] = {sample[s], s};
  std::sort(places.begin(), places.end());
  const auto hits_of = [&](Index n) {
    const auto first =
        std::lower_bound(places.begin(), places.end(), std::pair(label[n], Index(0)));
    return std::pair(first, std::upper_bound(first, places.end(), std::pair(label[n], S)));
  };
  Index count = 0;
  for (Index n = 0; n < N; ++n) {
    const auto [first, end] = hits_of(n);
    count += end - first;
  }
  const py::object rows = new_array<int64_t>({count}), columns = new_array<int64_t>({count});
  int64_t *row = data_of<int64_t>(rows), *column = data_of<int64_t>(columns);
  for (Index n = 0; n < N; ++n) {
    const auto [first, end] = hits_of(n);
    for (auto hit = first; hit != end; ++hit) {
      *row++ = n / of_row;
      *column++ = hit->second;
    }
  }
  return py::make_tuple(rows, columns);
}

// Classes and corrections of one call of a sampled loss: the true ones row by row, then the
// samples.
template <class T>
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<T> corrections;
  Groups<int32_t> groups;
  Index true_classes = 0, samples = 0;

  template <class I>
  void add(Name name, const I* from, Index count, Index classes) {
    require_ids(name, "class numbers", from, count, classes);
    ids.insert(ids.end(), from, from + count);
  }

  // sampled: None, to draw without replacement by the log-uniform distribution, or a tuple of
  // sampled classes, expected counts of the true classes and of the sampled ones.
  void build(const Array& labels, Index R, Index classes, const OptionalItems& sampled,
             Index num_sampled, const Draws& draws, bool correct, bool group) {
    if (classes > kMaxClasses)
      fail("weights", "at most " + std::to_string(kMaxClasses) + " classes",
           std::to_string(classes));
    if (labels.rank() != 2 || labels.shape(0) != R || labels.shape(1) < 1)
      fail("labels", "shape (" + std::to_string(R) + ", num_true)", describe(labels.object()));
    true_classes = labels.shape(1);
    samples = num_sampled;
    const Index N = labels.size();
    if (samples < 1) fail("num_sampled", "a number from 1", std::to_string(samples));
    // The kernel counts the places of ids in int32.
    if (samples > kMaxInt32 - N)
      fail("num_sampled", "at most " + std::to_string(kMaxInt32) + " labels and samples together",
           std::to_string(N) + " and " + std::to_string(samples));
    if (!sampled) require_reachable(Distribution::log_uniform(classes), samples, true);
    ids.reserve(size_t(N + samples));
    with_ids(labels, [&](auto* id) { add("labels", id, N, classes); });
    if (!sampled) {
      const Distribution from = Distribution::log_uniform(classes);
      std::vector<int64_t> drawn(static_cast<size_t>(samples));
      const double tries = draw(from, draws, samples, true, drawn.data());
      add("sampled_candidates", drawn.data(), samples, classes);
      if (correct) {
        corrections.resize(ids.size());
        if (classes >= 3)
          kernels<T>().log_uniform_corrections(ids.data(), Index(ids.size()), classes, tries,
                                               corrections.data());
        else
          for (size_t n = 0; n < ids.size(); ++n)
            corrections[n] = T(std::log(expected_count(from, ids[n], samples, tries, true)));
      }
    } else {
      sampled->require_size(
          3, "arrays (sampled_candidates, true_expected_count, sampled_expected_count)");
      add("sampled_values: sampled_candidates",
          sampled->array(0, "sampled_values: sampled_candidates").read<int64_t>({samples}), samples,
          classes);
      const Array of_true = sampled->array(1, "sampled_values: true_expected_count"),
                  of_samples = sampled->array(2, "sampled_values: sampled_expected_count");
      if (correct) {
        const double* of_labels = of_true.read<double>({R, true_classes});
        const double* of_sampled = of_samples.read<double>({samples});
        corrections.reserve(ids.size());
        for (Index n = 0; n < N; ++n) corrections.push_back(T(std::log(of_labels[n])));
        for (Index n = 0; n < samples; ++n) corrections.push_back(T(std::log(of_sampled[n])));
      }
    }
    if (group) groups = group_ids<int32_t>(ids.data(), Index(ids.size()), classes);
  }
};

py::tuple sampled_loss(const Array& weights, const OptionalArray& biases, const Array& labels,
                       const Array& inputs, const OptionalItems& sampled, Index num_sampled,
                       bool softmax, double target, bool correct, bool remove_hits, bool by_columns,
                       bool gradients, bool need_dx, bool need_weights, double weight,
                       const OptionalArray& row_weights, uint64_t seed, uint64_t number) {
  return with_type_of(inputs, [&](auto zero) {
    using T = decltype(zero);
    SampledLossCall<T> call{};
    call.x = inputs.read<T>({-1, -1});
    const Index R = call.rows = inputs.shape(0), K = call.inputs = inputs.shape(1);
    call.weights = weights.read<T>(by_columns ? Shape{K, -1} : Shape{-1, K});
    call.stride = weights.shape(1);
    const Index V = weights.shape(by_columns ? 1 : 0);
    require_elements(inputs);
    require_elements(weights);
    call.biases = read<T>(biases, {V});
    call.row_weights = read<T>(row_weights, {R});
    need_weights = need_weights && gradients;
    Candidates<T> candidates;
    candidates.build(labels, R, V, sampled, num_sampled, {seed, number}, correct,
                     need_weights || by_columns);
    call.true_classes = candidates.true_classes;
    // No size that is derived from these overflows: a row of logits is shorter than this, padding
    // included.
    product<T>({R, 4, call.true_classes + num_sampled + 64});
    call.samples = num_sampled;
    call.softmax = softmax;
    call.target = T(target);
    call.by_columns = by_columns;
    call.remove_hits = remove_hits;
    call.gradients = gradients;
    call.weight = T(weight);
    call.ids = candidates.ids.data();
    call.corrections = correct ? candidates.corrections.data() : nullptr;
    const Groups<int32_t>& groups = candidates.groups;
    const py::object losses = new_array<T>({R});
    call.losses = data_of<T>(losses);
    py::object dx = py::none(), dweights = py::none(), dbiases = py::none(), indices = py::none();
    if (gradients && need_dx) {
      dx = new_array<T>({R, K});
      call.dx = data_of<T>(dx);
    }
    if (need_weights || by_columns) {
      call.used = groups.count();
      call.order = groups.order.data();
      call.starts = groups.starts.data();
    }
    if (need_weights) {
      const Index U = groups.count();
      dweights = new_array<T>({U, K});
      dbiases = new_array<T>({U});
      indices = new_array<int64_t>({U});
      call.dweights = data_of<T>(dweights);
      call.dbiases = data_of<T>(dbiases);
      int64_t* at = data_of<int64_t>(indices);
      for (Index u = 0; u < U; ++u) at[u] = call.ids[call.order[call.starts[u]]];
    }
    SampledLossSizes sizes;
    kernels<T>().sampled_loss_sizes(call, sizes);
    const int threads =
        threads_for(6.0 * double(R) * double(K) * double(num_sampled + call.true_classes));
    const auto scratch = pool_alloc_array<T>(sizes.all),
               of_threads = pool_alloc_array<T>(threads * sizes.thread);
    call.scratch = scratch.get();
    call.scratch_thread = of_threads.get();
    run_released(threads, [&](const Team& team) { kernels<T>().sampled_loss(call, team); });
    return py::make_tuple(losses, dx, dweights, dbiases, indices);
  });
}

}  // namespace

void bind_sampling(py::module_& m) {
  Class<AliasTable, &alias_table>(m, "AliasTable(weights)").property<&AliasTable::size>("size");
  define<&sample_classes>(
      m, "sample_classes(distribution, range_max, true_classes, num_sampled, unique, seed, call)");
  define<&accidental_hits>(m, "accidental_hits(true_classes, sampled_candidates)");
  define<&sampled_loss>(m,
                        "sampled_loss(weights, biases, labels, inputs, sampled_values, "
                        "num_sampled, *, softmax, target=1.0, "
                        "correct=True, remove_hits=False, by_columns=False, gradients=True, "
                        "need_dx=True, need_weights=True, "
                        "weight=1.0, row_weights=None, seed=0, call=0)");
}

}  // namespace seqcore
