// Memory that a kernel needs on its way, where that may be much.
#pragma once

#include <cstdint>
#include <cstdio>
#include <memory>
#include <new>

namespace sightline {

// Says how much there was not; Python sees a MemoryError.
class OutOfMemory : public std::bad_alloc {
 public:
  OutOfMemory(int64_t count, int64_t bytes_each) noexcept {
    std::snprintf(text_, sizeof(text_), "sightline: no %.0f bytes for working memory",
                  static_cast<double>(count) * static_cast<double>(bytes_each));
  }
  const char* what() const noexcept override { return text_; }

 private:
  char text_[96];
};

// Not initialized.
template <class T>
std::unique_ptr<T[]> working_memory(int64_t count) {
  try {
    return std::make_unique_for_overwrite<T[]>(count);
  } catch (const std::bad_alloc&) {
    throw OutOfMemory(count, sizeof(T));
  }
}

}  // namespace sightline
