// word2vec with the same result for any number of threads.
//
// The sentences of a call are divided into shards. In a turn each shard trains on its next
// kCentresPerTurn centre words, with copies of the rows that it meets; none sees what another one
// changes. Then the copies are merged, row by row in the order of the shards:
//
//   row += w · Σ_s (copy_s - row)        w = f(Σ_s n_s) / Σ_s f(n_s)        f(n) = n / (1 + h·n)
//
// n_s: how often shard s met the row. The sum of few steps (w = 1) is what one thread would take;
// the sum of many goes too far, since each shard alone moves the row to where its loss is least: w
// falls towards that of their mean.
#pragma once

#include <cstddef>

#include "word2vec.h"

namespace seqcore::SEQCORE_VARIANT {

// Fewer need more barriers, more see older rows: of Wikipedia text, 1.7 million words, one pass,
// the loss is 2.872, 2.881, 2.922 with 32, 64, 256 (one thread: 2.801). 16, 32 and 64 are equally
// fast on one thread, 256 a quarter slower: the copies leave the cache.
constexpr Index kCentresPerTurn = 32;
// h is this times the learning rate. With 2 the CBOW loss above is 7 instead of 3 % higher; the sum
// of all steps (0) and their mean (infinity) are worse on a whole pass over Wikipedia text, with
// losses of 2.430 and 2.439 against 2.420.
constexpr float kDamping = 0.5f;
constexpr int kBuckets = 16;  // parts of a table; one thread merges each

// The copies that one shard has of the rows of one table.
struct PrivateRows {
  struct Place {
    int32_t word, copy;  // copy: -1 if the place is free
  };
  struct Copy {
    int32_t word, copy, times;  // times: that it was asked for
  };
  const float* table;
  Index stride;
  int bits;  // of the number of places
  Place* places;  // by word, with open addressing
  Copy *copies, *sorted;  // in the order they were made; by bucket
  float* rows;
  int32_t count, bucket_end[kBuckets];

  static int bits_for(Index capacity) {
    int bits = 6;
    while (Index(1) << bits < 2 * capacity) ++bits;
    return bits;
  }
  // 16 neighbours share a bucket, so that their weights share no cache line with another one's.
  static int bucket_of(int32_t word) { return (word >> 4) % kBuckets; }

  void clear() {
    count = 0;
    for (Index n = 0; n < Index(1) << bits; ++n) places[n].copy = -1;
  }
  float* row(int32_t copy) const { return rows + copy * stride; }
  // The copy of a word's row, made if there is none yet.
  SEQCORE_INLINE int32_t copy_of(int32_t word) {
    using P = Wide<float>;
    Index at = Index(uint32_t(word) * 0x9E3779B1u >> (32 - bits));
    for (; places[at].copy >= 0; at = (at + 1) & ((Index(1) << bits) - 1))
      if (places[at].word == word) return ++copies[places[at].copy].times, places[at].copy;
    places[at] = {word, count};
    copies[count] = {word, count, 1};
    const float* from = table + word * stride;
    for (Index d = 0; d < stride; d += kLanes<float>) store(row(count) + d, load<P>(from + d));
    return count++;
  }
  void sort() {
    int32_t end[kBuckets] = {};
    for (int32_t n = 0; n < count; ++n) ++end[bucket_of(copies[n].word)];
    for (int b = 1; b < kBuckets; ++b) end[b] += end[b - 1];
    for (int b = 0; b < kBuckets; ++b) bucket_end[b] = end[b];
    for (int32_t n = count; n-- > 0;) sorted[--end[bucket_of(copies[n].word)]] = copies[n];
  }
};

// The rows of one shard.
struct ShardRows {
  PrivateRows input, output;
  int32_t* context_copy;  // by position in the sentence; -1: none yet

  SEQCORE_INLINE float* context(Index i, int32_t word) {
    if (context_copy[i] < 0) context_copy[i] = input.copy_of(word);
    return input.row(context_copy[i]);
  }
  float* target(int32_t word) { return output.row(output.copy_of(word)); }
  const float* next_context(int32_t word) const { return input.table + word * input.stride; }
  const float* next_target(int32_t word) const { return output.table + word * output.stride; }
};

// A part of the sentences of a call, and how far it is trained.
struct Shard {
  Word2Vec<ShardRows> work;
  Index sentence, last,
      from = 0;  // sentences left; where in the first of them the next words begin
  Index centre = 0;  // the next one of the words in `work`
  float rate = 0;
  Centre centres[2];
  int32_t context_copy[kMaxWords];

  static void* operator new(std::size_t, void* at) { return at; }
  static void operator delete(void*, void*) {}

