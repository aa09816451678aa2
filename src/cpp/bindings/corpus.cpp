// The words of a text file: counted, and encoded as ids.
#include "../corpus.h"

#include "bindings.h"

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

}  // namespace

void bind_corpus(py::module_& m) {
  define<&count_words_of>(m, "count_words(corpus_file)");
  define<&encode_words_of>(m, "encode_words(corpus_file, words, longest=10000)");
}

}  // namespace seqcore
