#include <algorithm>
#include <bit>
#include <numeric>

#include "evaluation/store/store.h"

namespace sightline::evaluation::store {
namespace {

uint64_t mixed(uint64_t x) {  // the finaliser of splitmix64
  x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
  x = (x ^ x >> 27) * 0x94d049bb133111ebu;
  return x ^ x >> 31;
}

uint64_t hash_of(const ImageId& id) {
  return mixed(id.is_text ? std::hash<std::string_view>{}(id.text)
                          : static_cast<uint64_t>(id.number));
}

// Text by code point, as Python sorts it: the order of bytes in UTF-8.
bool less(const ImageId& a, const ImageId& b) {
  return a.is_text ? a.text < b.text : a.number < b.number;
}

bool equal(const ImageId& a, const ImageId& b) {
  return a.is_text ? a.text == b.text : a.number == b.number;
}

}  // namespace

ImageId ImageIds::operator[](int64_t image) const {
  if (!is_text_) return {.is_text = false, .number = numbers_[image], .text = {}};
  const int64_t begin = image == 0 ? 0 : text_ends_[image - 1];
  return {.is_text = true,
          .number = 0,
          .text = {text_.data() + begin, static_cast<std::size_t>(text_ends_[image] - begin)}};
}

int64_t ImageIds::slot_of(const ImageId& id) const {
  const uint64_t mask = slots_.size() - 1;
  uint64_t slot = hash_of(id) & mask;
  while (slots_[slot] != 0 && !equal((*this)[int64_t{slots_[slot]} - 1], id))
    slot = (slot + 1) & mask;
  return static_cast<int64_t>(slot);
}

int64_t ImageIds::find(const ImageId& id) const {
  if (slots_.empty() || id.is_text != is_text_) return -1;
  return int64_t{slots_[slot_of(id)]} - 1;
}

void ImageIds::index_again(int64_t num_slots) {
  slots_.assign(num_slots, 0);
  for (int64_t image = 0; image < size(); ++image)
    slots_[slot_of((*this)[image])] = static_cast<uint32_t>(image + 1);
}

bool ImageIds::append(const ImageId& id) {
  const int64_t count = size();
  if (count == 0) is_text_ = id.is_text;
  if (id.is_text != is_text_ || count >= UINT32_MAX - 1) return false;
  if (2 * (count + 1) > static_cast<int64_t>(slots_.size()))
    index_again(std::bit_ceil(static_cast<uint64_t>(2 * (count + 1))));
  const int64_t slot = slot_of(id);
  if (slots_[slot] != 0) return false;
  if (first_descent_ < 0 && count > 0 && less(id, (*this)[count - 1])) first_descent_ = count;
  if (is_text_) {
    text_.append(id.text.data(), static_cast<int64_t>(id.text.size()));
    text_ends_.append(text_.size());
  } else {
    numbers_.append(id.number);
  }
  slots_[slot] = static_cast<uint32_t>(count + 1);
  return true;
}

// The last id in is the first out: no later one was moved past the slot that it leaves.
void ImageIds::truncate(int64_t size) {
  while (this->size() > size) {
    const int64_t last = this->size() - 1;
    slots_[slot_of((*this)[last])] = 0;
    numbers_.truncate(last);
    text_ends_.truncate(last);
  }
  text_.truncate(text_ends_.back_or(0));
  if (first_descent_ >= size) first_descent_ = -1;
}

std::vector<int64_t> ImageIds::order() const {
  std::vector<int64_t> order(size());
  std::iota(order.begin(), order.end(), int64_t{0});
  std::sort(order.begin(), order.end(),
            [this](int64_t a, int64_t b) { return less((*this)[a], (*this)[b]); });
  return order;
}

void ImageIds::reorder(const std::vector<int64_t>& order) {
  ImageIds sorted;
  sorted.is_text_ = is_text_;
  for (const int64_t image : order) {
    const ImageId id = (*this)[image];
    if (is_text_) {
      sorted.text_.append(id.text.data(), static_cast<int64_t>(id.text.size()));
      sorted.text_ends_.append(sorted.text_.size());
    } else {
      sorted.numbers_.append(id.number);
    }
  }
  sorted.index_again(static_cast<int64_t>(slots_.size()));
  *this = std::move(sorted);
}

int64_t ImageIds::nbytes() const {
  return 8 * (numbers_.size() + text_ends_.size()) + text_.size() +
         4 * static_cast<int64_t>(slots_.size());
}

}  // namespace sightline::evaluation::store
