#include "common/isa.h"

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

namespace sightline {
namespace {

Isa widest_of_machine() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                    __builtin_cpu_supports("f16c") && __builtin_cpu_supports("bmi2");
  const bool avx512 = __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl");
  if (avx2) return avx512 ? Isa::kAvx512 : Isa::kAvx2;
#endif
  return Isa::kBaseline;
}

constexpr const char* kNames[] = {"baseline", "avx2", "avx512"};

Isa choose() {
  const Isa widest = widest_of_machine();
  const char* const forced = std::getenv("SIGHTLINE_ISA");
  if (forced == nullptr || *forced == '\0') return widest;
  for (const Isa level : {Isa::kBaseline, Isa::kAvx2, Isa::kAvx512}) {
    if (std::string_view(forced) != kNames[static_cast<int>(level)]) continue;
    if (level <= widest) return level;
    throw std::invalid_argument(std::string("SIGHTLINE_ISA=") + forced +
                                ": this CPU has no more than " + kNames[static_cast<int>(widest)] +
                                ": unset it");
  }
  throw std::invalid_argument(std::string("SIGHTLINE_ISA must be baseline, avx2 or avx512, got '") +
                              forced + "'");
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name() { return kNames[static_cast<int>(isa())]; }

}  // namespace sightline
