// The one translation unit of an instruction set: fills its table.
#include "cells/context.h"
#include "linear_softmax.h"
#include "optimizer.h"
#include "recurrent_backward.h"
#include "recurrent_forward.h"
#include "sampled_loss.h"
#include "word2vec_shards.h"

namespace seqcore::SEQCORE_VARIANT {

template <class T>
void sizes_of(const RecurrentCall<T>& call, RecurrentSizes& sizes) {
  with_cell(call, [&](auto cell, auto) { recurrent_sizes<T, decltype(cell)::value>(call, sizes); });
}
template <class T>
void forward_of(const RecurrentCall<T>& call, const Team& team) {
  with_cell(call, [&](auto cell, auto act) {
    recurrent_forward<T, decltype(cell)::value>(call, act, team);
  });
}
template <class T>
void backward_of(const RecurrentCall<T>& call, const Team& team) {
  with_cell(call, [&](auto cell, auto act) {
    recurrent_backward<T, decltype(cell)::value>(call, act, team);
  });
}
// Packs the weights of later calls with `packed` set, by one thread.
template <class T>
void pack_of(const RecurrentCall<T>& call, const Team& team) {
  with_cell(call, [&](auto cell, auto) {
    pack_forward(Layout<T, decltype(cell)::value>(call, 0, team), team);
  });
}
template <class T>
void pack_dense_of(const DenseCall<T>& call, const Team& team) {
  pack_dense(call.use_bf16, call.kernel, call.bias, call.inputs, call.outputs, call.scratch_pack,
             team);
}

// The peak of multiply-adds: independent accumulators in registers, no memory traffic. Two per
// cycle with a latency of 4 need 8 chains; 12 leave some slack and fit 16 registers.
template <class T>
double peak_flops(Index repeats) {
  using P = Wide<T>;
  constexpr int kChains = 12;
  P sums[kChains];
  for (int i = 0; i < kChains; ++i) sums[i] = set1<P>(T(0.1) * T(i));
  const P factor = set1<P>(T(0.999)), term = set1<P>(T(0.001));
  for (Index n = 0; n < repeats; ++n) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) sums[i] = mul_add(sums[i], factor, term);
    asm volatile("");  // keeps the loop from being simplified away
  }
  P total = sums[0];
  for (int i = 1; i < kChains; ++i) total += sums[i];
  volatile T result = ei::pfirst(total);
  (void)result;
  return 2.0 * kChains * kLanes<T> * double(repeats);
}

template <class T>
constexpr Kernels<T> kernels() {
  return {kLanes<T>,         sizes_of<T>,           forward_of<T>,       backward_of<T>,
          pack_of<T>,        context_forward<T>,    context_backward<T>, dense_sizes<T>,
          pack_dense_of<T>,  dense_forward<T>,      dense_backward<T>,   linear_softmax_sizes<T>,
          linear_softmax<T>, sampled_loss_sizes<T>, sampled_loss<T>,     log_uniform_corrections<T>,
          softmax<T>,        sum_squares<T>,        update<T>,           activate<T>,
          peak_flops<T>};
}

#define SEQCORE_TEXT2(x) #x
#define SEQCORE_TEXT(x) SEQCORE_TEXT2(x)
extern const Table table;
const Table table = {SEQCORE_TEXT(SEQCORE_ISA), kHasBf16<float>, kernels<float>(),
                     kernels<double>(),         word2vec,        word2vec_scratch};

}  // namespace seqcore::SEQCORE_VARIANT
