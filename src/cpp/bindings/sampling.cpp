// Samplers of classes, and the losses over sampled classes.
#include "../sampling.h"

#include <cmath>
#include <limits>

#include "arguments.h"
#include "ids.h"

namespace seqcore {
namespace {

constexpr Index kMostClasses = std::numeric_limits<int32_t>::max();

AliasTable alias_table(const py::array& weights) {
  const double* w = contiguous<double>("weights", weights, {-1});
  const Index n = weights.size();
  if (n < 1 || n > kMostClasses) fail("weights", "1..." + std::to_string(kMostClasses) + " numbers", std::to_string(n));
  bool any = false;
  for (Index k = 0; k < n; ++k) {
    if (!(w[k] >= 0) || std::isinf(w[k]))
      fail("weights", "finite numbers >= 0", std::to_string(w[k]) + " at " + std::to_string(k));
    any = any || w[k] > 0;
  }
  if (!any) fail("weights", "at least one number > 0", "zeros");
  return {w, n};
}

Distribution distribution_of(const py::object& from, Index classes) {
  if (classes < 1 || classes > kMostClasses)
    fail("range_max", "1..." + std::to_string(kMostClasses) + " classes", std::to_string(classes));
  if (py::isinstance<AliasTable>(from)) {
    const auto& table = from.cast<const AliasTable&>();
    if (table.size() != classes) fail("range_max", std::to_string(table.size()) + ", one per weight", std::to_string(classes));
    return Distribution::of(table);
  }
  const auto name = py::isinstance<py::str>(from) ? from.cast<std::string>() : "";
  if (name == "log_uniform") return Distribution::log_uniform(classes);
  if (name == "uniform") return Distribution::uniform(classes);
  fail("distribution", "'log_uniform', 'uniform' or an AliasTable", py::repr(from).cast<std::string>());
}

// Draws `count` >= 1 classes into `out`; returns the number of draws.
Index draw(const Distribution& from, const Draws& draws, Index count, bool unique, int64_t* out) {
  if (unique && count > from.reachable())
    fail("num_sampled", "at most " + std::to_string(from.reachable()) + ", the classes that can be drawn without replacement",
         std::to_string(count));
  Index tries = count;
  run_released(unique ? 1 : threads_for(40.0 * double(count)), [&](const Team& team) {
    if (unique)
      tries = draw_different_classes(from, draws, count, out, team);
    else
      draw_classes(from, draws, count, out, team);
  });
  return tries;
}

py::tuple sample_classes(const py::object& distribution, Index classes, const py::array& labels, Index count, bool unique,
                         uint64_t seed, uint64_t call) {
  const Distribution from = distribution_of(distribution, classes);
  const int64_t* label = contiguous<int64_t>("labels", labels, {-1});
  const Index N = labels.size();
  for (Index n = 0; n < N; ++n)
    if (label[n] < 0 || label[n] >= classes)
      fail("true_classes", "class numbers 0..." + std::to_string(classes - 1),
           std::to_string(label[n]) + " at " + std::to_string(n));
  if (count < 1) fail("num_sampled", "a number from 1", std::to_string(count));
  const py::array sampled = new_array<int64_t>({count}), of_labels = new_array<double>({N}),
                  of_sampled = new_array<double>({count});
  int64_t* out = data_of<int64_t>(sampled);
  const Index tries = draw(from, {seed, call}, count, unique, out);
  double *a = data_of<double>(of_labels), *b = data_of<double>(of_sampled);
  run_released(threads_for(100.0 * double(N + count)), [&](const Team& team) {
    const Range mine = share(N + count, team);
    for (Index n = mine.begin; n < mine.end; ++n)
      (n < N ? a[n] : b[n - N]) = expected_count(from.probability(Index(n < N ? label[n] : out[n - N])), count, tries, unique);
  });
  return py::make_tuple(sampled, of_labels, of_sampled);
}

py::tuple accidental_hits(const py::array& labels, const py::array& sampled) {
  const int64_t* label = contiguous<int64_t>("true_classes", labels, {-1, -1});
  const int64_t* sample = contiguous<int64_t>("sampled_candidates", sampled, {-1});
  const Index R = labels.shape(0), N = labels.shape(1), S = sampled.size();
  std::vector<std::pair<Index, Index>> hits;
  for (Index r = 0; r < R; ++r)
    for (Index n = 0; n < N; ++n)
      for (Index s = 0; s < S; ++s)
        if (label[r * N + n] == sample[s]) hits.emplace_back(r, s);
  const Index count = Index(hits.size());
  const py::array rows = new_array<int64_t>({count}), places = new_array<int64_t>({count});
  for (Index i = 0; i < count; ++i) {
    data_of<int64_t>(rows)[i] = hits[size_t(i)].first;
    data_of<int64_t>(places)[i] = hits[size_t(i)].second;
  }
  return py::make_tuple(rows, places);
}

// Classes and corrections of one call of a sampled loss: the true ones row by row, then the samples.
template <class T>
struct Candidates {
  std::vector<int32_t> ids;
  std::vector<T> corrections;
  Groups<int32_t> groups;
  Index true_classes = 0, samples = 0;

