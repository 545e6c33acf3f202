// Random calls of the kernels alone, to be run under the sanitizers: arrays end where their
// allocation ends and start one element past 64-byte alignment, and results are held to plain
// loops.
//
// A family adds a file here with `const Check check("iou", 200, [](Random& random) { ... });`.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <limits>
#include <new>
#include <random>
#include <sstream>
#include <stdexcept>
#include <thread>
#include <vector>

#include "common/parallel.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#else
#define ASAN_POISON_MEMORY_REGION(address, size)
#define ASAN_UNPOISON_MEMORY_REGION(address, size)
#endif

namespace sightline::native {

// One case's numbers.
class Random {
 public:
  explicit Random(uint64_t seed) : engine_(seed) {}
  int64_t below(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(engine_); }
  bool chance(double p) { return uniform(0, 1) < p; }
  double uniform(double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(engine_);
  }
  template <class T>
  T pick(std::initializer_list<T> values) {
    return values.begin()[below(int64_t(values.size()))];
  }
  // Around the widths of vectors and tiles, and now and then large.
  int64_t size() {
    return chance(0.1) ? below(3000) : pick<int64_t>({0, 1, 2, 7, 15, 16, 17, 31, 63, 64, 65, 130});
  }

 private:
  std::mt19937_64 engine_;
};

// Exactly n elements, the first of them sizeof(T) past a multiple of 64. The element before them is
// poisoned where it fills the 8 bytes that ASan can tell apart.
template <class T>
class Buffer {
 public:
  explicit Buffer(int64_t n)
      : size_(n), base_(static_cast<T*>(::operator new((n + 1) * sizeof(T), kAligned))) {
    std::memset(static_cast<void*>(base_), 0xB7, (n + 1) * sizeof(T));  // what nobody wrote
    ASAN_POISON_MEMORY_REGION(base_, sizeof(T));
  }
  ~Buffer() {
    ASAN_UNPOISON_MEMORY_REGION(base_, sizeof(T));
    ::operator delete(base_, kAligned);
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  T* data() const { return base_ + 1; }
  int64_t size() const { return size_; }
  T& operator[](int64_t i) const { return data()[i]; }

 private:
  static constexpr std::align_val_t kAligned{64};
  int64_t size_;
  T* base_;
};

template <class T, class F>
void fill(const Buffer<T>& buffer, F value) {
  for (int64_t i = 0; i < buffer.size(); ++i) buffer[i] = T(value());
}

// [n, 4] xyxy; some whole numbers, so that overlaps tie, and some inverted, empty or not finite.
template <class T>
void fill_boxes(const Buffer<T>& boxes, Random& random) {
  const bool whole = random.chance(0.3), bad = random.chance(0.3);
  for (int64_t i = 0; i < boxes.size(); i += 4) {
    T* box = &boxes[i];
    for (int k = 0; k < 2; ++k) {
      const double low = random.uniform(-20, 60), side = random.uniform(0, 40);
      box[k] = T(whole ? std::int64_t(low) : low);
      box[k + 2] = box[k] + T(whole ? std::int64_t(side) : side);
    }
    if (bad && random.chance(0.2)) {
      const T big = std::numeric_limits<T>::max(), inf = std::numeric_limits<T>::infinity();
      box[random.below(4)] = random.pick<T>({T(0), big, -big, inf, -inf, big - big / T(8), T(-30),
                                             std::numeric_limits<T>::quiet_NaN()});
    }
  }
}

// Scores with ties, or without.
template <class T>
void fill_scores(const Buffer<T>& scores, Random& random) {
  const bool ties = random.chance(0.4);
  fill(scores, [&] { return ties ? random.below(8) / 8.0 : random.uniform(0, 1); });
}

// In one piece, or in pieces of odd sizes on two threads.
class Parallel {
 public:
  explicit Parallel(Random& random) : threads_(random.chance(0.5)) {}
  void operator()(int64_t n, int64_t, Range body) const {
    if (n <= 0) return;
    const int64_t middle = threads_ ? n / 3 : 0;
    if (middle == 0) return body(0, n);
    std::jthread other([&] { body(0, middle); });
    body(middle, n);
  }

 private:
  bool threads_;
};

template <class... Words>
void require(bool condition, const Words&... words) {
  if (condition) return;
  std::ostringstream said;
  (said << ... << words);
  throw std::runtime_error(said.str());
}

// Same bits, but for the sign of zero.
template <class T>
void require_equal(const Buffer<T>& got, const std::vector<T>& expected, const char* what) {
  require(got.size() == int64_t(expected.size()), what, ": another size");
  for (int64_t i = 0; i < got.size(); ++i)
    require(got[i] == expected[i], what, "[", i, "] of ", got.size(), ": got ", got[i],
            ", expected ", expected[i]);
}

struct Check {
  const char* name;
  int64_t cases;
  void (*run)(Random&);

  Check(const char* name, int64_t cases, void (*run)(Random&))
      : name(name), cases(cases), run(run) {
    all().push_back(this);
  }
  static std::vector<const Check*>& all() {
    static std::vector<const Check*> list;
    return list;
  }
};

}  // namespace sightline::native
