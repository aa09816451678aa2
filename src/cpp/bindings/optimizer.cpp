// Optimizer steps over lists of arrays, each cut into chunks that the threads share.
#include <algorithm>

#include "arguments.h"

namespace seqcore {
namespace {

constexpr Index kChunk = 1 << 16;  // elements; fixed, so that the norm's tree does not depend on the threads

// The arrays of a list, which match `like` in number and shape where it is given.
std::vector<py::array> arrays_of(const std::string& name, const py::object& list, const std::vector<py::array>* like) {
  std::vector<py::array> arrays;
  if (list.is_none()) return arrays;
  if (py::isinstance<py::array>(list)) fail(name, "a list of arrays", describe(list.cast<py::array>()));
  for (const auto& one : list) arrays.push_back(one.cast<py::array>());
  if (like && arrays.size() != like->size())
    fail(name, std::to_string(like->size()) + " arrays, one per parameter", std::to_string(arrays.size()));
  return arrays;
}

Shape shape_of(const py::array& array) { return Shape(array.shape(), array.shape() + array.ndim()); }

using Clip = std::optional<double>;

// What every rule takes; the rest is 0.
UpdateRule update_rule(Rule rule, double learning_rate, double scale, const Clip& clipvalue) {
  UpdateRule update{};
  update.rule = rule;
  update.learning_rate = learning_rate;
  update.scale = scale;
  update.clip = clipvalue.has_value();
  update.clipvalue = clipvalue.value_or(0);
  return update;
}

void step(const UpdateRule& rule, const py::object& params, const py::object& grads, const py::object& slot0,
          const py::object& slot1, const py::object& slot2, const char* name0, const char* name1, const char* name2) {
  const auto p = arrays_of("params", params, nullptr);
  const auto g = arrays_of("grads", grads, &p), s0 = arrays_of(name0, slot0, slot0.is_none() ? nullptr : &p),
             s1 = arrays_of(name1, slot1, slot1.is_none() ? nullptr : &p),
             s2 = arrays_of(name2, slot2, slot2.is_none() ? nullptr : &p);
  if (p.empty()) return;
  with_type_of("params", p[0], [&](auto zero) {
    using T = decltype(zero);
    std::vector<UpdatePiece<T>> pieces;
    Index total = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      const Shape shape = shape_of(p[i]);
      T* param = writable<T>("params", p[i], shape);
      const T* grad = contiguous<T>("grads", g[i], shape);
      T* a = s0.empty() ? nullptr : writable<T>(name0, s0[i], shape);
      T* b = s1.empty() ? nullptr : writable<T>(name1, s1[i], shape);
      T* c = s2.empty() ? nullptr : writable<T>(name2, s2[i], shape);
      const Index count = p[i].size();
      total += count;
      for (Index n = 0; n < count; n += kChunk)
        pieces.push_back({param + n, grad + n, a ? a + n : a, b ? b + n : b, c ? c + n : c, std::min(kChunk, count - n)});
    }
    // Not interruptible: an update is done whole or not at all.
    const py::gil_scoped_release release;
    run(threads_for(10.0 * double(total)), [&](const Team& team) {
      const Range mine = share(Index(pieces.size()), team);
      for (Index i = mine.begin; i < mine.end; ++i) kernels<T>().update(rule, pieces[size_t(i)]);
    });
  });
}

double sum_squares(const py::object& list) {
  const auto arrays = arrays_of("arrays", list, nullptr);
  double total = 0;
  for (const auto& array : arrays) {
    total += with_type_of("arrays", array, [&](auto zero) {
      using T = decltype(zero);
      const T* data = contiguous<T>("arrays", array, shape_of(array));
      const Index count = array.size(), chunks = (count + kChunk - 1) / kChunk;
      std::vector<double> sums(static_cast<size_t>(chunks));
      const py::gil_scoped_release release;
      run(threads_for(2.0 * double(count)), [&](const Team& team) {
        const Range mine = share(chunks, team);
        for (Index n = mine.begin; n < mine.end; ++n)
          sums[size_t(n)] = kernels<T>().sum_squares(data + n * kChunk, std::min(kChunk, count - n * kChunk));
      });
      double sum = 0;
      for (const double part : sums) sum += part;
      return sum;
    });
  }
  return total;
}

// Whether the indices are in 0...bound - 1 and each is larger than the one before.
bool rising_below(const py::array& indices, Index bound) {
  const int64_t* at = contiguous<int64_t>("indices", indices, {-1});
  int64_t before = -1;
  bool rising = true;
  for (Index n = 0; n < indices.size(); before = at[n++]) rising = rising && at[n] > before;
  return rising && before < bound;
}

// One array of which some rows, or columns, are updated: `count` of them, `width` elements each.
template <class T>
struct Slices {
  T* param;
  const T* grad;
  const int64_t* at;
  Index count, width, stride;
  bool columns;
};

template <class T>
Slices<T> slices_of(const py::array& param, const py::array& values, const py::array& indices, bool columns) {
  if (param.ndim() < 1 || (columns && param.ndim() != 2))
    fail("params", columns ? "two axes" : "at least one axis", describe(param));
  const Shape shape = shape_of(param);
  Slices<T> slices{};
  slices.param = writable<T>("params", param, shape);
  slices.at = contiguous<int64_t>("indices", indices, {-1});
  slices.count = indices.size();
  Shape of_values = shape;
  if (columns) of_values[1] = shape[0];
  of_values[0] = slices.count;
  slices.grad = contiguous<T>("values", values, of_values);
  slices.columns = columns;
  slices.stride = columns ? shape[1] : 0;
  const Index lines = shape[columns ? 1 : 0];
  slices.width = lines ? param.size() / lines : 0;
  for (Index n = 0; n < slices.count; ++n)
    if (slices.at[n] < 0 || slices.at[n] >= lines || (n && slices.at[n] <= slices.at[n - 1]))
      fail("indices",
           std::string(columns ? "columns" : "rows") + " 0..." + std::to_string(lines - 1) + ", each larger than the one before",
           std::to_string(slices.at[n]) + " at " + std::to_string(n));
  return slices;
}

constexpr Index kTogether = 16;  // rows of a matrix of which some columns are updated

// The columns of a matrix: of a few of its rows at a time, so that along each the addresses rise.
template <class T>
void sgd_columns(const UpdateRule& rule, const Slices<T>& slices, const Range& rows) {
  for (Index k0 = rows.begin; k0 < rows.end; k0 += kTogether) {
    const Index count = std::min(kTogether, rows.end - k0);
    T gathered[kTogether];
    UpdatePiece<T> piece{};
    piece.param = gathered;
    piece.count = count;
    for (Index n = 0; n < slices.count; ++n) {
      T* column = slices.param + k0 * slices.stride + slices.at[n];
      for (Index k = 0; k < count; ++k) gathered[k] = column[k * slices.stride];
      piece.grad = slices.grad + n * slices.width + k0;
      kernels<T>().update(rule, piece);
      for (Index k = 0; k < count; ++k) column[k * slices.stride] = gathered[k];
    }
  }
}

// All arrays are checked before the first is changed.
void sgd_slices(const py::object& params, const py::object& values, const py::object& indices, double learning_rate, double scale,
                const Clip& clipvalue, const py::object& columns) {
  const auto p = arrays_of("params", params, nullptr);
  const auto v = arrays_of("values", values, &p), at = arrays_of("indices", indices, &p);
  if (p.empty()) return;
  std::vector<bool> by_column(p.size(), false);
  if (!columns.is_none()) {
    by_column.clear();
    for (const auto& one : columns) by_column.push_back(one.cast<bool>());
    if (by_column.size() != p.size()) fail("columns", std::to_string(p.size()) + " flags", std::to_string(by_column.size()));
  }
  with_type_of("params", p[0], [&](auto zero) {
    using T = decltype(zero);
    std::vector<Slices<T>> all;
    Index total = 0;
    for (size_t i = 0; i < p.size(); ++i) {
      all.push_back(slices_of<T>(p[i], v[i], at[i], by_column[i]));
      total += all.back().count * all.back().width;
    }
    const UpdateRule rule = update_rule(Rule::kSgd, learning_rate, scale, clipvalue);
    // Not interruptible: an update is done whole or not at all.
    const py::gil_scoped_release release;
    run(threads_for(4.0 * double(total)), [&](const Team& team) {
      for (const Slices<T>& one : all) {
        if (one.columns) {
          sgd_columns(rule, one, share(one.width, team, kTogether));
          continue;
        }
        UpdatePiece<T> piece{};
        piece.count = one.width;
        const Range mine = share(one.count, team);
        for (Index n = mine.begin; n < mine.end; ++n) {
          piece.param = one.param + one.at[n] * one.width;
          piece.grad = one.grad + n * one.width;
          kernels<T>().update(rule, piece);
        }
      }
    });
  });
}

}  // namespace

