// The workspace of an op under test.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>

namespace cuda_on_cpu {

// Of exactly the size asked for, full of garbage, with a fence that must be whole at the end.
class WorkspaceMemory {
 public:
  explicit WorkspaceMemory(int64_t bytes)
      : bytes_(bytes), memory_(new unsigned char[bytes + kFence + kAlignment]) {
    std::memset(memory_.get(), kGarbage, bytes + kFence + kAlignment);
  }
  void* get() {
    const auto p = reinterpret_cast<uintptr_t>(memory_.get());
    return reinterpret_cast<void*>((p + kAlignment - 1) / kAlignment * kAlignment);
  }
  bool fence_is_whole() {
    const auto* const end = static_cast<unsigned char*>(get()) + bytes_;
    for (int64_t i = 0; i < kFence; ++i)
      if (end[i] != kGarbage) return false;
    return true;
  }

 private:
  static constexpr int64_t kFence = 256, kAlignment = 256;
  static constexpr unsigned char kGarbage = 0xc7;
  int64_t bytes_;
  std::unique_ptr<unsigned char[]> memory_;
};

}  // namespace cuda_on_cpu
