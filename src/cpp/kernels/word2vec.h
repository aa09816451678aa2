// word2vec (Mikolov et al. 2013): skip-gram and CBOW with negative sampling or noise-contrastive
// estimation.
//
// A block belongs to one centre word: C rows x (its contexts; with CBOW one, their mean or sum)
// against J rows y (the centre and the noise words, shared by all contexts). Three small products
// whose operands stay in the first-level cache and registers:
//
//   l = x·yᵀ  (C, J)      g = rate (label - σ(l - log_noise))      x += g·y      y += gᵀ·x
//
// Threads share the rows without locks (Recht et al. 2011, "Hogwild!"), or work on shards with rows
// of their own (word2vec_shards.h). Every draw comes from a generator that is seeded by the pass
// and the number of the sentence, so the subsampled words, the windows and the noise are the same
// for any number of threads.
#pragma once

#include "activations.h"

namespace seqcore::SEQCORE_VARIANT {

// Rows y of one block: two rows x against 6 targets are 12 sums of dot products, which with the
// vectors of x and y take 15 of 16 registers. More noise words make more blocks.
constexpr int kMaxTargets = 6;
constexpr int kTargetLanes = 8;  // logits of one context, padded
constexpr int kMaxContexts = 32;  // rows x of one block; wider windows: more blocks
constexpr Index kMaxWords = 10000;  // words of a sentence that are subsampled together
constexpr int64_t kBlocksPerMeasurement = 64;  // one of 64 blocks measures its loss
constexpr Index kCentresPerPoll = 64;  // centre words between interrupt checks

// SplitMix64 (Steele, Lea & Flood 2014).
struct SplitMix64 {
  uint64_t state;

  static SEQCORE_INLINE uint64_t mix(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
  }
  SEQCORE_INLINE uint64_t next() { return mix(state += 0x9E3779B97F4A7C15u); }
};

// The rows y of a block.
struct Targets {
  int count;
  float* row[kMaxTargets];
  // By target, and repeated so that a vector of any width finds its part: the label, the weight (0:
  // masked), and the logarithm of the noise that is subtracted from the logit.
  alignas(64) float label[2 * kTargetLanes], weight[2 * kTargetLanes], log_noise[2 * kTargetLanes];

  SEQCORE_INLINE void set(int j, float* y, float y_label, float y_weight, float y_log_noise) {
    row[j] = y;
    label[j] = label[j + kTargetLanes] = y_label;
    weight[j] = weight[j + kTargetLanes] = y_weight;
    log_noise[j] = log_noise[j + kTargetLanes] = y_log_noise;
  }
};

// l(m, j) = x_m · y_j for M rows x.
template <int M, int J>
SEQCORE_INLINE void dots(const float* const* x, const float* const* y, Index stride, float* l) {
  using P = Wide<float>;
  P sum[M][J];
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < J; ++j) sum[m][j] = set1<P>(0);
  for (Index d = 0; d < stride; d += kLanes<float>) {
    P row[M];
    for (int m = 0; m < M; ++m) row[m] = load<P>(x[m] + d);
    for (int j = 0; j < J; ++j) {
      const P target = load<P>(y[j] + d);
      for (int m = 0; m < M; ++m) sum[m][j] = mul_add(row[m], target, sum[m][j]);
    }
  }
  for (int m = 0; m < M; ++m)
    for (int j = 0; j < J; ++j) l[m * kTargetLanes + j] = ei::predux(sum[m][j]);
}

