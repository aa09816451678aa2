// Alias tables, and drawing classes with and without replacement.
#include "sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>

#include "workspace.h"

namespace seqcore {
namespace {

// Separates these draws from the dropout masks of the same seed, whose streams count from 0.
constexpr uint32_t kStream = 0x53414D50u;

// Draws 2g and 2g + 1 of a series.
std::array<uint32_t, 4> pair_of_draws(const Draws& draws, uint64_t g) {
  return philox(
      {uint32_t(g), uint32_t(g >> 32) ^ uint32_t(draws.call >> 32), uint32_t(draws.call), kStream},
      {uint32_t(draws.seed), uint32_t(draws.seed >> 32)});
}

// The classes seen so far: open addressing, at most half full.
class SeenClasses {
 public:
  explicit SeenClasses(Index count) {
    while (size_ < 2 * size_t(count)) size_ *= 2;
    places_ = pool_alloc_array<int64_t>(Index(size_));
    std::fill_n(places_.get(), size_, -1);
  }
  // Inserts `id`; true if it is new.
  bool insert(int64_t id) {
    int64_t& place = place_of(id);
    if (place == id) return false;
    place = id;
    return true;
  }
  bool holds(int64_t id) { return place_of(id) == id; }

 private:
  // The place of `id`, or the free place for it.
  int64_t& place_of(int64_t id) {
    const size_t mask = size_ - 1;
    size_t at = size_t(uint64_t(id) * 0x9E3779B97F4A7C15u >> 32) & mask;
    while (places_.get()[at] >= 0 && places_.get()[at] != id) at = (at + 1) & mask;
    return places_.get()[at];
  }

  size_t size_ = 16;
  std::shared_ptr<int64_t> places_;
};

constexpr Index kDrawsPerPoll = Index(1) << 18;  // some 5 ms between interrupt checks

// Draws the next `count` new classes; returns the number of draws until the last of them, or 0 if
// the user interrupted. In a Poisson process of draws with rate 1, class k first occurs after an
// exponential time with mean 1 / p(k), independently of the others, so the earliest times are those
// of successive draws without replacement (Efraimidis & Spirakis 2006). In logarithms, since p may
// be smaller than any double.
double draw_by_waiting_times(const Distribution& from, const Draws& draws, SeenClasses& seen,
                             Index count, int64_t* out, const Team& team) {
  using Arrival = std::pair<double, int64_t>;  // log of the time, class
  std::vector<Arrival> first;  // a heap of the earliest so far
  for (Index k = 0; k < from.classes(); ++k) {
    if (k % kDrawsPerPoll == 0 && team.interrupted(team.context)) return 0;
    const double log_p = from.log_probability(k);
    if (std::isinf(log_p) || seen.holds(k)) continue;
    // Counters that no draw of this series uses.
    const auto bits = pair_of_draws(draws, ~uint64_t(k));
    const double u = (double((uint64_t(bits[0]) << 32 | bits[1]) >> 11) + 0.5) * 0x1p-53;
    const Arrival arrival{std::log(-std::log(u)) - log_p, k};
    if (Index(first.size()) == count) {
      if (arrival >= first.front()) continue;
      std::pop_heap(first.begin(), first.end());
      first.pop_back();
    }
    first.push_back(arrival);
    std::push_heap(first.begin(), first.end());
  }
  std::sort_heap(first.begin(), first.end());
  for (const Arrival& arrival : first) *out++ = arrival.second;
  return std::min(std::exp(first.back().first), std::numeric_limits<double>::max());
}

}  // namespace

AliasTable::AliasTable(const double* weights, Index n)
    : slots(size_t(n)), probability(weights, weights + n) {
  // The largest first, so that no sum overflows.
  const double largest = *std::max_element(weights, weights + n);
  double total = 0;
  for (double& p : probability) total += p /= largest;
  for (double& p : probability) p /= total;
  for (Index k = 0; k < n; ++k)
    log_probability.push_back(std::log(weights[k]) - std::log(largest) - std::log(total));
  // The part of each slot that belongs to its own class; 1 is a full slot.
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
    // Every class with a weight can be drawn, however rare.
    slots[size_t(less)] = {
        uint32_t(std::clamp(threshold, share[size_t(less)] > 0 ? 1ll : 0ll, 0xFFFFFFFFll)), more};
    share[size_t(more)] -= 1 - share[size_t(less)];
    if (share[size_t(more)] < 1) {
      large.pop_back();
      small.push_back(more);
    }
  }
  // Classes left over by rounding keep their slot, unless their weight is 0.
  const auto certain = int32_t(std::max_element(weights, weights + n) - weights);
  for (const int32_t k : small)
    if (probability[size_t(k)] == 0) slots[size_t(k)] = {0, certain};
}

