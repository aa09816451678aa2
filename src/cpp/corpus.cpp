#include "corpus.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <new>

namespace seqcore {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// The part of the text that a thread works on: cut points move forward to the next white space.
std::string_view part_of(std::string_view text, int rank, int size) {
  const auto cut = [&](int n) {
    std::size_t at = text.size() / std::size_t(size) * std::size_t(n);
    if (n == size) return text.size();
    while (n && at < text.size() && !is_space(text[at])) ++at;
    return at;
  };
  const std::size_t begin = cut(rank), end = std::max(begin, cut(rank + 1));
  return text.substr(begin, end - begin);
}

// Calls word(view) for each word and line() at each end of a line; stops early if `stop` says so now and then.
template <class Word, class Line, class Stop>
void for_each_word(std::string_view text, Word word, Line line, Stop stop) {
  constexpr int kBetween = 1 << 14;  // words between two questions whether to stop
  int left = kBetween;
  const char *at = text.data(), *end = at + text.size();
  while (at < end) {
    while (at < end && is_space(*at)) {
      if (*at == '\n') line();
      ++at;
    }
    const char* begin = at;
    while (at < end && !is_space(*at)) ++at;
    if (at > begin) word(std::string_view(begin, std::size_t(at - begin)));
    if (--left == 0) {
      if (stop()) return;
      left = kBetween;
    }
  }
}

bool stopped(const Team& team) {
  if (stop_wanted(team)) return true;
  return team.rank == 0 && team.interrupted && team.interrupted(team.context);
}

enum class Trouble { kNone, kMemory, kNul };

[[noreturn]] void fail_for(Trouble trouble) {
  if (trouble == Trouble::kMemory) throw std::bad_alloc();
  throw CorpusError("text", "it holds NUL bytes");
}

// Runs work(team) on each thread; what it throws comes out here, not in the region.
template <class Work>
bool run_parts(int threads, Work work) {
  std::vector<Trouble> troubles(std::size_t(threads), Trouble::kNone);
  const bool finished = run(threads, [&](const Team& team) {
    try {
      troubles[std::size_t(team.rank)] = work(team);
    } catch (const std::bad_alloc&) {
      troubles[std::size_t(team.rank)] = Trouble::kMemory;
    }
  });
  for (const Trouble trouble : troubles)
    if (trouble != Trouble::kNone) fail_for(trouble);
  return finished;
}

}  // namespace

MappedFile::MappedFile(const std::string& path) {
  const auto fail = [&](int fd) {
    const std::string reason = std::strerror(errno);
    if (fd >= 0) ::close(fd);
    throw CorpusError("a file that can be read", reason);
  };
  // O_NONBLOCK: a pipe without a writer is refused like any other, instead of being waited for.
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat about{};
  if (fd < 0 || ::fstat(fd, &about) != 0) fail(fd);
  if (!S_ISREG(about.st_mode)) {
    ::close(fd);
    throw CorpusError("a regular file");
  }
  size_ = std::size_t(about.st_size);
  if (size_) {
    void* mapped = ::mmap(nullptr, size_, PROT_READ, MAP_PRIVATE, fd, 0);
    if (mapped == MAP_FAILED) fail(fd);
    ::madvise(mapped, size_, MADV_SEQUENTIAL);
    data_ = static_cast<const char*>(mapped);
  }
  ::close(fd);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<char*>(data_), size_);
}

WordKey key_of(std::string_view word, const char* readable) {
  constexpr uint64_t kFactor = 0x9E3779B97F4A7C15u;
  uint64_t key = 0;
  if (word.size() <= 8) {
    if (readable - word.data() >= 8) {
      std::memcpy(&key, word.data(), 8);
      key &= ~uint64_t(0) >> (64 - 8 * word.size());
    } else {
      std::memcpy(&key, word.data(), word.size());
    }
  } else {
    std::size_t at = 0;
    for (uint64_t part; at + 8 <= word.size(); at += 8) {
      std::memcpy(&part, word.data() + at, 8);
      key = (key ^ part) * kFactor;
      key ^= key >> 32;
    }
    uint64_t last;
    std::memcpy(&last, word.data() + word.size() - 8, 8);
    key = (key ^ last) * kFactor;
  }
  const uint64_t hash = (key ^ word.size()) * kFactor;
  return {word, key, hash ^ hash >> 29};
}

WordTable::WordTable(std::size_t expected) {
  std::size_t room = 1024;
  while (room < 2 * expected) room *= 2;
  entries_.resize(room);
  mask_ = room - 1;
}

