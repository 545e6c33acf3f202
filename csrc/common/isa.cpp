#include "common/isa.h"

#include <cstdlib>
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

// A level that the machine lacks, or an unknown word, gives the widest it has.
Isa choose() {
  const Isa widest = widest_of_machine();
  const char* forced = std::getenv("SIGHTLINE_ISA");
  if (forced == nullptr) return widest;
  const std::string_view name(forced);
  if (name == "baseline") return Isa::kBaseline;
  if (name == "avx2" && widest != Isa::kBaseline) return Isa::kAvx2;
  return widest;
}

}  // namespace

Isa isa() {
  static const Isa chosen = choose();
  return chosen;
}

const char* isa_name() {
  static constexpr const char* kNames[] = {"baseline", "avx2", "avx512"};
  return kNames[static_cast<int>(isa())];
}

}  // namespace sightline
