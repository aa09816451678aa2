// Alias tables, and drawing classes with and without replacement.
#include "sampling.h"

#include <algorithm>
#include <cmath>

namespace seqcore {
namespace {

// Keeps these draws apart from the dropout masks of the same seed, whose streams count from 0.
constexpr uint32_t kStream = 0x53414D50u;

// Draws 2g and 2g + 1 of a series.
std::array<uint32_t, 4> pair_of_draws(const Draws& draws, uint64_t g) {
  return philox({uint32_t(g), uint32_t(g >> 32) ^ uint32_t(draws.call >> 32), uint32_t(draws.call), kStream},
                {uint32_t(draws.seed), uint32_t(draws.seed >> 32)});
}

// The classes seen so far: open addressing, at most half full.
class Seen {
 public:
  explicit Seen(Index count) {
    size_t size = 16;
    while (size < 2 * size_t(count)) size *= 2;
    places_.assign(size, -1);
  }
  // Whether `id` is new.
  bool insert(int64_t id) {
    const size_t mask = places_.size() - 1;
    for (size_t at = size_t(uint64_t(id) * 0x9E3779B97F4A7C15u >> 32) & mask;; at = (at + 1) & mask) {
      if (places_[at] == id) return false;
      if (places_[at] < 0) {
        places_[at] = id;
        return true;
      }
    }
  }

 private:
  std::vector<int64_t> places_;
};

}  // namespace

AliasTable::AliasTable(const double* weights, Index n) : slots(size_t(n)), probability(weights, weights + n) {
  // The largest first, so that no sum overflows.
  const double largest = *std::max_element(weights, weights + n);
  double total = 0;
  for (double& p : probability) total += p /= largest;
  for (double& p : probability) p /= total;
  // Share of each slot that its own number keeps; 1 is a full slot.
  std::vector<double> share(probability);
  std::vector<int32_t> small, large;
  for (Index k = 0; k < n; ++k) {
    share[size_t(k)] *= double(n);
    (share[size_t(k)] < 1 ? small : large).push_back(int32_t(k));
    slots[size_t(k)] = {0xFFFFFFFFu, int32_t(k)};
  }
  while (!small.empty() && !large.empty()) {
    const int32_t less = small.back(), more = large.back();
    small.pop_back();
    const auto threshold = std::llround(share[size_t(less)] * 4294967296.0);
    // However rare, what has a weight can be drawn.
    slots[size_t(less)] = {uint32_t(std::clamp(threshold, share[size_t(less)] > 0 ? 1ll : 0ll, 0xFFFFFFFFll)), more};
    share[size_t(more)] -= 1 - share[size_t(less)];
    if (share[size_t(more)] < 1) {
      large.pop_back();
      small.push_back(more);
    }
  }
  // What rounding has left over keeps its slot, unless it can never be drawn.
  const auto certain = int32_t(std::max_element(weights, weights + n) - weights);
  for (const int32_t k : small)
    if (weights[k] == 0) slots[size_t(k)] = {0, certain};
}

Distribution::Distribution(Kind kind, Index classes) : kind_(kind), classes_(classes) {}

Distribution Distribution::log_uniform(Index classes) {
  Distribution made(Kind::kLogUniform, classes);
  made.log_range_ = std::log1p(double(classes));
  return made;
}

Distribution Distribution::uniform(Index classes) { return {Kind::kUniform, classes}; }

Distribution Distribution::of(const AliasTable& table) {
  Distribution made(Kind::kTable, table.size());
  made.table_ = &table;
  return made;
}

Index Distribution::reachable() const {
  if (kind_ != Kind::kTable) return classes_;
  return classes_ - std::count(table_->probability.begin(), table_->probability.end(), 0.0);
}

double Distribution::probability(Index k) const {
  switch (kind_) {
    case Kind::kLogUniform: return std::log1p(1 / double(k + 1)) / log_range_;
    case Kind::kUniform: return 1 / double(classes_);
    default: return table_->probability[size_t(k)];
  }
}

int64_t Distribution::draw(uint32_t high, uint32_t low) const {
  const uint64_t bits = uint64_t(high) << 32 | low;
  switch (kind_) {
    case Kind::kLogUniform: {
      const double u = double(bits >> 11) * 0x1p-53;
      return std::min(int64_t(std::exp(u * log_range_)) - 1, int64_t(classes_) - 1);
    }
    case Kind::kUniform: return int64_t(scaled(bits, uint64_t(classes_)));
    default: return table_->draw(high, low);
  }
}

void draw_classes(const Distribution& from, const Draws& draws, Index count, int64_t* out, const Team& team) {
  const Range pairs = share((count + 1) / 2, team);
  for (Index g = pairs.begin; g < pairs.end; ++g) {
    const auto bits = pair_of_draws(draws, uint64_t(g));
    out[2 * g] = from.draw(bits[0], bits[1]);
    if (2 * g + 1 < count) out[2 * g + 1] = from.draw(bits[2], bits[3]);
  }
}

Index draw_different_classes(const Distribution& from, const Draws& draws, Index count, int64_t* out, const Team& team) {
  constexpr Index kBetweenQuestions = Index(1) << 18;
  Seen seen(count);
  Index found = 0, tries = 0;
  while (found < count) {
    const auto bits = pair_of_draws(draws, uint64_t(tries / 2));
    for (size_t half = 0; half < 4 && found < count; half += 2, ++tries) {
      const int64_t id = from.draw(bits[half], bits[half + 1]);
      if (seen.insert(id)) out[found++] = id;
    }
    if (tries % kBetweenQuestions == 0 && team.interrupted(team.context)) return 0;
  }
  return tries;
}

double expected_count(double p, Index count, Index tries, bool unique) {
  return unique ? -std::expm1(double(tries) * std::log1p(-p)) : p * double(count);
}

}  // namespace seqcore
