// The boundary between the kernels, compiled once per instruction set, and the rest: plain structs
// and function pointers.
//
// Letters: B batch, S time steps, D input features, H units, R rows (time steps of all sequences
// together), K and N the input and output columns of a product, V classes. "Packed" weights have
// the panels and the column order of tile.h. Processing order: sequences by length, longest first,
// and time steps as the cell sees them, last to first in the reverse direction.
#pragma once

#include <cstdint>

#include "team.h"

namespace seqcore {

enum class Cell : int { kRnn, kLstm, kGru, kGruResetBefore };
// The order of recurrent weights. kKeras: (D, G·H) and (H, G·H), the GRU's gates z r n. kTorch:
// their transposes, the GRU's gates r z n.
enum class WeightLayout : int { kKeras, kTorch };
enum class Activation : int { kLinear, kTanh, kRelu, kSigmoid, kHardSigmoid, kSoftmax };

constexpr int kMaxDirections = 2;

// The rows of a batch in processing order: row (s, j) is step s of the j-th longest sequence. At
// step s the rows j < active[s] are active; a padded step has no row.
struct PackedBatch {
  Index sequences, steps, rows;
  const int32_t* order;    // (B) sequence number of the j-th longest
  const int32_t* lengths;  // (B) by sequence number
  const int32_t* active;   // (S + 1) number of active sequences, ending with 0
  const Index* offset;     // (S + 1) first row of step s
  const uint8_t* mask;     // (B, S) or null: 0 where the step repeats the state
  // (B) with a mask: first step in processing order that is not masked, for one direction.
  const int32_t* first_valid;
};

// Row of saved_h and saved_c (when all steps are kept) that holds the state after step s; s = -1:
// the initial state.
SEQCORE_INLINE Index state_row(const PackedBatch& batch, Index s, Index j) {
  return s < 0 ? j : batch.sequences + batch.offset[s] + j;
}

// A (B, S, features) array with contiguous features.
template <class T>
struct Sequence {
  T* data;
  Index batch_stride, step_stride;
};

// Sizes in elements that depend on the instruction set.
struct RecurrentSizes {
  Index gate_stride, state_stride;    // from row to row: of gates; of c, dc and dh
  Index forward_pack, backward_pack;  // packed weights of one direction
  Index thread_scratch;  // of each thread; a forward call needs it with use_bf16 or input_dropout
  Index chunk_rows;  // rows of gates of each thread where a forward call keeps none
};

template <class T>
struct RecurrentDirection {
  PackedBatch batch;
  int reverse;
  Index y_column;  // first column of this direction in y and dy
  const T *kernel, *recurrent, *bias, *h0, *c0;
  const T* recurrent_bias;  // of the reset-after GRU: added to h_{t-1}·U; else null
  const T *input_dropout, *state_dropout;  // (B, D), (B, H) dropout masks of x and h, or null
  T *h_last, *c_last;
  T *saved_gates, *saved_recurrent, *saved_c, *saved_h, *saved_reset_h;
  T* saved_dropped_h;  // (R, H) with state_dropout: h_{t-1} times the mask; else null
  T* scratch_pack;
  // Backward pass.
  const T *dh_last, *dc_last;
  T *dh0, *dc0, *dkernel, *drecurrent, *dbias, *drecurrent_bias;
  T* scratch_state;
  T* step_gradients;  // (R, H) or null
};

template <class T>
struct RecurrentCall {
  Cell cell;
  Activation activation, recurrent_activation;
  Index batch, steps, features, units;
  int directions;
  WeightLayout layout;  // of the weights and their gradients
  int use_bf16;  // products of bfloat16 pairs, where the instruction set has them
  int keep_gates;  // forward: the gates of all steps are kept
  int packed;  // forward: scratch_pack is filled already
  int in_place;  // few_rows() without packed weights: they are read where they lie
  int descending;  // forward: even steps, not odd ones, take the panels from the last to the first
  int y_is_h;  // y is a view of saved_h
  int return_sequences;
  int processing_order;  // time steps of y in processing order; else as in x
  // x, y and their gradients have no padded steps: step t of the j-th longest sequence is row
  // offset[t] + j (PyTorch's PackedSequence). Both strides are those of the rows.
  int unpadded;
  int zero_masked;  // masked steps give y = 0; else the output of the step before
  Sequence<const T> x;
  Sequence<T> y;  // return_sequences: (B, S, directions · H); else step_stride 0
  Sequence<const T> dy;
  Sequence<T> dx;
  // The time loop: parts of the sequences (of each direction) times parts of the units. More than
  // one part of the units takes a barrier per step.
  Grid loop{1, 1};
  int shares_products;  // all threads share the products with W and their backward passes
  RecurrentDirection<T> direction[kMaxDirections];
  T* scratch_thread;  // thread_scratch elements of each thread; null: none needed

