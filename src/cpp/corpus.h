// The words of a text file, counted and encoded as ids. Words are separated by ASCII white space,
// sentences by line ends.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "parallel.h"

namespace seqcore {

// A user-correctable error in the input file: what was expected, and the reason if it is known.
struct CorpusError : std::runtime_error {
  explicit CorpusError(const std::string& expected, std::string why = "")
      : std::runtime_error(expected), reason(std::move(why)) {}
  std::string reason;
};

// A regular file, read in blocks by several threads at once. A file that shrinks meanwhile is an
// error, not a signal (as a memory map would raise).
class CorpusFile {
 public:
  explicit CorpusFile(const std::string& path);
  ~CorpusFile();
  CorpusFile(const CorpusFile&) = delete;
  CorpusFile& operator=(const CorpusFile&) = delete;
  std::uint64_t size() const { return size_; }
  // Reads exactly `count` bytes from `offset` on; throws CorpusError if the file became shorter.
  void read(std::uint64_t offset, char* to, std::size_t count) const;

 private:
  int fd_;
  std::uint64_t size_ = 0;  // when it was opened
};

// The lookup key of a word. Words of at most eight bytes are their own key; longer words are
// compared by hash and bytes.
struct WordKey {
  std::string_view word;
  uint64_t key, hash;
};
// `readable`: the end of the readable memory around the word.
WordKey key_of(std::string_view word, const char* readable);

// A hash table from words to numbers, with open addressing, that stores the bytes of its words.
class WordTable {
 public:
  struct Entry {
    const char* data = nullptr;
    uint64_t key = 0;
    uint32_t length = 0, order = 0;  // order: of arrival
    int64_t value = 0;
    std::string_view word() const { return {data, length}; }
  };
  explicit WordTable(std::size_t expected = 1024);
  // The entry of a word, inserted with value 0 if it is new.
  Entry& find(const WordKey& word);
  const Entry* look_up(const WordKey& word) const;
  std::size_t size() const { return size_; }
  template <class F>
  void for_each(F f) const {
    for (const Entry& entry : entries_)
      if (entry.data) f(entry);
  }

 private:
  std::size_t find_slot(const WordKey& word) const;
  void grow();
  const char* store_bytes(std::string_view word);

  std::vector<Entry> entries_;
  std::size_t size_ = 0, mask_;
  std::vector<std::unique_ptr<char[]>> chunks_;  // the bytes of the words
  char* end_ = nullptr;                          // of the last chunk
  std::size_t bytes_left_ = 0;                   // in the last chunk
};

struct WordCount {
  std::string word;
  int64_t count;
};

constexpr std::size_t kMaxWordBytes = std::size_t(1) << 24;  // of a file without white space

// The words of a file, the most frequent first, equal counts in the order of first appearance; the
// same for any number of threads. Throws CorpusError for a NUL byte and a word that is too long.
// `interrupted` is set if the user interrupted.
std::vector<WordCount> count_words(const CorpusFile& file, int threads, bool& interrupted);

struct EncodedText {
  std::vector<int32_t> ids;
  std::vector<int64_t> sentences;  // offsets into ids, from 0 to their number
  int64_t words = 0;               // of the text, those without an id included
};

// Encodes the words of a file that `table` holds with the value id + 1. Lines without such words
// give no sentence; sentences longer than `longest` are cut. Throws as count_words does.
EncodedText encode_words(const CorpusFile& file, const WordTable& table, int64_t longest,
                         int threads, bool& interrupted);

}  // namespace seqcore