  Shard(const Word2VecCall& call, ShardRows rows, Index begin, Index end)
      : work(call, rows, nullptr), sentence(begin), last(end) {
    work.table.context_copy = context_copy;
  }

  bool done() const { return sentence == last; }

  // Draws the next words; false if there are none.
  bool next_words() {
    const Index* offset = work.call.sentences;
    for (; sentence < last; ++sentence, from = 0) {
      if (!from) {
        from = offset[sentence];
        work.begin_sentence(sentence);
        rate = rate_at(work.call, sentence);
      }
      while (from < offset[sentence + 1]) {
        const Index end = std::min(offset[sentence + 1], from + kMaxWords);
        work.subsample(from, end);
        from = end;
        centre = 0;
        if (!work.count) continue;
        forget_contexts();
        work.draw_centre(centres[0], 0);
        return true;
      }
    }
    return false;
  }

  // Trains on some centre words, with new copies.
  void turn(float* sum, const Team& team) {
    work.sum = sum;
    work.table.input.clear();
    work.table.output.clear();
    forget_contexts();
    if (stopped(team)) return;
    for (Index left = kCentresPerTurn; left > 0; --left) {
      if (centre == work.count && !next_words()) break;
      work.draw_centre(centres[(centre + 1) & 1], centre + 1);
      work.train_centre(centre, centres[centre & 1], rate);
      ++centre;
    }
    work.table.input.sort();
    work.table.output.sort();
  }

  void forget_contexts() {
    const Index window = work.call.window, end = centre + kCentresPerTurn + window;
    for (Index n = std::max<Index>(0, centre - window); n < std::min(work.count, end); ++n)
      context_copy[n] = -1;
  }
};

// What the shards have changed of one row, while it is merged; all 0 before and after.
struct Changes {
  int32_t shards;  // that are still to come
  float times, weight;  // Σ n_s; Σ f(n_s), then w
  const float* before;  // the row as it was
};

struct ShardPlan {
  int shards;
  Index input_rows, output_rows;  // of the copies of one shard

  explicit ShardPlan(const Word2VecCall& call) {
    shards = word2vec_shards_of(call);
    input_rows = std::min<Index>(call.classes, kCentresPerTurn + 2 * Index(call.window) + 1);
    output_rows = std::min<Index>(call.classes, kCentresPerTurn * (1 + Index(call.negatives)));
  }
};

// Arrays one after the other, each from a cache line on.
struct ScratchArrays {
  char* base;
  Index used = 0;
  template <class T>
  T* take(Index count) {
    T* array = reinterpret_cast<T*>(base + used);
    used += (count * Index(sizeof(T)) + 63) / 64 * 64;
    return array;
  }
};

struct ShardScratch {
  Shard* shards[kMaxShards];
  Changes *input, *output;  // (V)

