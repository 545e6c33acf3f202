// A column that grows, and whose memory arrays may show while it does.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

namespace sightline::evaluation::store {

// Memory of a column, held by it and by every array that shows it.
class SharedMemory {
 public:
  SharedMemory() = default;
  explicit SharedMemory(std::size_t bytes) : data_(std::malloc(bytes)) {
    if (data_ == nullptr) throw std::bad_alloc();
  }
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { std::free(data_); }
  void resize(std::size_t bytes) {
    void* data = std::realloc(data_, bytes);
    if (data == nullptr) throw std::bad_alloc();
    data_ = data;
  }
  void* data() const { return data_; }

 private:
  void* data_ = nullptr;
};

// Where no array shows it a column grows in place: realloc moves the pages of large blocks
// rather than their bytes. Otherwise it moves to new memory and leaves the old to the arrays. Rows
// that were shown are never written again.
template <class T>
class Column {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  int64_t size() const { return size_; }
  const T* data() const { return memory_ ? static_cast<const T*>(memory_->data()) : nullptr; }
  const T& operator[](int64_t i) const { return data()[i]; }
  T back_or(T other) const { return size_ == 0 ? other : data()[size_ - 1]; }
  std::shared_ptr<const void> owner() const { return memory_; }

  // Appends n elements and returns where they are to be written.
  T* extend(int64_t n) {
    if (size_ + n > capacity_) grow(size_ + n);
    T* end = memory_ ? static_cast<T*>(memory_->data()) + size_ : nullptr;
    size_ += n;
    return end;
  }
  void append(T value) { *extend(1) = value; }
  void append(const T* values, int64_t n) {
    T* end = extend(n);
    if (n > 0) std::memcpy(end, values, n * sizeof(T));
  }
  // Takes back what was appended since it had this size, before anything could be shown.
  void truncate(int64_t size) { size_ = std::min(size_, size); }

 private:
  static constexpr int64_t kFirst = 256;

  void grow(int64_t needed) {
    const int64_t capacity = std::max({needed, capacity_ + capacity_ / 2, kFirst});
    if (memory_ && memory_.use_count() == 1) {
      memory_->resize(capacity * sizeof(T));
    } else {
      auto memory = std::make_shared<SharedMemory>(capacity * sizeof(T));
      if (size_ > 0) std::memcpy(memory->data(), data(), size_ * sizeof(T));
      memory_ = std::move(memory);
    }
    capacity_ = capacity;
  }

  std::shared_ptr<SharedMemory> memory_;
  int64_t size_ = 0, capacity_ = 0;
};

}  // namespace sightline::evaluation::store
