#include <algorithm>
#include <atomic>
#include <exception>
#include <thread>
#include <vector>

#include "common/isa.h"
#include "common/numpy.h"

namespace sightline {
namespace {

std::vector<void (*)(py::module_&)>& adders() {
  static std::vector<void (*)(py::module_&)> list;
  return list;
}

std::atomic<int64_t> num_threads = std::max(1u, std::thread::hardware_concurrency());

}  // namespace

AddToModule::AddToModule(void (*add)(py::module_&)) { adders().push_back(add); }

int64_t most_threads() { return num_threads; }

void run_on_threads(int64_t n, int64_t grain, Range body) {
  if (n <= 0) return;
  const int64_t tasks = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, num_threads);
  const auto part = [&](int64_t k) { return n / tasks * k + std::min(k, n % tasks); };
  std::vector<std::exception_ptr> errors(tasks);
  const auto run = [&](int64_t k) {
    try {
      body(part(k), part(k + 1));
    } catch (...) {
      errors[k] = std::current_exception();
    }
  };
  {
    std::vector<std::jthread> threads;
    threads.reserve(tasks - 1);
    for (int64_t k = 1; k < tasks; ++k) threads.emplace_back(run, k);
    run(0);
  }
  for (const auto& error : errors)
    if (error) std::rethrow_exception(error);
}

}  // namespace sightline

PYBIND11_MODULE(_numpy, m) {
  m.doc() = "The kernels on NumPy arrays. Use sightline.ops, which checks and converts arguments.";
  m.def("isa", &sightline::isa_name);
  m.def("set_num_threads", [](int64_t n) { sightline::num_threads = std::max<int64_t>(n, 1); });
  m.def("get_num_threads", &sightline::most_threads);
  for (const auto add : sightline::adders()) add(m);
}
