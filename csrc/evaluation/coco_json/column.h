// Columns that grow while a file is read, and that an array may take over.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <unordered_map>
#include <utility>
#include <vector>

#include "common/memory.h"

namespace sightline::evaluation::coco_json {

// malloc's memory: realloc of what is large moves pages instead of bytes, and what was never
// written takes no memory.
template <class T>
class Column {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  Column() = default;
  Column(Column&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)),
        size_(std::exchange(other.size_, 0)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Column& operator=(Column&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Column() { std::free(data_); }

  T* data() { return data_; }
  const T* data() const { return data_; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) { return data_[i]; }
  T operator[](int64_t i) const { return data_[i]; }

  void reserve(int64_t n) {
    if (n > capacity_) grow(n);
  }
  // The same for the last time, if the estimate n is right: what is large is then in huge pages,
  // which take half the time to be written first.
  void reserve_huge(int64_t n) {
    const int64_t bytes =
        (n * int64_t{sizeof(T)} + kHugePageBytes - 1) / kHugePageBytes * kHugePageBytes;
    if (n <= capacity_) return;
    if (bytes == kHugePageBytes) return grow(n);
    void* const memory = std::aligned_alloc(kHugePageBytes, bytes);
    if (memory == nullptr) throw std::bad_alloc();
    advise_huge_pages(memory, bytes, 0);
    if (capacity_ > 0) std::memcpy(memory, data_, capacity_ * sizeof(T));
    std::free(data_);
    data_ = static_cast<T*>(memory);
    capacity_ = bytes / int64_t{sizeof(T)};
  }
  // What is new is not initialised.
  void resize(int64_t n) {
    reserve(n);
    size_ = n;
  }
  void push(T value) {
    reserve(size_ + 1);
    data_[size_++] = value;
  }
  void append(const T* values, int64_t n) {
    if (n == 0) return;
    reserve(size_ + n);
    std::memcpy(data_ + size_, values, n * sizeof(T));
    size_ += n;
  }
  // The memory, to be freed with std::free.
  T* release() {
    size_ = capacity_ = 0;
    return std::exchange(data_, nullptr);
  }

 private:
  void grow(int64_t n) {
    const int64_t capacity = n > 2 * capacity_ ? n : 2 * capacity_;
    void* const moved = std::realloc(data_, capacity * sizeof(T));
    if (moved == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(moved);
    capacity_ = capacity;
  }

  T* data_ = nullptr;
  int64_t size_ = 0;
  int64_t capacity_ = 0;
};

// Strings, each once, in the order of their first use.
class Names {
 public:
  int64_t intern(std::string_view text) {
    const auto [at, added] = index_.try_emplace(std::string(text), int64_t(list_.size()));
    if (added) list_.push_back(at->first);
    return at->second;
  }
  const std::vector<std::string>& list() const { return list_; }

 private:
  std::unordered_map<std::string, int64_t> index_;
  std::vector<std::string> list_;
};

}  // namespace sightline::evaluation::coco_json