// x_c += sum_j g(c, j) y_j and y_j += sum_c g(c, j) x_c, both from the rows before the update (a
// row that occurs twice among the x sees its first update). Locked: lock[c] scales the update of
// x_c.
template <int J, bool Locked>
SEQCORE_INLINE void update_rows(float* const* x, int count, float* const* y, Index stride,
                                const float* g, const float* lock) {
  using P = Wide<float>;
  for (Index d = 0; d < stride; d += kLanes<float>) {
    P target[J], change[J];
    for (int j = 0; j < J; ++j) {
      target[j] = load<P>(y[j] + d);
      change[j] = set1<P>(0);
    }
    for (int c = 0; c < count; ++c) {
      const P before = load<P>(x[c] + d);
      P after = before;
      for (int j = 0; j < J; ++j) {
        const P weight = set1<P>(g[c * kTargetLanes + j]);
        after = mul_add(weight, target[j], after);
        change[j] = mul_add(weight, before, change[j]);
      }
      if constexpr (Locked) after = mul_add(set1<P>(lock[c]), after - before, before);
      store(x[c] + d, after);
    }
    // Loaded again: a word may occur twice among the targets.
    for (int j = 0; j < J; ++j) store(y[j] + d, load<P>(y[j] + d) + change[j]);
  }
}

// -log σ(l) of true pairs and -log σ(-l) of noise, summed over the targets that are not masked.
inline double loss_of(const float* l, int count, const Targets& targets) {
  double loss = 0;
  for (int c = 0; c < count; ++c)
    for (int j = 0; j < targets.count; ++j) {
      const double logit = double(l[c * kTargetLanes + j]) - double(targets.log_noise[j]);
      const double wrong = targets.label[j] > 0 ? -logit : logit;  // loss = log(1 + e^wrong)
      if (targets.weight[j] > 0)
        loss += wrong > 0 ? wrong + std::log1p(std::exp(-wrong)) : std::log1p(std::exp(wrong));
    }
  return loss;
}

template <int J>
void train_targets(float* const* x, int count, const Targets& targets, Index stride, float rate,
                   double* loss, const float* lock) {
  using P = Wide<float>;
  alignas(64) float g[kMaxContexts * kTargetLanes + kLanes<float>];
  int c = 0;
  for (; c + 2 <= count; c += 2) dots<2, J>(x + c, targets.row, stride, g + c * kTargetLanes);
  if (c < count) dots<1, J>(x + c, targets.row, stride, g + c * kTargetLanes);
  if (loss) *loss += loss_of(g, count, targets);
  for (int n = 0; n < count * kTargetLanes; n += kLanes<float>) {
    const int at = n % kTargetLanes;
    const P probability = sigmoid(load<P>(g + n) - load<P>(targets.log_noise + at));
    store(g + n, (load<P>(targets.label + at) - probability) * load<P>(targets.weight + at) *
                     set1<P>(rate));
  }
  if (lock) return update_rows<J, true>(x, count, targets.row, stride, g, lock);
  update_rows<J, false>(x, count, targets.row, stride, g, lock);
}

// One block: `count` rows x, at most kMaxContexts, and 1...kMaxTargets targets; `lock`: a factor
// for each row x, or null.
template <int J = kMaxTargets>
void train(float* const* x, int count, const Targets& targets, Index stride, float rate,
           double* loss, const float* lock) {
  if (targets.count == J) return train_targets<J>(x, count, targets, stride, rate, loss, lock);
  if constexpr (J > 1) train<J - 1>(x, count, targets, stride, rate, loss, lock);
}

// The noise and the window of a centre word, drawn one centre ahead so that their rows are
// prefetched.
struct Centre {
  int reach;
  int32_t noise[kMaxNegatives];
};

// The tables themselves: rows that all threads share, without locks.
struct SharedRows {
  float *input, *output;
  Index stride;

  explicit SharedRows(const Word2VecCall& call)
      : input(call.input), output(call.output), stride(call.stride) {}
  // The row of the word at position i of a sentence; of a target; the same, to prefetch them only.
  float* context(Index, int32_t word) const { return input + word * stride; }
  float* target(int32_t word) const { return output + word * stride; }
  const float* next_context(int32_t word) const { return input + word * stride; }
  const float* next_target(int32_t word) const { return output + word * stride; }
};

// The work of one thread, sentence by sentence.
template <class Rows>
struct Word2Vec {
  const Word2VecCall& call;
  Rows table;
  SplitMix64 random{};
  int32_t words[kMaxWords];
  Index count = 0;
  int64_t blocks = 0, pairs = 0, measured_pairs = 0;
  double loss = 0;
  float* sum;  // CBOW: the mean or sum of the contexts, and after it the same before the update

