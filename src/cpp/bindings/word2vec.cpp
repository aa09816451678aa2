// word2vec: the words of a corpus, and training over them.
#include <cmath>
#include <numeric>

#include "../corpus.h"
#include "../sampling.h"
#include "common.h"

namespace seqcore {
namespace {

// Calls work(file, threads, interrupted) with the GIL released; errors name the path.
template <class Work>
auto with_file(const std::string& path, Work work) {
  bool interrupted = false;
  try {
    const CorpusFile file(path);
    auto result = [&] {
      const py::gil_scoped_release release;
      return work(file, threads_for(40.0 * double(file.size())), interrupted);
    }();
    if (interrupted) throw py::error_already_set();
    return result;
  } catch (const CorpusError& error) {
    fail("corpus_file", error.what(),
         quoted(path) + (error.reason.empty() ? "" : " (" + error.reason + ")"));
  }
}

// (words as bytes, their counts), the most frequent first.
py::tuple count_words_of(const Path& path) {
  const auto counts = with_file(path.text, count_words);
  py::list words(counts.size());
  const py::object numbers = new_array<int64_t>({Index(counts.size())});
  for (size_t n = 0; n < counts.size(); ++n) {
    words[n] = py::bytes(counts[n].word);
    data_of<int64_t>(numbers)[n] = counts[n].count;
  }
  return py::make_tuple(words, numbers);
}

// (ids, offsets of the sentences, words of the text) over `words`, a list of bytes.
py::tuple encode_words_of(const Path& path, const Items& words, Index longest) {
  if (longest < 1) fail("longest", "a number from 1", std::to_string(longest));
  std::vector<std::string> kept;
  kept.reserve(size_t(words.size()));
  for (Index n = 0; n < words.size(); ++n) {
    const py::object word = words[n];
    if (!PyBytes_Check(word.ptr())) fail_type(Name("words", n), "bytes", word);
    kept.emplace_back(PyBytes_AS_STRING(word.ptr()), size_t(PyBytes_GET_SIZE(word.ptr())));
  }
  WordTable table(kept.size());
  for (size_t n = 0; n < kept.size(); ++n) {
    if (kept[n].empty()) continue;  // no text holds it
    int64_t& value = table.find(key_of(kept[n], kept[n].data() + kept[n].size())).value;
    if (value) fail("words", "different words", "number " + std::to_string(n) + " a second time");
    value = int64_t(n) + 1;
  }
  const auto encoded =
      with_file(path.text, [&](const CorpusFile& file, int threads, bool& interrupted) {
        return encode_words(file, table, longest, threads, interrupted);
      });
  const py::object ids = new_array<int32_t>({Index(encoded.ids.size())}),
                   sentences = new_array<int64_t>({Index(encoded.sentences.size())});
  std::copy(encoded.ids.begin(), encoded.ids.end(), data_of<int32_t>(ids));
  std::copy(encoded.sentences.begin(), encoded.sentences.end(), data_of<int64_t>(sentences));
  return py::make_tuple(ids, sentences, encoded.words);
}

// Trains `input` and `output` in place on sentences [first, last). Returns (loss summed over the
// pairs looked at, how many those were, how many pairs were learnt).
py::tuple train_word2vec(const Array& words, const Array& sentences, Index first, Index last,
                         const Array& input, const Array& output, Index size,
                         const OptionalArray& keep, const AliasTable& noise,
                         const OptionalArray& shift, int window, int negatives, bool shrink,
                         bool cbow, bool mean, Finite rate_begin, Finite rate_end, uint64_t seed,
                         int threads, const OptionalArray& lock) {
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
  if (call.classes > kMaxRows)
    fail("input", "at most " + std::to_string(kMaxRows) + " rows", describe(input.object()));
  if (call.stride < 1 || call.stride % 16 || call.stride > kMaxVector)
    fail("input", "rows of whole vectors of 16 numbers, " + std::to_string(kMaxVector) + " at most",
         describe(input.object()));
  require_range("size", size, 1, call.stride);
  for (Index s = first; s < last; ++s)
    if (call.sentences[s] > call.sentences[s + 1] || call.sentences[s] < 0 ||
        call.sentences[s + 1] > words.size())
      fail("sentences", "offsets that rise within the words",
           std::to_string(call.sentences[s]) + " at " + std::to_string(s));
  for (Index n = call.sentences[first]; n < call.sentences[last]; ++n)
    if (call.words[n] < 0 || call.words[n] >= call.classes)
      fail("words", "ids 0..." + std::to_string(call.classes - 1),
           std::to_string(call.words[n]) + " at " + std::to_string(n));
  call.subsample_threshold = read<uint32_t>(keep, {call.classes});
  if (noise.size() != call.classes)
    fail("noise", std::to_string(call.classes) + " weights, one per word",
         std::to_string(noise.size()));
  call.noise = noise.slots.data();
  call.log_noise = read<float>(shift, {call.classes});
  call.lock = read<float>(lock, {call.classes});
  std::vector<Extent> extents{input.extent(true), output.extent(true), words.extent(false),
                              sentences.extent(false)};
  if (keep) extents.push_back(keep->extent(false));
  if (shift) extents.push_back(shift->extent(false));
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
  std::vector<double> loss(size_t(threads), 0.0);
  std::vector<int64_t> measured_pairs(size_t(threads), 0), pairs(size_t(threads), 0);
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
  define<&count_words_of>(m, "count_words(corpus_file)");
  define<&encode_words_of>(m, "encode_words(corpus_file, words, longest=10000)");
  define<&train_word2vec>(
      m,
      "train_word2vec(words, sentences, first, last, input, output, size, keep, noise, shift, *, "
      "window, "
      "negatives, shrink, cbow, mean, rate_begin, rate_end, seed, threads, lock=None)");
}

}  // namespace seqcore
