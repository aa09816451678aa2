// Words of a text file: counted, and turned into ids. Words are what stands between ASCII white
// space, lines are sentences.
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "parallel.h"

namespace seqcore {

// Something about the file that the caller can put right: what was expected, and what is known
// about the reason.
struct CorpusError : std::runtime_error {
  explicit CorpusError(const std::string& expected, std::string why = "")
      : std::runtime_error(expected), reason(std::move(why)) {}
  std::string reason;
};

// A regular file that is read in blocks, by several threads at once: one that shrinks meanwhile is
// an error, not a signal.
class CorpusFile {
 public:
  explicit CorpusFile(const std::string& path);
  ~CorpusFile();
  CorpusFile(const CorpusFile&) = delete;
  CorpusFile& operator=(const CorpusFile&) = delete;
  std::uint64_t size() const { return size_; }
  // Bytes from `offset` on, all of them; throws CorpusError where they are not there any more.
  void read(std::uint64_t offset, char* to, std::size_t count) const;

 private:
  int fd_;
  std::uint64_t size_ = 0;  // when it was opened
};

// A word as the table looks it up. Eight bytes or fewer are their own key; longer words are told
// apart by hash and bytes.
struct WordKey {
  std::string_view word;
  uint64_t key, hash;
};
// `readable`: end of the memory that the word lies in.
WordKey key_of(std::string_view word, const char* readable);

// Words with a number each, in a table of open addresses that keeps the bytes of its words.
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
  std::size_t find_slot(const WordKey& word) const;
  void grow();
  const char* store_bytes(std::string_view word);

  std::vector<Entry> entries_;
  std::size_t size_ = 0, mask_;
  std::vector<std::unique_ptr<char[]>> chunks_;  // the bytes of the words
  char* end_ = nullptr;                          // of the last chunk
  std::size_t bytes_left_ = 0;                         // left in it
};

struct WordCount {
  std::string word;
  int64_t count;
};

constexpr std::size_t kLongestWord =
    std::size_t(1) << 24;  // bytes; a file without white space shall not fill the memory

// Words of a file, the most frequent first, equal ones in the order of their first appearance; the
// same for any number of threads. Throws CorpusError for a NUL byte and a word that is too long.
// `interrupted` is set if the user stopped it.
std::vector<WordCount> count_words(const CorpusFile& file, int threads, bool& interrupted);

struct EncodedText {
  std::vector<int32_t> ids;
  std::vector<int64_t> sentences;  // offsets into ids, from 0 to their number
  int64_t words = 0;               // of the text, those without an id included
};

// Ids of the words of a file that `table` has with their id + 1; lines without any leave no
// sentence, longer ones than `longest` are cut. Throws as count_words does.
EncodedText encode_words(const CorpusFile& file, const WordTable& table, int64_t longest,
                         int threads, bool& interrupted);

}  // namespace seqcore