  Word2Vec(const Word2VecCall& c, const Rows& rows, float* scratch)
      : call(c), table(rows), sum(scratch) {}

  float* input(Index i) { return table.context(i, words[i]); }

  SEQCORE_INLINE void prefetch(const float* row) const {
    for (Index d = 0; d < call.stride; d += 16) __builtin_prefetch(row + d, 1, 3);
  }

  // Drops frequent words at random.
  void subsample(Index begin, Index end) {
    count = 0;
    for (Index n = begin; n < end; ++n) {
      const int32_t word = call.words[n];
      if (!call.subsample_threshold ||
          uint32_t(random.next() >> 32) <= call.subsample_threshold[word])
        words[count++] = word;
    }
  }

  void draw_centre(Centre& centre, Index i) {
    if (i >= count) return;
    centre.reach = call.window;
    if (call.shrink) centre.reach -= int((random.next() >> 32) * uint64_t(call.window) >> 32);
    prefetch(table.next_target(words[i]));
    if (i + call.window < count) prefetch(table.next_context(words[i + call.window]));
    for (int k = 0; k < call.negatives; ++k) {
      const uint64_t drawn = random.next();
      const Index at = Index((drawn >> 32) * uint64_t(call.classes) >> 32);
      const AliasSlot slot = call.noise[at];
      const int32_t word = uint32_t(drawn) < slot.threshold ? int32_t(at) : slot.alias;
      centre.noise[k] = word;
      prefetch(table.next_target(word));
    }
  }

  // Trains rows x against the centre word and its noise.
  void train_block(float* const* x, int rows, int32_t word, const Centre& centre, float rate,
                   const float* lock) {
    Targets targets;
    const bool measure = blocks++ % kBlocksPerMeasurement == 0;
    for (int k = -1; k < call.negatives;) {
      targets.count = 0;
      for (; k < call.negatives && targets.count < kMaxTargets; ++k) {
        const int32_t target = k < 0 ? word : centre.noise[k];
        // Noise that happens to be the centre word is masked.
        targets.set(targets.count++, table.target(target), k < 0 ? 1.0f : 0.0f,
                    k >= 0 && target == word ? 0.0f : 1.0f,
                    call.log_noise ? call.log_noise[target] : 0.0f);
      }
      train(x, rows, targets, call.stride, rate, measure ? &loss : nullptr, lock);
    }
    pairs += rows;
    if (measure) measured_pairs += rows;
  }

  void skipgram(Index i, Index begin, Index end, const Centre& centre, float rate) {
    float* x[kMaxContexts];
    float factors[kMaxContexts];
    const float* lock = call.lock ? factors : nullptr;
    int rows = 0;
    for (Index n = begin; n < end; ++n) {
      if (n == i) continue;
      if (lock) factors[rows] = call.lock[words[n]];
      x[rows++] = input(n);
      if (rows < kMaxContexts) continue;
      train_block(x, rows, words[i], centre, rate, lock);
      rows = 0;
    }
    if (rows) train_block(x, rows, words[i], centre, rate, lock);
  }

  void cbow(Index i, Index begin, Index end, const Centre& centre, float rate) {
    using P = Wide<float>;
    const float size = float(end - begin - 1);
    if (end - begin < 2) return;
    float* before = sum + call.stride;
    for (Index d = 0; d < call.stride; d += kLanes<float>) {
      P all = set1<P>(0);
      for (Index n = begin; n < end; ++n)
        if (n != i) all += load<P>(input(n) + d);
      if (call.mean) all /= set1<P>(size);
      store(sum + d, all);
      store(before + d, all);
    }
    float* x[1] = {sum};
    train_block(x, 1, words[i], centre, rate, nullptr);
    call.lock ? update_contexts<true>(i, begin, end) : update_contexts<false>(i, begin, end);
  }

