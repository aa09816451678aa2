// Optimizer steps over lists of arrays, each cut into chunks that the threads share.
#include <algorithm>

#include "arguments.h"

namespace seqcore {
namespace {

constexpr Index kChunk = 1 << 16;  // elements; fixed, so that the norm's tree does not depend on the threads

template <class T>
struct Piece {
  T *param, *slot0, *slot1, *slot2;
  const T* grad;
  Index count;
};

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

struct Hyper {
  Rule rule;
  double learning_rate = 0, momentum = 0, beta_1 = 0, beta_2 = 0, rho = 0, epsilon = 0, bias_1 = 1, bias_2 = 1, scale = 1;
  std::optional<double> clipvalue{};
  bool nesterov = false;
};

void step(const Hyper& hyper, const py::object& params, const py::object& grads, const py::object& slot0, const py::object& slot1,
          const py::object& slot2, const char* name0, const char* name1, const char* name2) {
  const auto p = arrays_of("params", params, nullptr);
  const auto g = arrays_of("grads", grads, &p), s0 = arrays_of(name0, slot0, slot0.is_none() ? nullptr : &p),
             s1 = arrays_of(name1, slot1, slot1.is_none() ? nullptr : &p),
             s2 = arrays_of(name2, slot2, slot2.is_none() ? nullptr : &p);
  if (p.empty()) return;
  with_type_of("params", p[0], [&](auto zero) {
    using T = decltype(zero);
    std::vector<Piece<T>> pieces;
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
        pieces.push_back({param + n, a ? a + n : a, b ? b + n : b, c ? c + n : c, grad + n, std::min(kChunk, count - n)});
    }
    UpdateCall<T> call{};
    call.rule = hyper.rule;
    call.scale = hyper.scale;
    call.clip = hyper.clipvalue.has_value();
    call.clipvalue = hyper.clipvalue.value_or(0);
    call.learning_rate = hyper.learning_rate;
    call.momentum = hyper.momentum;
    call.beta_1 = hyper.beta_1;
    call.beta_2 = hyper.beta_2;
    call.rho = hyper.rho;
    call.epsilon = hyper.epsilon;
    call.bias_1 = hyper.bias_1;
    call.bias_2 = hyper.bias_2;
    call.nesterov = hyper.nesterov;
    // Not interruptible: an update is done whole or not at all.
    const py::gil_scoped_release release;
    run(threads_for(10.0 * double(total)), [&](const Team& team) {
      const size_t count = pieces.size(), size = size_t(team.size), rank = size_t(team.rank);
      UpdateCall<T> part = call;
      for (size_t i = count * rank / size; i < count * (rank + 1) / size; ++i) {
        const Piece<T>& piece = pieces[i];
        part.param = piece.param;
        part.grad = piece.grad;
        part.slot0 = piece.slot0;
        part.slot1 = piece.slot1;
        part.slot2 = piece.slot2;
        part.count = piece.count;
        kernels<T>().update(part);
      }
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
        for (Index n = chunks * team.rank / team.size; n < chunks * (team.rank + 1) / team.size; ++n)
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

// The columns of a matrix: of a few of its rows at a time, so that along each the addresses rise.
template <class T>
void sgd_columns(const Slices<T>& slices, const UpdateCall<T>& call, Index begin, Index end) {
  constexpr Index kTogether = 16;
  UpdateCall<T> part = call;
  for (Index k0 = begin; k0 < end; k0 += kTogether) {
    const Index count = std::min(kTogether, end - k0);
    T gathered[kTogether];
    part.param = gathered;
    part.count = count;
    for (Index n = 0; n < slices.count; ++n) {
      T* column = slices.param + k0 * slices.stride + slices.at[n];
      for (Index k = 0; k < count; ++k) gathered[k] = column[k * slices.stride];
      part.grad = slices.grad + n * slices.width + k0;
      kernels<T>().update(part);
      for (Index k = 0; k < count; ++k) column[k * slices.stride] = gathered[k];
    }
  }
}

// All arrays are checked before the first is changed.
void sgd_slices(const py::object& params, const py::object& values, const py::object& indices, double learning_rate, double scale,
                std::optional<double> clipvalue, const py::object& columns) {
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
    UpdateCall<T> call{};
    call.rule = Rule::kSgd;
    call.learning_rate = learning_rate;
    call.scale = scale;
    call.clip = clipvalue.has_value();
    call.clipvalue = clipvalue.value_or(0);
    // Not interruptible: an update is done whole or not at all.
    const py::gil_scoped_release release;
    run(threads_for(4.0 * double(total)), [&](const Team& team) {
      UpdateCall<T> part = call;
      for (const Slices<T>& one : all) {
        const Index lines = one.columns ? (one.width + 15) / 16 : one.count;
        const Index begin = lines * team.rank / team.size, end = lines * (team.rank + 1) / team.size;
        if (one.columns) {
          sgd_columns(one, call, begin * 16, std::min(end * 16, one.width));
          continue;
        }
        part.count = one.width;
        for (Index n = begin; n < end; ++n) {
          part.param = one.param + one.at[n] * one.width;
          part.grad = one.grad + n * one.width;
          kernels<T>().update(part);
        }
      }
    });
  });
}

}  // namespace

void bind_optimizer(py::module_& m) {
  using Clip = std::optional<double>;
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
        Hyper hyper{Rule::kSgd};
        hyper.learning_rate = learning_rate;
        hyper.momentum = momentum;
        hyper.nesterov = nesterov;
        hyper.scale = scale;
        hyper.clipvalue = clipvalue;
        if (momentum != 0 && velocities.is_none()) fail("velocities", "arrays, as momentum is not 0", "None");
        step(hyper, params, grads, momentum != 0 ? velocities : py::none(), py::none(), py::none(), "velocities", "", "");
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
        Hyper hyper{Rule::kAdam};
        hyper.learning_rate = learning_rate;
        hyper.beta_1 = beta_1;
        hyper.beta_2 = beta_2;
        hyper.epsilon = epsilon;
        hyper.bias_1 = 1 - std::pow(beta_1, double(step_number));
        hyper.bias_2 = 1 - std::pow(beta_2, double(step_number));
        hyper.scale = scale;
        hyper.clipvalue = clipvalue;
        step(hyper, params, grads, momentums, velocities, max_velocities, "momentums", "velocities", "max_velocities");
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
        Hyper hyper{Rule::kRmsprop};
        hyper.learning_rate = learning_rate;
        hyper.rho = rho;
        hyper.momentum = momentum;
        hyper.epsilon = epsilon;
        hyper.scale = scale;
        hyper.clipvalue = clipvalue;
        step(hyper, params, grads, velocities, momentum != 0 ? momentums : py::none(), averages, "velocities", "momentums",
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
        Hyper hyper{Rule::kAdagrad};
        hyper.learning_rate = learning_rate;
        hyper.epsilon = epsilon;
        hyper.scale = scale;
        hyper.clipvalue = clipvalue;
        step(hyper, params, grads, accumulators, py::none(), py::none(), "accumulators", "", "");
      },
      py::arg("params"), py::arg("grads"), py::arg("accumulators"), py::kw_only(), py::arg("learning_rate"),
      py::arg("epsilon") = 1e-7, py::arg("scale") = 1.0, py::arg("clipvalue") = py::none());
}

}  // namespace seqcore
