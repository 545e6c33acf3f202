// One kernel body, compiled for several x86 instruction sets, chosen once at run time.
#pragma once

#include "common/macros.h"

namespace sightline {

enum class Isa { kBaseline, kAvx2, kAvx512 };

// The widest this machine has, or what SIGHTLINE_ISA=baseline|avx2|avx512 asks for. Throws
// invalid_argument for another word, and for a level that the machine lacks.
Isa isa();
const char* isa_name();

#if defined(__x86_64__)
template <class Kernel, class... Args>
[[gnu::target("avx2,fma,f16c,bmi,bmi2"), gnu::noinline]] void run_avx2(Args... args) {
  if constexpr (requires { Kernel::template run_at<Isa::kAvx2>(args...); }) {
    Kernel::template run_at<Isa::kAvx2>(args...);
  } else {
    Kernel::run(args...);
  }
}
template <class Kernel, class... Args>
[[gnu::target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c,bmi,bmi2"), gnu::noinline]] void
run_avx512(Args... args) {
  if constexpr (requires { Kernel::template run_at<Isa::kAvx512>(args...); }) {
    Kernel::template run_at<Isa::kAvx512>(args...);
  } else {
    Kernel::run(args...);
  }
}
#endif

// A kernel that must know its level has run_at<level> instead of run. Either must be
// SIGHTLINE_INLINE: what it calls and does not inline runs as
// baseline code.
template <class Kernel, class... Args>
void run_for_isa(Args... args) {
#if defined(__x86_64__)
  switch (isa()) {
    case Isa::kAvx512:
      return run_avx512<Kernel>(args...);
    case Isa::kAvx2:
      return run_avx2<Kernel>(args...);
    case Isa::kBaseline:
      break;
  }
#endif
  if constexpr (requires { Kernel::template run_at<Isa::kBaseline>(args...); }) {
    Kernel::template run_at<Isa::kBaseline>(args...);
  } else {
    Kernel::run(args...);
  }
}

}  // namespace sightline