  // CBOW: distributes the update of the mean or sum over its words.
  template <bool Locked>
  void update_contexts(Index i, Index begin, Index end) {
    using P = Wide<float>;
    const float* before = sum + call.stride;
    for (Index d = 0; d < call.stride; d += kLanes<float>) {
      P change = load<P>(sum + d) - load<P>(before + d);
      // The update of a sum is divided among its words; each word of a mean takes all of it, as in
      // the original word2vec.
      if (!call.mean) change /= set1<P>(float(end - begin - 1));
      for (Index n = begin; n < end; ++n) {
        if (n == i) continue;
        const P row = load<P>(input(n) + d);
        if constexpr (Locked)
          store(input(n) + d, mul_add(set1<P>(call.lock[words[n]]), change, row));
        else
          store(input(n) + d, row + change);
      }
    }
  }

  void train_centre(Index i, const Centre& centre, float rate) {
    const Index begin = std::max<Index>(0, i - centre.reach),
                end = std::min(count, i + centre.reach + 1);
    call.cbow ? cbow(i, begin, end, centre, rate) : skipgram(i, begin, end, centre, rate);
  }

  void begin_sentence(Index number) {
    random.state =
        SplitMix64::mix(call.seed ^ SplitMix64::mix(uint64_t(number) + 0x9E3779B97F4A7C15u));
  }

  void sentence(Index number, Index begin, Index end, float rate, const Team& team) {
    begin_sentence(number);
    for (Index from = begin; from < end; from += kMaxWords) {
      subsample(from, std::min(end, from + kMaxWords));
      for (Index i = 0; i < count && i <= call.window; ++i) prefetch(table.next_context(words[i]));
      Centre centres[2];
      draw_centre(centres[0], 0);
      for (Index i = 0; i < count; ++i) {
        if (i % kCentresPerPoll == kCentresPerPoll - 1 && stopped(team)) return;
        draw_centre(centres[(i + 1) & 1], i + 1);
        train_centre(i, centres[i & 1], rate);
      }
    }
  }
};

// The first sentence of the call that begins at `word` of the corpus or after it.
inline Index sentence_at(const Word2VecCall& call, Index word) {
  Index low = call.first, high = call.last;
  while (low < high) {
    const Index middle = (low + high) / 2;
    if (call.sentences[middle] < word)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

// The first sentence of part n of `parts` with about the same number of words.
inline Index part_begin(const Word2VecCall& call, Index n, Index parts) {
  const Index start = call.sentences[call.first], words = call.sentences[call.last] - start;
  return n == parts ? call.last : sentence_at(call, start + words * n / parts);
}

// The learning rate decays along the words of the call.
inline float rate_at(const Word2VecCall& call, Index sentence) {
  const Index start = call.sentences[call.first], words = call.sentences[call.last] - start;
  const double done = double(call.sentences[sentence] - start) / double(std::max<Index>(1, words));
  return float(call.rate_begin + (call.rate_end - call.rate_begin) * done);
}

// Words of a piece of the corpus: some milliseconds of one thread, so that none waits long for
// another at the end. 16 pieces for each thread of a small corpus.
constexpr Index kWordsPerPiece = 16384, kPiecesPerThread = 16;

// Pieces of whole sentences, which threads claim one after the other: one that shares its processor
// with another program takes fewer.
inline void word2vec_shared(const Word2VecCall& call, const Team& team) {
  const Index* offset = call.sentences;
  const Index pieces = std::max(kPiecesPerThread * team.size,
                                (offset[call.last] - offset[call.first]) / kWordsPerPiece);
  alignas(64) float scratch[2 * kMaxVector];
  Word2Vec<SharedRows> work(call, SharedRows(call), scratch);
  for (Index piece;
       (piece = __atomic_fetch_add(call.claimed, Index(1), __ATOMIC_RELAXED)) < pieces;) {
    const Index end = part_begin(call, piece + 1, pieces);
    for (Index s = part_begin(call, piece, pieces); s < end && !stopped(team); ++s)
      work.sentence(s, offset[s], offset[s + 1], rate_at(call, s), team);
  }
  call.loss[team.rank] = work.loss;
  call.measured_pairs[team.rank] = work.measured_pairs;
  call.pairs[team.rank] = work.pairs;
}

}  // namespace seqcore::SEQCORE_VARIANT
