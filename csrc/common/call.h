// One call of an op, as the ParallelFor of an adapter keeps it: what must end before the call does,
// and what it throws then.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <exception>
#include <mutex>

#include "common/parallel.h"

namespace sightline {

class Call {
 public:
  Call() : caller_(this_thread()) {}
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  bool on_calling_thread() const { return this_thread() == caller_; }

  // On any thread; the calling one looks for signals now and then.
  bool should_stop() {
    return stopped_.load(std::memory_order_relaxed) || (on_calling_thread() && look_for_signals());
  }

  // body over [begin, end), in pieces between which the call may stop, unless it is to be uncut.
  // What it throws is kept.
  void run(int64_t begin, int64_t end, int64_t grain, bool uncut, Range body) noexcept;

  // Throws what stopped the call, if anything did.
  void rethrow() const {
    if (stopped_.load(std::memory_order_acquire)) std::rethrow_exception(error_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  static const void* this_thread() {
    static thread_local const char mark = 0;
    return &mark;
  }
  bool look_for_signals();
  void stop(std::exception_ptr error);

  const void* const caller_;
  int64_t asked_ = 0;  // of the calling thread alone, as is next_look_
  Clock::time_point next_look_{};
  std::mutex mutex_;
  std::exception_ptr error_;  // of the first that stopped the call
  std::atomic<bool> stopped_ = false;
};

}  // namespace sightline
