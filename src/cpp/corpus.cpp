#include "corpus.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <exception>
#include <new>

namespace seqcore {
namespace {

bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

// 256 KiB: a block fits the second-level cache next to the most frequent words of the table.
constexpr std::size_t kBlock = std::size_t(1) << 18;

void check_length(std::size_t word) {
  if (word > kMaxWordBytes)
    throw CorpusError("words of at most " + std::to_string(kMaxWordBytes) + " bytes",
                      "there is a longer one");
}

// Calls word(view) for each word that begins in this thread's part of the file, and line() at each
// line end there. After each block stop() is asked whether to end early.
template <class Word, class Line, class Stop>
void for_each_word(const CorpusFile& file, const Team& team, Word word, Line line, Stop stop) {
  const auto cut = [&](int n) {
    return n == team.size ? file.size() : file.size() / std::uint64_t(team.size) * std::uint64_t(n);
  };
  const std::uint64_t begin = cut(team.rank), limit = cut(team.rank + 1);
  if (begin == limit) return;
  // The bytes are followed by spaces: they end the last word, and key_of may read 8 bytes at a
  // time.
  constexpr std::size_t kBehind = 16;
  std::vector<char> buffer(kBlock + kBehind);
  // The byte before the part tells if its first word began in the part before.
  std::uint64_t offset = begin ? begin - 1 : 0;  // of the buffer in the file
  std::size_t used = 0, filled = 0;
  for (bool own = !begin;;) {
    filled -= used;
    offset += used;
    std::memmove(buffer.data(), buffer.data() + used, filled);
    check_length(filled);
    if (filled + kBehind == buffer.size()) buffer.resize(2 * filled + kBehind);
    const std::size_t more = std::size_t(
        std::min<std::uint64_t>(buffer.size() - kBehind - filled, file.size() - offset - filled));
    file.read(offset + filled, buffer.data() + filled, more);
    if (more && std::memchr(buffer.data() + filled, 0, more))
      throw CorpusError("text", "it holds NUL bytes");
    filled += more;
    const bool last = offset + filled == file.size(), reached = limit - offset <= filled;
    const char *at = buffer.data(), *end = at + filled,
               *stop_at = reached ? at + (limit - offset) : end;
    std::memset(buffer.data() + filled, ' ', kBehind);
    if (!own) {
      while (!is_space(*at)) ++at;
      if (at == end && reached) return;
      if (at < end && offset + std::uint64_t(at - buffer.data()) == begin - 1) ++at;
      own = at < end;
    }
    while (at < stop_at) {
      if (is_space(*at)) {
        if (*at++ == '\n') line();
        continue;
      }
      const char* first = at;
      while (!is_space(*at)) ++at;
      if (at == end && !last) {
        at = first;
        break;
      }
      check_length(std::size_t(at - first));
      word(std::string_view(first, std::size_t(at - first)));
    }
    if (last || (reached && at >= stop_at) || stop()) return;
    used = std::size_t(at - buffer.data());
  }
}

// Runs work(team, stop) on each thread, and throws the exception of the first one that threw after
// the region.
template <class Work>
bool run_parts(int threads, Work work) {
  std::vector<std::exception_ptr> failures(static_cast<std::size_t>(threads));
  std::atomic<bool> failed{false};
  const bool finished = run(threads, [&](const Team& team) {
    try {
      work(team, [&] { return failed.load(std::memory_order_relaxed) || stopped(team); });
    } catch (...) {
      failures[std::size_t(team.rank)] = std::current_exception();
      failed.store(true, std::memory_order_relaxed);
    }
  });
  for (const std::exception_ptr& failure : failures)
    if (failure) std::rethrow_exception(failure);
  return finished;
}

}  // namespace

CorpusFile::CorpusFile(const std::string& path) {
  const auto fail = [&] {
    const std::string reason = std::strerror(errno);
    if (fd_ >= 0) ::close(fd_);
    throw CorpusError("a file that can be read", reason);
  };
  // O_NONBLOCK: a pipe without a writer is refused like any other, without a wait.
  fd_ = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  struct stat about{};
  if (fd_ < 0 || ::fstat(fd_, &about) != 0) fail();
  if (!S_ISREG(about.st_mode)) {
    ::close(fd_);
    throw CorpusError("a regular file");
  }
  size_ = std::uint64_t(about.st_size);
}

CorpusFile::~CorpusFile() { ::close(fd_); }

void CorpusFile::read(std::uint64_t offset, char* to, std::size_t count) const {
  while (count) {
    const ssize_t some = ::pread(fd_, to, count, off_t(offset));
    if (some < 0 && errno == EINTR) continue;
    if (some < 0) throw CorpusError("a file that can be read", std::strerror(errno));
    if (some == 0)
      throw CorpusError("a file that stays as it is while it is read", "it became shorter");
    offset += std::uint64_t(some);
    to += some;
    count -= std::size_t(some);
  }
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

std::size_t WordTable::find_slot(const WordKey& word) const {
  for (std::size_t at = word.hash & mask_;; at = (at + 1) & mask_) {
    const Entry& entry = entries_[at];
    if (!entry.data) return at;
    if (entry.key == word.key && entry.length == word.word.size() &&
        (entry.length <= 8 || entry.word() == word.word))
      return at;
  }
}

WordTable::Entry& WordTable::find(const WordKey& word) {
  std::size_t at = find_slot(word);
  if (entries_[at].data) return entries_[at];
  if (size_ == UINT32_MAX) throw std::bad_alloc();
  if ((size_ + 1) * 2 > entries_.size()) {
    grow();
    at = find_slot(word);
  }
  Entry& entry = entries_[at];
  entry.data = store_bytes(word.word);
  entry.key = word.key;
  entry.length = uint32_t(word.word.size());
  entry.order = uint32_t(size_++);
  return entry;
}

const char* WordTable::store_bytes(std::string_view word) {
  constexpr std::size_t kChunk = std::size_t(1) << 18,
                        kBehind = 8;  // key_of may read a little more than the last word
  if (word.size() > bytes_left_) {
    const std::size_t room = std::max(kChunk, word.size());
    chunks_.push_back(std::make_unique<char[]>(room + kBehind));
    bytes_left_ = room;
    end_ = chunks_.back().get() + room;
  }
  char* to = end_ - bytes_left_;
  std::memcpy(to, word.data(), word.size());
  bytes_left_ -= word.size();
  return to;
}

const WordTable::Entry* WordTable::look_up(const WordKey& word) const {
  const Entry& entry = entries_[find_slot(word)];
  return entry.data ? &entry : nullptr;
}

void WordTable::grow() {
  std::vector<Entry> old(entries_.size() * 2);
  old.swap(entries_);
  mask_ = entries_.size() - 1;
  for (const Entry& entry : old)
    if (entry.data) entries_[find_slot(key_of(entry.word(), entry.data + entry.length))] = entry;
}

std::vector<WordCount> count_words(const CorpusFile& file, int threads, bool& interrupted) {
  std::vector<WordTable> tables(static_cast<std::size_t>(threads));
  interrupted = !run_parts(threads, [&](const Team& team, auto stop) {
    WordTable& table = tables[std::size_t(team.rank)] = WordTable(1 << 16);
    const auto word = [&](std::string_view text) {
      ++table.find(key_of(text, text.data() + text.size() + 8)).value;
    };
    for_each_word(file, team, word, [] {}, stop);
  });
  // Parts follow one another in the file: words that only a later part has come later.
  WordTable& all = tables[0];
  for (std::size_t n = 1; n < tables.size(); ++n) {
    std::vector<const WordTable::Entry*> arrived(tables[n].size());
    tables[n].for_each([&](const WordTable::Entry& entry) { arrived[entry.order] = &entry; });
    for (const WordTable::Entry* entry : arrived)
      all.find(key_of(entry->word(), entry->data + entry->length)).value += entry->value;
    tables[n] = WordTable();
  }
  std::vector<const WordTable::Entry*> sorted;
  sorted.reserve(all.size());
  all.for_each([&](const WordTable::Entry& entry) { sorted.push_back(&entry); });
  std::sort(sorted.begin(), sorted.end(), [](const WordTable::Entry* a, const WordTable::Entry* b) {
    return a->value != b->value ? a->value > b->value : a->order < b->order;
  });
  std::vector<WordCount> counts;
  counts.reserve(sorted.size());
  for (const WordTable::Entry* entry : sorted)
    counts.push_back({std::string(entry->word()), entry->value});
  return counts;
}

EncodedText encode_words(const CorpusFile& file, const WordTable& table, int64_t longest,
                         int threads, bool& interrupted) {
  std::vector<EncodedText> parts(static_cast<std::size_t>(threads));
  interrupted = !run_parts(threads, [&](const Team& team, auto stop) {
    EncodedText& mine = parts[std::size_t(team.rank)];
    for_each_word(
        file, team,
        [&](std::string_view word) {
          ++mine.words;
          if (const WordTable::Entry* entry =
                  table.look_up(key_of(word, word.data() + word.size() + 8)))
            mine.ids.push_back(int32_t(entry->value - 1));
        },
        [&] {
          // Lines without words take no memory.
          const auto end = int64_t(mine.ids.size());
          if (mine.sentences.empty() || mine.sentences.back() != end) mine.sentences.push_back(end);
        },
        stop);
  });
  EncodedText all;
  std::size_t count = 0;
  for (const EncodedText& part : parts) count += part.ids.size();
  all.ids.reserve(count);
  all.sentences.push_back(0);
  const auto end_sentence = [&](int64_t end) {
    while (end - all.sentences.back() > longest)
      all.sentences.push_back(all.sentences.back() + longest);
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
