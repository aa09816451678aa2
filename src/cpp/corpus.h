// Words of a text file: counted, and turned into ids. Words are what stands between ASCII white space, lines are sentences.
#pragma once

#include <cstdint>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "parallel.h"

namespace seqcore {

// Something about the file that the caller can put right: what was expected, and what is known about the reason.
struct CorpusError : std::runtime_error {
  explicit CorpusError(const char* expected, std::string why = "") : std::runtime_error(expected), reason(std::move(why)) {}
  std::string reason;
};

// A file mapped into memory, read only.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;
  std::string_view text() const { return {data_, size_}; }

 private:
  const char* data_ = nullptr;
  std::size_t size_ = 0;
};

// A word as the table looks it up. Eight bytes or fewer are their own key; longer words are told apart by hash and bytes.
struct WordKey {
  std::string_view word;
  uint64_t key, hash;
};
// `readable`: end of the memory that the word lies in.
WordKey key_of(std::string_view word, const char* readable);

// Words with a number each, in a table of open addresses; the bytes stay where they are.
class WordTable {
 public:
  struct Entry {
    const char* data = nullptr;
    uint64_t key = 0;
    uint32_t length = 0;
    int64_t value = 0;
    std::string_view word() const { return {data, length}; }
  };
  explicit WordTable(std::size_t expected = 1024);
  // The entry of a word, made with value 0 if there was none.
  Entry& find(const WordKey& word);
  const Entry* look_up(const WordKey& word) const;
  std::size_t size() const { return size_; }
  template <class F>
  void for_each(F f) const {
    for (const Entry& entry : entries_)
      if (entry.data) f(entry);
  }

 private:
  std::size_t place_of(const WordKey& word) const;
  void grow();

  std::vector<Entry> entries_;
  std::size_t size_ = 0, mask_;
};

struct WordCount {
  std::string_view word;
  int64_t count;
};

// Words of `text`, the most frequent first, equal ones in the order of their first appearance; the same for any number of
// threads. Throws CorpusError for a NUL byte. `interrupted` is set if the user stopped it.
std::vector<WordCount> count_words(std::string_view text, int threads, bool& interrupted);

struct EncodedText {
  std::vector<int32_t> ids;
  std::vector<int64_t> sentences;  // offsets into ids, from 0 to their number
  int64_t words = 0;               // of the text, those without an id included
};

// Ids of the words of `text` that `table` has with their id + 1; lines without any leave no sentence, longer ones than `longest`
// are cut.
EncodedText encode_words(std::string_view text, const WordTable& table, int64_t longest, int threads, bool& interrupted);

}  // namespace seqcore
