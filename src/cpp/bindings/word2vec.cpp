// word2vec: the words of a corpus, and training over them.
#include <cmath>
#include <numeric>

#include "../corpus.h"
#include "../sampling.h"
#include "arguments.h"

namespace seqcore {
namespace {

constexpr int kMostThreads = 1024;

// Calls work(text, interrupted) on the mapped file with the GIL released; errors name the path.
template <class Work>
auto with_text(const std::string& path, Work work) {
  bool interrupted = false;
  try {
    const MappedFile file(path);
    auto result = [&] {
      const py::gil_scoped_release release;
      return work(file.text(), interrupted);
    }();
    if (interrupted) throw py::error_already_set();
    return result(file);
  } catch (const CorpusError& error) {
    fail("corpus_file", error.what(), "'" + path + "'" + (error.reason.empty() ? "" : " (" + error.reason + ")"));
  }
}

// (words as bytes, their counts), the most frequent first.
py::tuple count_words_of(const std::string& path) {
  return with_text(path, [](std::string_view text, bool& interrupted) {
    auto counts = count_words(text, threads_for(40.0 * double(text.size())), interrupted);
    return [counts = std::move(counts)](const MappedFile&) {
      py::list words(counts.size());
      const py::array numbers = new_array<int64_t>({Index(counts.size())});
      for (size_t n = 0; n < counts.size(); ++n) {
        words[n] = py::bytes(counts[n].word.data(), counts[n].word.size());
        data_of<int64_t>(numbers)[n] = counts[n].count;
      }
      return py::make_tuple(words, numbers);
    };
  });
}

// (ids, offsets of the sentences, words of the text) over `words`, a list of bytes.
py::tuple encode_words_of(const std::string& path, const py::list& words, Index longest) {
  if (longest < 1) fail("longest", "a number from 1", std::to_string(longest));
  std::vector<std::string> kept;
  kept.reserve(words.size());
  for (const auto& word : words) {
    if (!py::isinstance<py::bytes>(word))
      throw py::type_error("words: expected bytes, got " + py::repr(word).cast<std::string>() + " at " +
                           std::to_string(kept.size()));
    kept.push_back(word.cast<std::string>());
  }
  WordTable table(kept.size());
  for (size_t n = 0; n < kept.size(); ++n) {
    if (kept[n].empty()) continue;  // no text holds it
    int64_t& value = table.find(key_of(kept[n], kept[n].data() + kept[n].size())).value;
    if (value) fail("words", "different words", "number " + std::to_string(n) + " a second time");
    value = int64_t(n) + 1;
  }
  return with_text(path, [&](std::string_view text, bool& interrupted) {
    auto encoded = encode_words(text, table, longest, threads_for(40.0 * double(text.size())), interrupted);
    return [encoded = std::move(encoded)](const MappedFile&) {
      const py::array ids = new_array<int32_t>({Index(encoded.ids.size())}),
                      sentences = new_array<int64_t>({Index(encoded.sentences.size())});
      std::copy(encoded.ids.begin(), encoded.ids.end(), data_of<int32_t>(ids));
      std::copy(encoded.sentences.begin(), encoded.sentences.end(), data_of<int64_t>(sentences));
      return py::make_tuple(ids, sentences, encoded.words);
    };
  });
}

// Trains `input` and `output` in place on sentences [first, last). Returns (loss summed over the pairs looked at, how many
// those were, how many pairs were learnt).
py::tuple train_word2vec(const py::array& words, const py::array& sentences, Index first, Index last, const py::array& input,
                         const py::array& output, Index size, const py::object& keep, const AliasTable& noise,
                         const py::object& shift, int window, int negatives, bool shrink, bool cbow, bool mean, double rate_begin,
                         double rate_end, uint64_t seed, int threads) {
  Word2VecCall call{};
  call.words = contiguous<int32_t>("words", words, {-1});
  call.sentences = contiguous<int64_t>("sentences", sentences, {-1});
  const Index count = sentences.shape(0) - 1;
  if (!(0 <= first && first <= last && last <= count))
    fail("first, last", "sentences within 0..." + std::to_string(count), std::to_string(first) + ", " + std::to_string(last));
  call.first = first;
  call.last = last;
  call.input = writable<float>("input", input, {-1, -1});
  call.classes = input.shape(0);
  call.stride = input.shape(1);
  call.output = writable<float>("output", output, {call.classes, call.stride});
  call.size = size;
  if (size < 1 || size > call.stride || call.stride % 16 || call.stride > kLargestVector)
    fail("input", "rows of whole vectors of 16 numbers, " + std::to_string(kLargestVector) + " at most", describe(input));
  for (Index s = first; s < last; ++s)
    if (call.sentences[s] > call.sentences[s + 1] || call.sentences[s] < 0 || call.sentences[s + 1] > words.size())
      fail("sentences", "offsets that rise within the words", std::to_string(call.sentences[s]) + " at " + std::to_string(s));
  for (Index n = call.sentences[first]; n < call.sentences[last]; ++n)
    if (call.words[n] < 0 || call.words[n] >= call.classes)
      fail("words", "ids 0..." + std::to_string(call.classes - 1), std::to_string(call.words[n]) + " at " + std::to_string(n));
  call.keep = optional_contiguous<uint32_t>("keep", keep, {call.classes});
  if (noise.size() != call.classes)
    fail("noise", std::to_string(call.classes) + " weights, one per word", std::to_string(noise.size()));
  call.noise = noise.slots.data();
  call.shift = optional_contiguous<float>("shift", shift, {call.classes});
  call.window = window;
  call.negatives = negatives;
  call.shrink = shrink;
  call.cbow = cbow;
  call.mean = mean;
  call.rate_begin = rate_begin;
  call.rate_end = rate_end;
  call.seed = seed;
  threads = std::min(threads, kMostThreads);
  if (call.window < 1) fail("window", "a number from 1", std::to_string(call.window));
  if (call.negatives < 1 || call.negatives > kMostNegatives)
    fail("negatives", "a number 1..." + std::to_string(kMostNegatives), std::to_string(call.negatives));
  if (threads < 1) fail("threads", "a number from 1", std::to_string(threads));
  std::vector<double> loss(size_t(threads), 0.0);
  std::vector<int64_t> looked_at(size_t(threads), 0), pairs(size_t(threads), 0);
  call.loss = loss.data();
  call.looked_at = looked_at.data();
  call.pairs = pairs.data();
  run_released(threads, [&](const Team& team) { table().word2vec(call, team); });
  return py::make_tuple(std::accumulate(loss.begin(), loss.end(), 0.0),
                        std::accumulate(looked_at.begin(), looked_at.end(), int64_t(0)),
                        std::accumulate(pairs.begin(), pairs.end(), int64_t(0)));
}

}  // namespace

void bind_word2vec(py::module_& m) {
  define(m, "count_words", "path:str", &count_words_of, py::arg("path"));
  define(m, "encode_words", "path:str words:sequence longest:int", &encode_words_of, py::arg("path"), py::arg("words"),
         py::arg("longest") = 10000);
  define(m, "train_word2vec",
         "words:array sentences:array first:int last:int input:array output:array size:int keep:array? noise:AliasTable "
         "shift:array? window:int negatives:int shrink:bool cbow:bool mean:bool rate_begin:float rate_end:float "
         "seed:int threads:int",
         &train_word2vec, py::arg("words"), py::arg("sentences"), py::arg("first"), py::arg("last"), py::arg("input"),
         py::arg("output"), py::arg("size"), py::arg("keep"), py::arg("noise"), py::arg("shift"), py::kw_only(),
         py::arg("window"), py::arg("negatives"), py::arg("shrink"), py::arg("cbow"), py::arg("mean"), py::arg("rate_begin"),
         py::arg("rate_end"), py::arg("seed"), py::arg("threads"));
}

}  // namespace seqcore
