// word2vec: training over the sentences of a corpus.
#include <numeric>

#include "../sampling.h"
#include "bindings.h"
#include "ids.h"

namespace seqcore {
namespace {

// Trains `input` and `output` in place on sentences [first, last). Returns (loss summed over the
// measured pairs, number of measured pairs, number of trained pairs).
py::tuple train_word2vec(const Array& words, const Array& sentences, Index first, Index last,
                         const Array& input, const Array& output, Index size,
                         const OptionalArray& subsample_threshold, const AliasTable& noise,
                         const OptionalArray& log_noise, int window, int negatives, bool shrink,
                         bool cbow, bool mean, Finite rate_begin, Finite rate_end, uint64_t seed,
                         int threads, const OptionalArray& lock, bool deterministic) {
  Word2VecCall call{};
  call.words = words.read<int32_t>({-1});
  call.sentences = sentences.read<int64_t>({-1});
  require_range("last", last, 0, sentences.size() - 1);
  require_range("first", first, 0, last);
  call.first = first;
  call.last = last;
  call.input = input.write<float>({-1, -1});
  call.classes = input.shape(0);
  call.stride = input.shape(1);
  call.output = output.write<float>({call.classes, call.stride});
  call.size = size;
  if (call.classes > kMaxSize)
    fail("input", "at most " + std::to_string(kMaxSize) + " rows", describe(input.object()));
  if (call.stride < 1 || call.stride % 16 || call.stride > kMaxVector)
    fail("input", "rows of whole vectors of 16 numbers, " + std::to_string(kMaxVector) + " at most",
         describe(input.object()));
  require_range("size", size, 1, call.stride);
  for (Index s = first; s < last; ++s)
    if (call.sentences[s] > call.sentences[s + 1] || call.sentences[s] < 0 ||
        call.sentences[s + 1] > words.size())
      fail("sentences", "offsets that rise within the words",
           std::to_string(call.sentences[s]) + " at " + std::to_string(s));
  require_ids("words", "ids", call.words, call.sentences[last], call.classes,
              call.sentences[first]);
  call.subsample_threshold = read<uint32_t>(subsample_threshold, {call.classes});
  if (noise.size() != call.classes)
    fail("noise", std::to_string(call.classes) + " weights, one per word",
         std::to_string(noise.size()));
  call.noise = noise.slots.data();
  call.log_noise = read<float>(log_noise, {call.classes});
  call.lock = read<float>(lock, {call.classes});
  std::vector<Extent> extents{input.extent(true), output.extent(true), words.extent(false),
                              sentences.extent(false)};
  if (subsample_threshold) extents.push_back(subsample_threshold->extent(false));
  if (log_noise) extents.push_back(log_noise->extent(false));
  if (lock) extents.push_back(lock->extent(false));
  require_apart(std::move(extents));
  call.window = window;
  call.negatives = negatives;
  call.shrink = shrink;
  call.cbow = cbow;
  call.mean = mean;
  call.rate_begin = rate_begin;
  call.rate_end = rate_end;
  call.seed = seed;
  threads = std::min(threads, kMaxThreads);
  if (call.window < 1) fail("window", "a number from 1", std::to_string(call.window));
  if (call.negatives < 1 || call.negatives > kMaxNegatives)
    fail("negatives", "a number 1..." + std::to_string(kMaxNegatives),
         std::to_string(call.negatives));
  if (threads < 1) fail("threads", "a number from 1", std::to_string(threads));
  call.deterministic = deterministic;
  std::shared_ptr<void> scratch;
  if (deterministic) {
    threads = std::min(threads, word2vec_shards_of(call));
    scratch = pool_alloc(size_t(table().word2vec_scratch(call)));
    call.scratch = scratch.get();
  }
  const size_t parts = size_t(deterministic ? kMaxShards : threads);
  std::vector<double> loss(parts, 0.0);
  std::vector<int64_t> measured_pairs(parts, 0), pairs(parts, 0);
  Index claimed[2] = {};
  call.claimed = claimed;
  call.loss = loss.data();
  call.measured_pairs = measured_pairs.data();
  call.pairs = pairs.data();
  run_released(threads, [&](const Team& team) { table().word2vec(call, team); });
  return py::make_tuple(std::accumulate(loss.begin(), loss.end(), 0.0),
                        std::accumulate(measured_pairs.begin(), measured_pairs.end(), int64_t(0)),
                        std::accumulate(pairs.begin(), pairs.end(), int64_t(0)));
}

}  // namespace

void bind_word2vec(py::module_& m) {
  define<&train_word2vec>(
      m,
      "train_word2vec(words, sentences, first, last, input, output, size, subsample_threshold, "
      "noise, log_noise, *, "
      "window, "
      "negatives, shrink, cbow, mean, rate_begin, rate_end, seed, threads, lock=None, "
      "deterministic=False)");
}

}  // namespace seqcore