Distribution::Distribution(Kind kind, Index classes) : kind_(kind), classes_(classes) {}

Distribution Distribution::log_uniform(Index classes) {
  Distribution result(Kind::kLogUniform, classes);
  result.log_range_ = std::log1p(double(classes));
  return result;
}

Distribution Distribution::uniform(Index classes) { return {Kind::kUniform, classes}; }

Distribution Distribution::of(const AliasTable& table) {
  Distribution result(Kind::kTable, table.size());
  result.table_ = &table;
  return result;
}

Index Distribution::reachable() const {
  if (kind_ != Kind::kTable) return classes_;
  const auto& all = table_->log_probability;
  return classes_ - std::count(all.begin(), all.end(), -std::numeric_limits<double>::infinity());
}

double Distribution::probability(Index k) const {
  switch (kind_) {
    case Kind::kLogUniform: return std::log1p(1 / double(k + 1)) / log_range_;
    case Kind::kUniform: return 1 / double(classes_);
    default: return table_->probability[size_t(k)];
  }
}

double Distribution::log_probability(Index k) const {
  return kind_ == Kind::kTable ? table_->log_probability[size_t(k)] : std::log(probability(k));
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

void draw_classes(const Distribution& from, const Draws& draws, Index count, int64_t* out,
                  const Team& team) {
  const Range pairs = split_range((count + 1) / 2, team);
  for (Index g = pairs.begin; g < pairs.end; ++g) {
    const auto bits = pair_of_draws(draws, uint64_t(g));
    out[2 * g] = from.draw(bits[0], bits[1]);
    if (2 * g + 1 < count) out[2 * g + 1] = from.draw(bits[2], bits[3]);
  }
}

double draw_unique_classes(const Distribution& from, const Draws& draws, Index count, int64_t* out,
                           const Team& team) {
  constexpr Index kMaxRepetitions = Index(1) << 20;  // in a row: about 20 ms
  SeenClasses seen(count);
  Index filled = 0, tries = 0, last_new = 0;
  while (filled < count) {
    const auto bits = pair_of_draws(draws, uint64_t(tries / 2));
    for (size_t half = 0; half < 4 && filled < count; half += 2, ++tries) {
      const int64_t id = from.draw(bits[half], bits[half + 1]);
      if (!seen.insert(id)) continue;
      out[filled++] = id;
      last_new = tries;
    }
    if (tries % kDrawsPerPoll == 0 && team.interrupted(team.context)) return 0;
    if (tries - last_new > kMaxRepetitions) {
      const double more =
          draw_by_waiting_times(from, draws, seen, count - filled, out + filled, team);
      return more ? double(tries) + more : 0;
    }
  }
  return double(tries);
}

double expected_count(const Distribution& from, Index k, Index count, double tries, bool unique) {
  const double p = from.probability(k);
  if (!unique) return p * double(count);
  constexpr double kSmallest = std::numeric_limits<double>::min();
  // A smaller p is a denormal number, which is flushed, or 0: 1 - (1 - p)^tries is then
  // 1 - e^(-p · tries).
  if (p >= kSmallest) return -std::expm1(tries * std::log1p(-p));
  const double log_p = from.log_probability(k);
  return std::isinf(log_p) ? 0
                           : std::max(-std::expm1(-std::exp(log_p + std::log(tries))), kSmallest);
}

}  // namespace seqcore
