// One allocation cut into the arrays that a CUDA op needs on the way.
#pragma once

#include <cstdint>

namespace sightline {

// Without memory it measures: the same calls of take() then give the bytes to allocate.
class Workspace {
 public:
  explicit Workspace(void* memory = nullptr) : memory_(static_cast<char*>(memory)) {}

  template <class T>
  T* take(int64_t count) {
    constexpr int64_t kAlignment = 256;  // what CUB asks for, and whole cache lines
    char* const start = memory_ == nullptr ? nullptr : memory_ + bytes_;
    bytes_ += (count * int64_t{sizeof(T)} + kAlignment - 1) / kAlignment * kAlignment;
    return reinterpret_cast<T*>(start);
  }
  int64_t bytes() const { return bytes_; }

 private:
  char* memory_;
  int64_t bytes_ = 0;
};

// The size of the workspace of Buffers, whose constructor takes a Workspace and these arguments.
template <class Buffers, class... Arguments>
int64_t workspace_bytes(const Arguments&... arguments) {
  Workspace measure;
  Buffers(measure, arguments...);
  return measure.bytes();
}

}  // namespace sightline