  template <class I>
  void add(const char* name, const I* from, Index count, Index classes) {
    for (Index n = 0; n < count; ++n) {
      if (from[n] < 0 || from[n] >= classes)
        fail(name, "class numbers 0..." + std::to_string(classes - 1), std::to_string(from[n]) + " at " + std::to_string(n));
      ids.push_back(int32_t(from[n]));
    }
  }

  // sampled: None, to draw without replacement by the log-uniform distribution, or a tuple of sampled classes, expected counts
  // of the true classes and of the sampled ones.
  void build(const py::array& labels, Index R, Index classes, const py::object& sampled, Index num_sampled, const Draws& draws,
             bool correct, bool group) {
    if (classes > kMostClasses) fail("weights", "at most " + std::to_string(kMostClasses) + " classes", std::to_string(classes));
    if (labels.ndim() != 2 || labels.shape(0) != R || labels.shape(1) < 1 || !(labels.flags() & py::array::c_style))
      fail("labels", "a C-contiguous array of shape (" + std::to_string(R) + ", num_true)", describe(labels));
    true_classes = labels.shape(1);
    samples = num_sampled;
    const Index N = labels.size();
    if (samples < 1) fail("num_sampled", "a number from 1", std::to_string(samples));
    // The kernel counts the places of ids in int32.
    if (samples > kMostInt32 - N)
      fail("num_sampled", "at most " + std::to_string(kMostInt32) + " labels and samples together",
           std::to_string(N) + " and " + std::to_string(samples));
    ids.reserve(size_t(N + samples));
    with_ids("labels", labels, [&](auto* id) { add("labels", id, N, classes); });
    if (sampled.is_none()) {
      const Distribution from = Distribution::log_uniform(classes);
      std::vector<int64_t> drawn(static_cast<size_t>(samples));
      const Index tries = draw(from, draws, samples, true, drawn.data());
      add("sampled_candidates", drawn.data(), samples, classes);
      if (correct) {
        corrections.resize(ids.size());
        if (classes >= 3)
          kernels<T>().log_uniform_corrections(ids.data(), Index(ids.size()), classes, double(tries), corrections.data());
        else
          for (size_t n = 0; n < ids.size(); ++n)
            corrections[n] = T(std::log(expected_count(from.probability(ids[n]), samples, tries, true)));
      }
    } else {
      const auto given = sampled.cast<py::tuple>();
      if (given.size() != 3) fail("sampled_values", "three arrays", std::to_string(given.size()));
      const auto drawn = given[0].cast<py::array>();
      add("sampled_candidates", contiguous<int64_t>("sampled_candidates", drawn, {samples}), samples, classes);
      if (correct) {
        const double* of_labels = contiguous<double>("true_expected_count", given[1].cast<py::array>(), {R, true_classes});
        const double* of_sampled = contiguous<double>("sampled_expected_count", given[2].cast<py::array>(), {samples});
        corrections.reserve(ids.size());
        for (Index n = 0; n < N; ++n) corrections.push_back(T(std::log(of_labels[n])));
        for (Index n = 0; n < samples; ++n) corrections.push_back(T(std::log(of_sampled[n])));
      }
    }
    if (group) groups = group_ids<int32_t>(ids.data(), Index(ids.size()), classes);
  }
};

py::tuple sampled_loss(const py::array& weights, const py::object& biases, const py::array& labels, const py::array& inputs,
                       const py::object& sampled, Index num_sampled, bool softmax, double target, bool correct, bool remove_hits,
                       bool by_columns, bool gradients, bool need_dx, bool need_weights, double weight,
                       const py::object& row_weights, uint64_t seed, uint64_t number) {
  return with_type_of("inputs", inputs, [&](auto zero) {
    using T = decltype(zero);
    SampledLossCall<T> call{};
    call.x = contiguous<T>("inputs", inputs, {-1, -1});
    const Index R = call.rows = inputs.shape(0), K = call.inputs = inputs.shape(1);
    call.weights = contiguous<T>("weights", weights, by_columns ? Shape{K, -1} : Shape{-1, K});
    call.stride = weights.shape(1);
    const Index V = weights.shape(by_columns ? 1 : 0);
    if (!R || !K || !V) fail("inputs", "a matrix that is not empty", describe(inputs));
    call.biases = optional_contiguous<T>("biases", biases, {V});
    call.row_weights = optional_contiguous<T>("row_weights", row_weights, {R});
    need_weights = need_weights && gradients;
    Candidates<T> candidates;
    candidates.build(labels, R, V, sampled, num_sampled, {seed, number}, correct, need_weights || by_columns);
    call.true_classes = candidates.true_classes;
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
    const py::array losses = new_array<T>({R});
    call.losses = data_of<T>(losses);
    py::object dx = py::none(), dweights = py::none(), dbiases = py::none(), indices = py::none();
    if (gradients && need_dx) {
      dx = new_array<T>({R, K});
      call.dx = data_of<T>(dx.cast<py::array>());
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
      call.dweights = data_of<T>(dweights.cast<py::array>());
      call.dbiases = data_of<T>(dbiases.cast<py::array>());
      int64_t* at = data_of<int64_t>(indices.cast<py::array>());
      for (Index u = 0; u < U; ++u) at[u] = call.ids[call.order[call.starts[u]]];
    }
    SampledLossSizes sizes;
    kernels<T>().sampled_loss_sizes(call, sizes);
    const int threads = threads_for(6.0 * double(R) * double(K) * double(num_sampled + call.true_classes));
    const auto scratch = borrow_array<T>(sizes.all), of_threads = borrow_array<T>(threads * sizes.thread);
    call.scratch = scratch.get();
    call.scratch_thread = of_threads.get();
    run_released(threads, [&](const Team& team) { kernels<T>().sampled_loss(call, team); });
    return py::make_tuple(losses, dx, dweights, dbiases, indices);
  });
}

}  // namespace

void bind_sampling(py::module_& m) {
  py::class_<AliasTable> table(m, "AliasTable", "A discrete distribution that is drawn from in constant time.");
  table.def(py::init(&alias_table), py::arg("weights"));
  table.def_property_readonly("size", &AliasTable::size);
  define(m, "sample_classes", "distribution:any range_max:int labels:array num_sampled:int unique:bool seed:int call:int",
         &sample_classes, py::arg("distribution"), py::arg("range_max"), py::arg("labels"), py::arg("num_sampled"),
         py::arg("unique"), py::arg("seed"), py::arg("call"));
  define(m, "accidental_hits", "true_classes:array sampled_candidates:array", &accidental_hits, py::arg("true_classes"),
         py::arg("sampled_candidates"));
  define(m, "sampled_loss",
         "weights:array biases:array? labels:array inputs:array sampled:sequence? num_sampled:int softmax:bool target:float "
         "correct:bool remove_hits:bool by_columns:bool gradients:bool need_dx:bool need_weights:bool weight:float "
         "row_weights:array? seed:int call:int",
         &sampled_loss, py::arg("weights"), py::arg("biases"), py::arg("labels"), py::arg("inputs"), py::arg("sampled"),
         py::arg("num_sampled"), py::kw_only(), py::arg("softmax"), py::arg("target") = 1.0, py::arg("correct") = true,
         py::arg("remove_hits") = false, py::arg("by_columns") = false, py::arg("gradients") = true, py::arg("need_dx") = true,
         py::arg("need_weights") = true, py::arg("weight") = 1.0, py::arg("row_weights") = py::none(), py::arg("seed") = 0,
         py::arg("call") = 0);
}

}  // namespace seqcore