  // So few rows that packing the weights takes longer than their products: an LSTM of 650 units
  // takes 5.9 ms instead of 10.5 for 3 steps of a sequence, forward and backward. A pass takes 4
  // rows (kRowsInPlace).
  bool few_rows() const {
    return batch <= 4 && steps <= 3 && layout == WeightLayout::kKeras && !use_bf16 &&
           cell != Cell::kGruResetBefore;
  }
  bool drops_inputs() const { return direction[0].input_dropout || direction[1].input_dropout; }
};

template <class T>
struct ContextScan {
  PackedBatch batch;
  int reverse;
  Index columns;
  double alpha;
  Sequence<const T> z;  // forward: z; backward: ds
  const T* initial;  // forward: initial s; backward: gradient of the last s; or null
  Sequence<T> s;  // forward: s; backward: dz
  T* last;  // forward: last s; backward: gradient of the initial s
};

template <class T>
struct DenseCall {
  Index rows, inputs, outputs;
  Activation activation;
  int use_bf16;  // as in RecurrentCall
  int packed;  // forward: scratch_pack is filled already
  const T *x, *kernel, *bias;
  T* y;
  const T* dy;
  T *dx, *dkernel, *dbias;  // null: not wanted
  T *scratch_pack, *scratch_rows, *scratch_thread;
};
struct DenseSizes {
  Index pack, rows, thread;  // rows: of the gradient before the activation
};

template <class T>
struct LinearSoftmaxCall {
  Index rows, inputs, classes;
  int use_bf16;  // as in RecurrentCall
  const T *x, *kernel, *bias, *weights;
  const int32_t* targets;
  T* losses;
  uint8_t* correct;
  T *dx, *dkernel, *dbias;  // null: not wanted
  T *scratch_pack, *scratch_logits, *scratch_rows, *scratch_thread;
};
struct LinearSoftmaxSizes {
  Index pack, logits, rows, thread;
};

// A loss over the true classes of each row and S sampled classes that all rows share.
template <class T>
struct SampledLossCall {
  Index rows, inputs, true_classes, samples;
  int softmax;  // over true and sampled classes together; else a logistic loss for each
  int by_columns;  // weights are (K, V); else (V, K)
  Index stride;  // from row to row of the weights
  int remove_hits;  // mask sampled classes of a row that are among its true classes
  T target;  // label of each true class
  const T *x, *weights, *biases;  // biases: (V) or null
  const int32_t* ids;  // (R·true_classes + S) true classes row by row, then the sampled ones
  const T* corrections;  // like ids, or null: subtracted from the logits
  const T* row_weights;  // (R) or null: gradient of each loss
  T weight;  // where row_weights is null
  T* losses;
  int gradients;
  T* dx;  // null: not wanted
  Index used;  // unique classes among the ids
  const int32_t *order, *starts;  // positions in ids of class u in order[starts[u]...starts[u + 1])
  T *dweights, *dbiases;  // (used, K), (used); null: not wanted
  T *scratch, *scratch_thread;
};
struct SampledLossSizes {
  Index all, thread;
};

enum class Rule : int { kSgd, kAdam, kRmsprop, kAdagrad };

// The parameters of an update, the same for each element.
struct UpdateRule {
  Rule rule;
  double learning_rate, scale, clipvalue, momentum, beta_1, beta_2, rho, epsilon, bias_1, bias_2;
  int clip, nesterov;
};
// One piece of an update: `count` elements of a parameter with its gradient and slots.
template <class T>
struct UpdatePiece {
  T* param;
  const T* grad;
  T *slot0, *slot1, *slot2;
  Index count;
};

template <class T>
struct Kernels {
  int lanes;  // elements of a vector register
  void (*recurrent_sizes)(const RecurrentCall<T>&, RecurrentSizes&);
  void (*recurrent_forward)(const RecurrentCall<T>&, const Team&);
  void (*recurrent_backward)(const RecurrentCall<T>&, const Team&);
  void (*recurrent_pack)(const RecurrentCall<T>&, const Team&);  // direction 0 only
  void (*context_forward)(const ContextScan<T>&, const Team&);
  void (*context_backward)(const ContextScan<T>&, const Team&);
  void (*dense_sizes)(const DenseCall<T>&, DenseSizes&);
  void (*dense_pack)(const DenseCall<T>&, const Team&);
  void (*dense_forward)(const DenseCall<T>&, const Team&);
  void (*dense_backward)(const DenseCall<T>&, const Team&);
  void (*linear_softmax_sizes)(const LinearSoftmaxCall<T>&, LinearSoftmaxSizes&);
  void (*linear_softmax)(const LinearSoftmaxCall<T>&, const Team&);
  void (*sampled_loss_sizes)(const SampledLossCall<T>&, SampledLossSizes&);
  void (*sampled_loss)(const SampledLossCall<T>&, const Team&);
  void (*log_uniform_corrections)(const int32_t* ids, Index count, Index classes, double tries,
                                  T* to);
  void (*softmax)(T* x, Index rows, Index columns, const Team&);
  double (*sum_squares)(const T* x, Index count);
  void (*update)(const UpdateRule&, const UpdatePiece<T>&);
  void (*activate)(T* x, Index count, Activation);
  double (*peak_flops)(Index repeats);  // runs the multiply-add loop; returns its operations
};

// One place of an alias table (seqcore::AliasTable).
struct AliasSlot {
  uint32_t threshold;  // of 2^32: a draw below it gives the slot's own number
  int32_t alias;
};

constexpr Index kMaxVector = 4096;  // dimensions of a word vector, padding included
constexpr int kMaxNegatives = 64;  // noise words per centre word

// Word2vec over some sentences. Rows of `input` and `output` are `stride` apart, a multiple of 16,
// zero past `size`; threads share both without locks.
struct Word2VecCall {
  const int32_t* words;  // ids of the corpus, sentence after sentence
  const Index* sentences;  // offsets into `words`, one more than there are sentences
  Index first, last;  // sentences of this call
  Index size, stride, classes;
  float *input, *output;  // (V, stride)
  // (V) a word stays where a draw of 32 bits is at most this; null: all stay
  const uint32_t* subsample_threshold;
  const AliasSlot* noise;  // (V) the distribution of the noise words
  const float* log_noise;  // (V) subtracted from the logits of a word (NCE), or null
  const float* lock;  // (V) factors of the updates of word vectors, 0: frozen; null: all 1
  int window, negatives, shrink, cbow, mean;
  double rate_begin, rate_end;  // learning rate at the first and after the last word of the call
  uint64_t seed;  // of this pass over the corpus
  Index* claimed;  // two counters of work that threads have claimed, 0 at the start
  int deterministic;  // shards with rows of their own: the result is the same for any team
  void* scratch;  // deterministic: word2vec_scratch bytes, aligned to 64
  // Per thread, or per shard: the loss summed over the measured pairs, their number, and that of
  // all trained pairs (CBOW: centre words).
  double* loss;
  int64_t *measured_pairs, *pairs;
};
// Shards of a deterministic call: they, not the threads, decide its result. One shard alone copies
// nothing. With at least 4096, 8192, 16384 words each a text of 60,000 words (461 different ones,
// CBOW) ends with a loss 6, 3, 1 % above one thread's.
constexpr int kMaxShards = 16;
constexpr Index kWordsPerShard = 8192;
SEQCORE_INLINE int word2vec_shards_of(const Word2VecCall& call) {
  const Index most = (call.sentences[call.last] - call.sentences[call.first]) / kWordsPerShard;
  return most < 1 ? 1 : most < kMaxShards ? int(most) : kMaxShards;
}

struct Table {
  const char* name;
  int bfloat16;  // whether calls may `use_bf16`
  Kernels<float> f32;
  Kernels<double> f64;
  void (*word2vec)(const Word2VecCall&, const Team&);
  Index (*word2vec_scratch)(const Word2VecCall&);
};

}  // namespace seqcore
