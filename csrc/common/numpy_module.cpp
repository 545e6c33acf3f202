#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
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

void OwnThreads::run(ParallelFor::How how, int64_t n, int64_t grain, Range body) {
  if (n <= 0) return;
  const int64_t most = how.serial ? 1 : num_threads.load();
  const int64_t tasks = std::clamp<int64_t>(n / std::max<int64_t>(grain, 1), 1, most);
  if (tasks == 1) {
    call_.run(0, n, grain, how.uncut, body);
    return call_.rethrow();
  }
  const auto part = [&](int64_t k) { return n / tasks * k + std::min(k, n % tasks); };
  std::mutex mutex;
  std::condition_variable ended;
  int64_t running = tasks - 1;
  {
    std::vector<std::jthread> threads;
    threads.reserve(tasks - 1);
    for (int64_t k = 1; k < tasks; ++k)
      threads.emplace_back([&, k] {
        call_.run(part(k), part(k + 1), grain, how.uncut, body);
        const std::lock_guard lock(mutex);
        if (--running == 0) ended.notify_one();
      });
    call_.run(0, part(1), grain, how.uncut, body);
    // The others may have more to do than this one, which alone can look for signals.
    std::unique_lock lock(mutex);
    while (!ended.wait_for(lock, std::chrono::milliseconds(50), [&] { return running == 0; })) {
      lock.unlock();
      call_.should_stop();
      lock.lock();
    }
  }
  call_.rethrow();
}

}  // namespace sightline

PYBIND11_MODULE(_numpy, m) {
  m.doc() = "The kernels on NumPy arrays. Use sightline.ops, which checks and converts arguments.";
  m.def("isa", &sightline::isa_name);
  m.def("set_num_threads", [](int64_t n) { sightline::num_threads = std::max<int64_t>(n, 1); });
  m.def("get_num_threads", &sightline::most_threads);
  for (const auto add : sightline::adders()) add(m);
}
