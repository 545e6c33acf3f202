#include "common/call.h"

#include <algorithm>

#include "common/interpreter.h"

namespace sightline {
namespace {

// Ctrl-C is to act within a second. Looking takes the GIL, which another thread gives up within 5
// ms.
constexpr std::chrono::milliseconds kBetweenLooks(100);
// A call that has asked less often is over before a clock were worth its time.
constexpr int64_t kFirstLook = 4;
// Pieces grow until they take this long: then their number costs nothing.
constexpr std::chrono::milliseconds kPiece(10);

}  // namespace

void Call::run(int64_t begin, int64_t end, int64_t grain, bool uncut, Range body) noexcept {
  try {
    if (uncut || end - begin <= grain) {  // as in all small calls
      if (!should_stop()) body(begin, end);
      return;
    }
    int64_t size = std::max<int64_t>(grain, 1);
    while (begin < end && !should_stop()) {
      const auto started = Clock::now();
      const int64_t last = begin + std::min(size, end - begin);
      body(begin, last);
      begin = last;
      if (Clock::now() - started < kPiece) size = 2 * std::min(size, end - begin);
    }
  } catch (...) {
    stop(std::current_exception());
  }
}

bool Call::look_for_signals() {
  if (++asked_ < kFirstLook) return false;
  const auto now = Clock::now();
  if (now < next_look_) return false;
  const bool first = next_look_ == Clock::time_point();
  next_look_ = now + kBetweenLooks;
  if (first) return false;  // what has just begun is let go on
  std::exception_ptr error = exception_of_signals();
  if (error == nullptr) return false;
  stop(std::move(error));
  return true;
}

void Call::stop(std::exception_ptr error) {
  const std::lock_guard lock(mutex_);
  if (error_ != nullptr) return;
  error_ = std::move(error);
  stopped_.store(true, std::memory_order_release);
}

}  // namespace sightline
