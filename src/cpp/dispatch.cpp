// CPU detection and the choice of a table.
#include "dispatch.h"

#include <cstdlib>
#include <stdexcept>

#include "variants.h"  // made by CMake: SEQCORE_VARIANTS lists the variants of this build, the simplest first

#define SEQCORE_DECLARE(name) \
  namespace isa_##name {      \
    extern const Table table; \
  }
namespace seqcore {
SEQCORE_VARIANTS(SEQCORE_DECLARE)

namespace {

struct Variant {
  const char* name;
  const Table* table;
};
#define SEQCORE_ENTRY(name) {#name, &isa_##name::table},
const Variant kVariants[] = {SEQCORE_VARIANTS(SEQCORE_ENTRY)};

bool runs_on_this_cpu(const std::string& name) {
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (name == "avx2") return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("fma");
  if (name == "avx512") return avx512;
#ifdef SEQCORE_BF16
  if (name == "avx512_bf16") return avx512 && __builtin_cpu_supports("avx512bf16");
#endif
#endif
  return name == "base";
}

std::string join(const std::vector<std::string>& names) {
  std::string text;
  for (const auto& name : names) text += (text.empty() ? "" : ", ") + name;
  return text;
}

const Table& choose() {
  const char* forced = std::getenv("SEQCORE_ISA");
  const Table* best = nullptr;
  std::vector<std::string> known;
  for (const Variant& variant : kVariants) {
    known.push_back(variant.name);
    if (forced && *forced && known.back() != forced) continue;
    if (runs_on_this_cpu(variant.name)) best = variant.table;
    if (forced && *forced && !best)
      throw std::runtime_error("SEQCORE_ISA: this CPU cannot run '" + std::string(forced) +
                               "'; it can run " + join(available_isas()));
  }
  if (!best)
    throw std::runtime_error("SEQCORE_ISA: expected one of " + join(known) + ", got '" +
                             std::string(forced) + "'");
  return *best;
}

}  // namespace

const Table& table() {
  static const Table& chosen = choose();
  return chosen;
}

std::vector<std::string> available_isas() {
  std::vector<std::string> names;
  for (const Variant& variant : kVariants)
    if (runs_on_this_cpu(variant.name)) names.push_back(variant.name);
  return names;
}

}  // namespace seqcore
