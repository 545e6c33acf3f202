#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <system_error>

#include "evaluation/coco_json/window.h"

namespace sightline::evaluation::coco_json {

int64_t Source::read(int64_t offset, char* to, int64_t n) const {
  if (parallel_for != nullptr) parallel_for->throw_if_stopped();
  n = std::max<int64_t>(std::min(n, size - offset), 0);
  if (text != nullptr) {
    if (n > 0) std::memcpy(to, text + offset, n);
    return n;
  }
  int64_t done = 0;
  while (done < n) {
    const ssize_t got = pread(descriptor, to + done, n - done, offset + done);
    if (got == 0) break;
    if (got > 0) {
      done += got;
    } else if (errno != EINTR) {
      throw std::system_error(errno, std::generic_category(), "cannot read");
    }
  }
  return done;
}

const char* Window::fill(const char* p) {
  const int64_t kept = end() - p;
  base_ = offset(p);
  if (2 * kept > capacity_ || capacity_ == 0) {
    capacity_ = std::max(2 * capacity_, kCapacity);
    std::unique_ptr<char[]> larger(new char[capacity_ + kPadding]);
    if (kept > 0) std::memcpy(larger.get(), p, kept);
    buffer_ = std::move(larger);
  } else if (kept > 0) {
    std::memmove(buffer_.get(), p, kept);
  }
  const int64_t wanted = std::min(capacity_ - kept, size_ - base_ - kept);
  const int64_t got = source_->read(base_ + kept, buffer_.get() + kept, wanted);
  length_ = kept + got;
  if (got < wanted) size_ = base_ + length_;
  std::memset(buffer_.get() + length_, 0, kPadding);
  return begin();
}

const char* Window::seek(int64_t offset) {
  base_ = offset;
  length_ = 0;
  return fill(begin());
}

}  // namespace sightline::evaluation::coco_json