void bind_optimizer(py::module_& m) {
  define(m, "sum_squares", "arrays:sequence", &sum_squares, py::arg("arrays"));
  define(m, "rising_below", "indices:array bound:int", &rising_below, py::arg("indices"), py::arg("bound"));
  define(m, "sgd_slices",
         "params:sequence values:sequence indices:sequence learning_rate:float scale:float clipvalue:float? columns:sequence?",
         &sgd_slices, py::arg("params"), py::arg("values"), py::arg("indices"), py::kw_only(), py::arg("learning_rate"),
         py::arg("scale") = 1.0, py::arg("clipvalue") = py::none(), py::arg("columns") = py::none());
  define(
      m, "sgd",
      "params:sequence grads:sequence velocities:sequence? learning_rate:float momentum:float "
      "nesterov:bool scale:float clipvalue:float?",
      [](const py::object& params, const py::object& grads, const py::object& velocities, double learning_rate, double momentum,
         bool nesterov, double scale, Clip clipvalue) {
        UpdateRule rule = update_rule(Rule::kSgd, learning_rate, scale, clipvalue);
        rule.momentum = momentum;
        rule.nesterov = nesterov;
        if (momentum != 0 && velocities.is_none()) fail("velocities", "arrays, as momentum is not 0", "None");
        step(rule, params, grads, momentum != 0 ? velocities : py::none(), py::none(), py::none(), "velocities", "", "");
      },
      py::arg("params"), py::arg("grads"), py::arg("velocities") = py::none(), py::kw_only(), py::arg("learning_rate"),
      py::arg("momentum") = 0.0, py::arg("nesterov") = false, py::arg("scale") = 1.0, py::arg("clipvalue") = py::none());
  define(
      m, "adam",
      "params:sequence grads:sequence momentums:sequence velocities:sequence max_velocities:sequence? "
      "learning_rate:float beta_1:float beta_2:float epsilon:float step:int scale:float "
      "clipvalue:float?",
      [](const py::object& params, const py::object& grads, const py::object& momentums, const py::object& velocities,
         const py::object& max_velocities, double learning_rate, double beta_1, double beta_2, double epsilon, long step_number,
         double scale, Clip clipvalue) {
        if (step_number < 1) fail("step", "a number from 1", std::to_string(step_number));
        if (momentums.is_none() || velocities.is_none()) fail("velocities", "arrays for both moments", "None");
        UpdateRule rule = update_rule(Rule::kAdam, learning_rate, scale, clipvalue);
        rule.beta_1 = beta_1;
        rule.beta_2 = beta_2;
        rule.epsilon = epsilon;
        rule.bias_1 = 1 - std::pow(beta_1, double(step_number));
        rule.bias_2 = 1 - std::pow(beta_2, double(step_number));
        step(rule, params, grads, momentums, velocities, max_velocities, "momentums", "velocities", "max_velocities");
      },
      py::arg("params"), py::arg("grads"), py::arg("momentums"), py::arg("velocities"), py::arg("max_velocities") = py::none(),
      py::kw_only(), py::arg("learning_rate"), py::arg("beta_1") = 0.9, py::arg("beta_2") = 0.999, py::arg("epsilon") = 1e-7,
      py::arg("step") = 1, py::arg("scale") = 1.0, py::arg("clipvalue") = py::none());
  define(
      m, "rmsprop",
      "params:sequence grads:sequence velocities:sequence momentums:sequence? averages:sequence? "
      "learning_rate:float rho:float momentum:float epsilon:float scale:float clipvalue:float?",
      [](const py::object& params, const py::object& grads, const py::object& velocities, const py::object& momentums,
         const py::object& averages, double learning_rate, double rho, double momentum, double epsilon, double scale,
         Clip clipvalue) {
        if (velocities.is_none()) fail("velocities", "arrays", "None");
        if (momentum != 0 && momentums.is_none()) fail("momentums", "arrays, as momentum is not 0", "None");
        UpdateRule rule = update_rule(Rule::kRmsprop, learning_rate, scale, clipvalue);
        rule.rho = rho;
        rule.momentum = momentum;
        rule.epsilon = epsilon;
        step(rule, params, grads, velocities, momentum != 0 ? momentums : py::none(), averages, "velocities", "momentums",
             "averages");
      },
      py::arg("params"), py::arg("grads"), py::arg("velocities"), py::arg("momentums") = py::none(),
      py::arg("averages") = py::none(), py::kw_only(), py::arg("learning_rate"), py::arg("rho") = 0.9, py::arg("momentum") = 0.0,
      py::arg("epsilon") = 1e-7, py::arg("scale") = 1.0, py::arg("clipvalue") = py::none());
  define(
      m, "adagrad",
      "params:sequence grads:sequence accumulators:sequence learning_rate:float epsilon:float "
      "scale:float clipvalue:float?",
      [](const py::object& params, const py::object& grads, const py::object& accumulators, double learning_rate, double epsilon,
         double scale, Clip clipvalue) {
        if (accumulators.is_none()) fail("accumulators", "arrays", "None");
        UpdateRule rule = update_rule(Rule::kAdagrad, learning_rate, scale, clipvalue);
        rule.epsilon = epsilon;
        step(rule, params, grads, accumulators, py::none(), py::none(), "accumulators", "", "");
      },
      py::arg("params"), py::arg("grads"), py::arg("accumulators"), py::kw_only(), py::arg("learning_rate"),
      py::arg("epsilon") = 1e-7, py::arg("scale") = 1.0, py::arg("clipvalue") = py::none());
}

}  // namespace seqcore
