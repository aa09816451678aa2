// Recurrent layers over whole sequences.
#include "recurrent_backward.h"

namespace seqcore {
namespace {

std::shared_ptr<PackedWeights> make_packed_weights() { return std::make_shared<PackedWeights>(); }

py::tuple recurrent_forward(Cell cell, const Array& x, const Items& weights, bool sequences,
                            bool save, bool states, PackedWeights* packed,
                            const OptionalItems& initial,
                            const std::optional<std::vector<bool>>& reverse,
                            const OptionalArray& lengths, const OptionalArray& mask,
                            const OptionalItems& input_dropout, const OptionalItems& state_dropout,
                            Activation activation, Activation recurrent_activation,
                            bool processing_order, bool zero_masked, bool mixed,
                            WeightLayout layout, const OptionalArray& batch_sizes,
                            const OptionalArray& reserve, bool restore, bool own_y) {
  static const std::vector<bool> kForwards{false};
  const ForwardArguments given{cell,
                               x,
                               weights,
                               sequences,
                               save,
                               initial,
                               reverse ? *reverse : kForwards,
                               lengths,
                               mask,
                               input_dropout,
                               state_dropout,
                               activation,
                               recurrent_activation,
                               processing_order,
                               zero_masked,
                               mixed,
                               layout,
                               batch_sizes,
                               reserve,
                               own_y};
  if (restore && !reserve) fail("reserve", "an array to restore from", "None");
  return with_type_of(x, [&](auto zero) {
    auto layer = std::make_shared<RecurrentForward<decltype(zero)>>(given);
    const py::tuple result = restore ? layer->restore() : layer->forward(packed, states);
    const py::object saved = save && restore == bool(reserve)
                                 ? make_object(std::static_pointer_cast<SavedForward>(layer))
                                 : py::none();
    return py::make_tuple(result[0], result[1], saved);
  });
}

py::tuple recurrent_backward(SavedForward& saved, const OptionalArray& dy,
                             const OptionalItems& dstates, bool need_dx, bool need_weights,
                             bool need_initial, bool step_gradients, const OptionalItems& out) {
  return saved.backward({dy, dstates, need_dx, need_weights, need_initial, step_gradients, out});
}

Index reserve_columns_of(Cell cell, Index units, int directions, bool own_y, DType dtype) {
  require_range("units", units, 1, kMaxSize);
  require_range("directions", directions, 1, kMaxDirections);
  return with_dtype(dtype, [&](auto zero) {
    using T = decltype(zero);
    RecurrentCall<T> call{};
    call.cell = cell;
    call.units = units;
    RecurrentSizes sizes;
    kernels<T>().recurrent_sizes(call, sizes);
    return reserve_columns<T>(cell, units, directions, own_y, sizes);
  });
}

py::object new_reserve(Index size, DType dtype) {
  require_range("size", size, 1, INT64_MAX);
  return with_dtype(dtype, [&](auto zero) {
    require_memory(sizeof(zero) * size_t(product<decltype(zero)>({size})));
    return new_array<decltype(zero)>({size});
  });
}

// Elements of a vector register: as given, or of the instruction set in use.
int lanes_of(DType dtype, std::optional<Index> given) {
  if (given) require_range("lanes", *given, 1, 64);
  return int(
      given.value_or(dtype == DType::kFloat32 ? kernels<float>().lanes : kernels<double>().lanes));
}

py::dict plan_threads_of(Cell cell, Index batch, Index rows, Index features, Index units,
                         int directions, DType dtype, bool save, int threads, int busy,
                         std::optional<Index> lanes) {
  constexpr const char* kReasons[] = {
      "every thread has a part of the time loop",
      "waking more threads would cost more than they save",
      "other programs have the processors",
      "a step has too little work for each barrier, and there are no more sequences",
      "more threads would not leave the busiest one with less",
      "the sequences do not divide evenly, and barriers would cost more than even parts save",
  };
  for (const auto& [name, value] : {std::pair("batch", batch), {"rows", rows}, {"units", units}})
    require_range(name, value, 1, kMaxSize);
  require_range("features", features, 1, kMaxSize);
  require_range("directions", directions, 1, kMaxDirections);
  require_range("threads", threads, 1, kMaxThreads);
  require_range("busy", busy, 0, kMaxThreads);
  const Index item_size = dtype == DType::kFloat32 ? sizeof(float) : sizeof(double);
  const ThreadPlan plan = plan_threads(
      {cell, directions, batch, rows, features, units, item_size, save, lanes_of(dtype, lanes)},
      {threads, busy});
  py::dict result;
  result["threads"] = plan.threads;
  result["loop"] = py::make_tuple(plan.loop.row_parts, plan.loop.column_parts);
  result["barriers_per_step"] = plan.barriers_per_step();
  result["shares_products"] = plan.shares_products;
  result["reason"] = kReasons[int(plan.reason)];
  return result;
}

// The grid that `divide` gives to `count` rows, or columns of x, and the vectors of the gates.
template <class Divide>
py::tuple plan_grid(const char* name, Index count, Index units, int gates, int threads, DType dtype,
                    std::optional<Index> lanes, Divide divide) {
  require_range(name, count, 1, kMaxSize);
  require_range("units", units, 1, kMaxSize);
  require_range("gates", gates, 1, 4);
  require_range("threads", threads, 1, kMaxThreads);
  const Index item_size = dtype == DType::kFloat32 ? sizeof(float) : sizeof(double);
  const Grid grid = divide(gate_vectors(gates, units, lanes_of(dtype, lanes), item_size));
  return py::make_tuple(grid.row_parts, grid.column_parts);
}

py::tuple plan_gradients(Index columns, Index units, int gates, int threads, DType dtype,
                         std::optional<Index> lanes) {
  return plan_grid("columns", columns, units, gates, threads, dtype, lanes, [&](Index vectors) {
    return gradient_grid(columns, vectors, gates == 3 ? 3 : 4, threads);
  });
}

py::tuple plan_product(Index rows, Index units, int gates, int threads, DType dtype,
                       std::optional<Index> lanes) {
  return plan_grid("rows", rows, units, gates, threads, dtype, lanes,
                   [&](Index vectors) { return product_grid(rows, vectors, gates, threads); });
}

}  // namespace

void bind_recurrent(py::module_& m) {
  Class<SavedForward>(m, "SavedForward").property<&SavedForward::nbytes>("nbytes");
  Class<PackedWeights, &make_packed_weights>(m, "PackedWeights()")
      .method<&PackedWeights::reduce>("__reduce__()");
  // Looking for arguments by name costs time; what every call of a layer gives comes first, by
  // position.
  define<&recurrent_forward>(
      m,
      "recurrent_forward(cell, x, weights, sequences=True, save=True, states=True, packed=None, *, "
      "initial=None, reverse=None, lengths=None, mask=None, input_dropout=None, "
      "state_dropout=None, "
      "activation='tanh', recurrent_activation='sigmoid', processing_order=False, "
      "zero_masked=False, "
      "mixed=False, layout='keras', batch_sizes=None, reserve=None, restore=False, own_y=False)");
  define<&reserve_columns_of>(
      m, "reserve_columns(cell, units, directions=1, own_y=True, dtype='float32')");
  define<&new_reserve>(m, "new_reserve(size, dtype='float32')");
  define<&recurrent_backward>(m,
                              "recurrent_backward(saved, dy, dstates=None, need_dx=True, "
                              "need_weights=True, need_initial=True, "
                              "step_gradients=False, out=None)");
  define<&plan_threads_of>(
      m,
      "plan_threads(cell, batch, rows, features, units, *, directions=1, dtype='float32', "
      "save=True, threads, busy=0, lanes=None)");
  define<&plan_product>(
      m, "plan_product(rows, units, gates=1, *, threads, dtype='float32', lanes=None)");
  define<&plan_gradients>(
      m, "plan_gradients(columns, units, gates=1, *, threads, dtype='float32', lanes=None)");
}

}  // namespace seqcore
