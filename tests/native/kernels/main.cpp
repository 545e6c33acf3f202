// kernel_checks [name [case]]: every check, or one, or one case of it.
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string_view>

#include "check.h"
#include "common/isa.h"

using namespace sightline;
using namespace sightline::native;

int main(int argc, char** argv) {
  const std::string_view only = argc > 1 ? argv[1] : "";
  bool found = false;
  for (const Check* check : Check::all()) {
    if (!only.empty() && only != check->name) continue;
    found = true;
    const int64_t first = argc > 2 ? std::atoll(argv[2]) : 0;
    const int64_t last = argc > 2 ? first + 1 : check->cases;
    for (int64_t i = first; i < last; ++i) {
      try {
        Random random(static_cast<uint64_t>(i));
        check->run(random);
      } catch (const std::exception& error) {
        std::fprintf(stderr, "%s, case %lld at %s: %s\n", check->name, static_cast<long long>(i),
                     isa_name(), error.what());
        return 1;
      }
    }
    std::printf("%s: %lld cases at %s\n", check->name, static_cast<long long>(last - first),
                isa_name());
  }
  if (!found) std::fprintf(stderr, "no check %s\n", argc > 1 ? argv[1] : "");
  return found ? 0 : 1;
}
