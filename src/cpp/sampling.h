// Counter-based random numbers, and the distributions of the classes of sampled losses. Element i
// of a stream depends on its key and i only, whatever thread draws it.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "kernels/api.h"

namespace seqcore {

// Philox-4x32 with ten rounds (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3").
inline std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter,
                                      std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t a = uint64_t(0xD2511F53u) * counter[0], b = uint64_t(0xCD9E8D57u) * counter[2];
    counter = {uint32_t(b >> 32) ^ counter[1] ^ key[0], uint32_t(b),
               uint32_t(a >> 32) ^ counter[3] ^ key[1], uint32_t(a)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

// floor(x · n / 2^64), and the first 32 bits of its fraction.
inline uint64_t scaled(uint64_t x, uint64_t n, uint32_t* fraction = nullptr) {
  __extension__ using Wide = unsigned __int128;
  const Wide product = Wide(x) * n;
  if (fraction) *fraction = uint32_t(uint64_t(product) >> 32);
  return uint64_t(product >> 64);
}

// Draws k with probability weights[k] / Σ weights in constant time (Walker 1977, built as in Vose
// 1991): a slot is chosen uniformly, and then its own number or the other one that shares the slot.
struct AliasTable {
  std::vector<AliasSlot> slots;
  std::vector<double> probability, log_probability;  // e^-1000 has a logarithm but no double

  // weights: n >= 1 finite numbers >= 0, not all 0.
  AliasTable(const double* weights, Index n);

  Index size() const { return Index(slots.size()); }
  // From 64 random bits.
  int32_t draw(uint32_t high, uint32_t low) const {
    uint32_t fraction;
    const uint64_t slot = scaled(uint64_t(high) << 32 | low, slots.size(), &fraction);
    return fraction < slots[slot].threshold ? int32_t(slot) : slots[slot].alias;
  }
};

// A distribution over 0...classes-1.
class Distribution {
 public:
  // P(k) = (log(k + 2) - log(k + 1)) / log(classes + 1): Zipf's law over ranks.
  static Distribution log_uniform(Index classes);
  static Distribution uniform(Index classes);
  static Distribution of(const AliasTable& table);

  Index classes() const { return classes_; }
  // Classes that can be drawn at all.
  Index reachable() const;
  double probability(Index k) const;
  double log_probability(Index k) const;
  int64_t draw(uint32_t high, uint32_t low) const;

 private:
  enum class Kind { kLogUniform, kUniform, kTable };
  Distribution(Kind kind, Index classes);
  Kind kind_;
  Index classes_;
  double log_range_ = 0;
  const AliasTable* table_ = nullptr;
};

// The key of a series of draws: a seed, and the number of the call.
struct Draws {
  uint64_t seed, call;
};

// Fills out[0...count) with independent classes.
void draw_classes(const Distribution& from, const Draws& draws, Index count, int64_t* out,
                  const Team& team);
// Fills out with unique classes: drawn one after another, repetitions dropped. Returns the number
// of draws, or 0 if the user interrupted. `count` must not exceed from.reachable(). Where
// repetitions do not end, the rest is drawn by waiting times, with the number of draws that they
// represent.
double draw_unique_classes(const Distribution& from, const Draws& draws, Index count, int64_t* out,
                           const Team& team);

// The expected count of class k among `count` classes that took `tries` draws: p · count, or for
// unique classes the probability 1 - (1 - p)^tries that it is among them.
double expected_count(const Distribution& from, Index k, Index count, double tries, bool unique);

}  // namespace seqcore