  static PrivateRows rows_of(ScratchArrays& arrays, const float* table, Index stride, Index count) {
    PrivateRows rows{};
    rows.table = table;
    rows.stride = stride;
    rows.bits = PrivateRows::bits_for(count);
    rows.places = arrays.take<PrivateRows::Place>(Index(1) << rows.bits);
    rows.copies = arrays.take<PrivateRows::Copy>(count);
    rows.sorted = arrays.take<PrivateRows::Copy>(count);
    rows.rows = arrays.take<float>(count * stride);
    return rows;
  }
  // Returns the bytes of all. `make`: the shards that this thread constructs.
  Index lay_out(const Word2VecCall& call, const ShardPlan& plan, Range make) {
    ScratchArrays arrays{static_cast<char*>(call.scratch)};
    input = arrays.take<Changes>(call.classes);
    output = arrays.take<Changes>(call.classes);
    for (int s = 0; s < plan.shards; ++s) {
      shards[s] = arrays.take<Shard>(1);
      ShardRows rows{};
      rows.input = rows_of(arrays, call.input, call.stride, plan.input_rows);
      rows.output = rows_of(arrays, call.output, call.stride, plan.output_rows);
      if (make.begin <= s && s < make.end)
        new (shards[s]) Shard(call, rows, part_begin(call, s, plan.shards),
                              part_begin(call, s + 1, plan.shards));
    }
    return arrays.used;
  }
};

inline Index word2vec_scratch(const Word2VecCall& call) {
  const ShardPlan plan(call);
  return plan.shards == 1 ? 1 : ShardScratch{}.lay_out(call, plan, {0, 0});
}

SEQCORE_INLINE float step_of(float times, float h) { return times / (1 + h * times); }

// Merges the copies that the shards have of the rows of one bucket.
inline void merge_bucket(Shard* const* shards, int count, PrivateRows ShardRows::* table,
                         float* rows, Changes* changes, int bucket, float h) {
  using P = Wide<float>;
  using Copy = PrivateRows::Copy;
  constexpr int kAhead = 4;  // copies whose rows are prefetched
  const auto range = [&](const PrivateRows& own) {
    return Range{bucket ? own.bucket_end[bucket - 1] : 0, own.bucket_end[bucket]};
  };
  for (int s = 0; s < count; ++s) {
    const PrivateRows& own = shards[s]->work.table.*table;
    const Range all = range(own);
    for (Index n = all.begin; n < all.end; ++n) {
      const Copy& copy = own.sorted[n];
      Changes& change = changes[copy.word];
      ++change.shards;
      change.times += float(copy.times);
      change.weight += step_of(float(copy.times), h);
    }
  }
  for (int s = 0; s < count; ++s) {
    const PrivateRows& own = shards[s]->work.table.*table;
    const Index stride = own.stride;
    const Range all = range(own);
    for (Index n = all.begin; n < all.end; ++n) {
      if (n + kAhead < all.end) {
        const Copy& next = own.sorted[n + kAhead];
        const float *row = rows + next.word * stride, *changed = own.row(next.copy);
        for (Index d = 0; d < stride; d += 16) {
          __builtin_prefetch(row + d, 1, 3);
          __builtin_prefetch(changed + d, 0, 3);
        }
      }
      const Copy& copy = own.sorted[n];
      Changes& change = changes[copy.word];
      float *row = rows + copy.word * stride, *changed = own.row(copy.copy);
      if (change.before) {
        for (Index d = 0; d < stride; d += kLanes<float>) {
          const P step = load<P>(changed + d) - load<P>(change.before + d);
          store(row + d, mul_add(set1<P>(change.weight), step, load<P>(row + d)));
        }
      } else if (change.shards > 1) {
        change.weight = step_of(change.times, h) / change.weight;
        change.before = changed;
        for (Index d = 0; d < stride; d += kLanes<float>) {
          const P before = load<P>(row + d), step = load<P>(changed + d) - before;
          store(row + d, mul_add(set1<P>(change.weight), step, before));
          store(changed + d, before);
        }
      } else {
        for (Index d = 0; d < stride; d += kLanes<float>) store(row + d, load<P>(changed + d));
      }
      if (--change.shards == 0) change = {};
    }
  }
}

inline void word2vec_shards(const Word2VecCall& call, const ShardPlan& plan, const Team& team) {
  ShardScratch scratch;
  scratch.lay_out(call, plan, split_range(plan.shards, team));
  const Range mine = split_range(call.classes, team, 16);
  for (Index n = mine.begin; n < mine.end; ++n) scratch.input[n] = scratch.output[n] = {};
  wait(team);
  alignas(64) float sum[2 * kMaxVector];
  Shard* const* shards = scratch.shards;
  const float h = kDamping * float(call.rate_begin);
  Index *next_shard = call.claimed, *next_bucket = call.claimed + 1;
  for (Index turn = 0;; ++turn) {
    for (Index s; (s = __atomic_fetch_add(next_shard, Index(1), __ATOMIC_RELAXED)) < plan.shards;)
      shards[s]->turn(sum, team);
    if (!end_round(team, turn)) return;  // after Ctrl-C: without the turn that it interrupted
    if (team.rank == 0) __atomic_store_n(next_shard, Index(0), __ATOMIC_RELAXED);
    for (Index b; (b = __atomic_fetch_add(next_bucket, Index(1), __ATOMIC_RELAXED)) < 2 * kBuckets;)
      b < kBuckets ? merge_bucket(shards, plan.shards, &ShardRows::input, call.input, scratch.input,
                                  int(b), h)
                   : merge_bucket(shards, plan.shards, &ShardRows::output, call.output,
                                  scratch.output, int(b) - kBuckets, h);
    bool done = true;
    for (int s = 0; s < plan.shards; ++s) done = done && shards[s]->done();
    wait(team);
    if (done) break;
    if (team.rank == 0) __atomic_store_n(next_bucket, Index(0), __ATOMIC_RELAXED);
  }
  for (int s = int(team.rank); s < plan.shards; s += team.size) {
    call.loss[s] = shards[s]->work.loss;
    call.measured_pairs[s] = shards[s]->work.measured_pairs;
    call.pairs[s] = shards[s]->work.pairs;
  }
}

inline void word2vec(const Word2VecCall& call, const Team& team) {
  if (!call.deterministic) return word2vec_shared(call, team);
  const ShardPlan plan(call);
  if (plan.shards > 1) return word2vec_shards(call, plan, team);
  if (team.rank == 0) word2vec_shared(call, team);
}

}  // namespace seqcore::SEQCORE_VARIANT