std::size_t WordTable::place_of(const WordKey& word) const {
  for (std::size_t at = word.hash & mask_;; at = (at + 1) & mask_) {
    const Entry& entry = entries_[at];
    if (!entry.data) return at;
    if (entry.key == word.key && entry.length == word.word.size() && (entry.length <= 8 || entry.word() == word.word)) return at;
  }
}

WordTable::Entry& WordTable::find(const WordKey& word) {
  std::size_t at = place_of(word);
  if (entries_[at].data) return entries_[at];
  if (++size_ * 2 > entries_.size()) {
    grow();
    at = place_of(word);
  }
  Entry& entry = entries_[at];
  entry.data = word.word.data();
  entry.key = word.key;
  entry.length = uint32_t(word.word.size());
  return entry;
}

const WordTable::Entry* WordTable::look_up(const WordKey& word) const {
  const Entry& entry = entries_[place_of(word)];
  return entry.data ? &entry : nullptr;
}

void WordTable::grow() {
  std::vector<Entry> old(entries_.size() * 2);
  old.swap(entries_);
  mask_ = entries_.size() - 1;
  for (const Entry& entry : old)
    if (entry.data) entries_[place_of(key_of(entry.word(), entry.data + entry.length))] = entry;
}

std::vector<WordCount> count_words(std::string_view text, int threads, bool& interrupted) {
  const char* readable = text.data() + text.size();
  std::vector<WordTable> tables(std::size_t(threads), WordTable(1 << 16));
  interrupted = !run_parts(threads, [&](const Team& team) {
    const std::string_view part = part_of(text, team.rank, team.size);
    if (!part.empty() && std::memchr(part.data(), 0, part.size())) return Trouble::kNul;
    WordTable& table = tables[std::size_t(team.rank)];
    for_each_word(
        part, [&](std::string_view word) { ++table.find(key_of(word, readable)).value; }, [] {}, [&] { return stopped(team); });
    return Trouble::kNone;
  });
  WordTable& all = tables[0];
  for (std::size_t n = 1; n < tables.size(); ++n)
    tables[n].for_each([&](const WordTable::Entry& entry) { all.find(key_of(entry.word(), readable)).value += entry.value; });
  std::vector<WordCount> counts;
  counts.reserve(all.size());
  all.for_each([&](const WordTable::Entry& entry) { counts.push_back({entry.word(), entry.value}); });
  // A word's view is its first appearance.
  std::sort(counts.begin(), counts.end(), [](const WordCount& a, const WordCount& b) {
    return a.count != b.count ? a.count > b.count : a.word.data() < b.word.data();
  });
  return counts;
}

EncodedText encode_words(std::string_view text, const WordTable& table, int64_t longest, int threads, bool& interrupted) {
  const char* readable = text.data() + text.size();
  std::vector<EncodedText> parts{std::size_t(threads)};
  interrupted = !run_parts(threads, [&](const Team& team) {
    EncodedText& mine = parts[std::size_t(team.rank)];
    const std::string_view part = part_of(text, team.rank, team.size);
    mine.ids.reserve(part.size() / 6);
    for_each_word(
        part,
        [&](std::string_view word) {
          ++mine.words;
          if (const WordTable::Entry* entry = table.look_up(key_of(word, readable)))
            mine.ids.push_back(int32_t(entry->value - 1));
        },
        [&] {
          // Lines without words leave nothing, so that a file of line ends takes no memory.
          const auto end = int64_t(mine.ids.size());
          if (mine.sentences.empty() || mine.sentences.back() != end) mine.sentences.push_back(end);
        },
        [&] { return stopped(team); });
    return Trouble::kNone;
  });
  EncodedText all;
  std::size_t count = 0;
  for (const EncodedText& part : parts) count += part.ids.size();
  all.ids.reserve(count);
  all.sentences.push_back(0);
  const auto end_sentence = [&](int64_t end) {
    while (end - all.sentences.back() > longest) all.sentences.push_back(all.sentences.back() + longest);
    if (end > all.sentences.back()) all.sentences.push_back(end);
  };
  for (EncodedText& part : parts) {
    const int64_t before = int64_t(all.ids.size());
    all.ids.insert(all.ids.end(), part.ids.begin(), part.ids.end());
    for (const int64_t end : part.sentences) end_sentence(before + end);
    all.words += part.words;
    part = EncodedText();
  }
  end_sentence(int64_t(count));
  return all;
}

}  // namespace seqcore
