#include <algorithm>
#include <memory>
#include <vector>

#include "assign/ssd/ssd.h"
#include "common/isa.h"
#include "common/working_memory.h"
#include "iou/maxima/maxima.h"

namespace sightline::assign::ssd {
namespace {

constexpr int64_t kTile = 256;
constexpr int64_t kPairsPerTask = 1 << 17;
// Pairs that are remembered when an object has lost its best anchor: objects in one place would
// otherwise look through all anchors at every turn.
constexpr int64_t kCandidates = 32;

// Anchors, one array per field, each padded to whole tiles with boxes that lie nowhere.
template <class T>
struct AnchorColumns {
  int64_t size;  // with the padding
  std::unique_ptr<T[]> memory;
  T *x1, *y1, *x2, *y2, *area;

  AnchorColumns(const T* anchors, int64_t n)
      : size((n + kTile - 1) / kTile * kTile),
        memory(working_memory<T>(5 * size)),
        x1(memory.get()),
        y1(x1 + size),
        x2(y1 + size),
        y2(x2 + size),
        area(y2 + size) {
    const T nowhere[4] = {std::numeric_limits<T>::quiet_NaN(), 0, 0, 0};
    for (int64_t a = 0; a < size; ++a) {
      const Box<T> b = load_box(a < n ? anchors + 4 * a : nowhere);
      x1[a] = b.x1, y1[a] = b.y1, x2[a] = b.x2, y2[a] = b.y2, area[a] = b.area;
    }
  }
};

struct OverlapsOfObject {
  template <class T>
  SIGHTLINE_INLINE static void run(const AnchorColumns<T>* anchors, const T* object_box,
                                   T* overlaps /* [anchors->size] */) {
    const Box<T> object = load_box(object_box);
    const T *const x1 = anchors->x1, *const y1 = anchors->y1, *const x2 = anchors->x2,
                   *const y2 = anchors->y2, *const area = anchors->area;
    SIGHTLINE_INDEPENDENT
    for (int64_t a = 0; a < anchors->size; ++a)
      overlaps[a] = iou_of(Box<T>{x1[a], y1[a], x2[a], y2[a], area[a], T(0)}, object);
  }
};

template <class T>
class Image {
 public:
  Image(const AnchorColumns<T>& anchors, const T* objects, int64_t num_objects, int64_t* out)
      : anchors_(anchors), objects_(objects), num_objects_(num_objects), out_(out) {}

  void pair_bipartite(const T* best, const int64_t* best_anchor, ParallelFor parallel_for) {
    std::vector<SsdPair<T>> heap;
    for (int64_t g = 0; g < num_objects_; ++g)
      if (best_anchor[g] >= 0) heap.push_back({best[g], best_anchor[g], g});
    const auto later = [](const auto& a, const auto& b) { return b.before(a); };
    std::make_heap(heap.begin(), heap.end(), later);
    taken_.assign(anchors_.size, 0);
    left_.resize(num_objects_);
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), later);
      const SsdPair<T> pair = heap.back();
      heap.pop_back();
      if (!taken_[pair.anchor]) {
        taken_[pair.anchor] = 1;
        out_[pair.anchor] = pair.object;
        continue;
      }
      // What is left to this object comes later than what it wanted: the heap stays in order.
      parallel_for.throw_if_stopped();
      const SsdPair<T> next = next_of(pair.object);
      if (next.anchor < 0) continue;
      heap.push_back(next);
      std::push_heap(heap.begin(), heap.end(), later);
    }
  }

  void pair_overwriting(const int64_t* best_anchor) {
    for (int64_t g = 0; g < num_objects_; ++g)
      if (is_object(objects_ + 4 * g)) out_[std::max<int64_t>(best_anchor[g], 0)] = g;
  }

 private:
  // The best pair of an object with an anchor that no object has; its anchor is -1 where none is.
  SsdPair<T> next_of(int64_t object) {
    std::vector<SsdPair<T>>& left = left_[object];  // worst first
    while (!left.empty() && taken_[left.back().anchor]) left.pop_back();
    if (left.empty()) find_left(object);
    return left.empty() ? SsdPair<T>{T(0), -1, object} : left.back();
  }

  void find_left(int64_t object) {
    overlaps_.resize(anchors_.size);
    run_for_isa<OverlapsOfObject>(&anchors_, objects_ + 4 * object, overlaps_.data());
    candidates_.clear();
    for (int64_t a = 0; a < anchors_.size; ++a)
      if (overlaps_[a] > T(0) && !taken_[a]) candidates_.push_back({overlaps_[a], a, object});
    const int64_t count = std::min<int64_t>(candidates_.size(), kCandidates);
    std::partial_sort(candidates_.begin(), candidates_.begin() + count, candidates_.end(),
                      [](const auto& a, const auto& b) { return a.before(b); });
    left_[object].assign(candidates_.rend() - count, candidates_.rend());
  }

  const AnchorColumns<T>& anchors_;
  const T* objects_;
  int64_t num_objects_;
  int64_t* out_;
  std::vector<uint8_t> taken_;                 // [anchors]
  std::vector<std::vector<SsdPair<T>>> left_;  // [objects]: at most kCandidates each
  std::vector<T> overlaps_;                    // [anchors]
  std::vector<SsdPair<T>> candidates_;
};

}  // namespace

template <class T>
void assign_ssd_cpu(const T* anchors, const T* gt_boxes, int64_t* out, int64_t num_anchors,
                    int64_t images, int64_t objects, T threshold, SsdRule rule,
                    ParallelFor parallel_for) {
  if (num_anchors == 0) return;
  const AnchorColumns<T> columns(anchors, num_anchors);
  const int64_t grain = kPairsPerTask / (num_anchors * (objects + 1)) + 1;
  parallel_for(images, grain, [&](int64_t first, int64_t last) {
    const auto values = working_memory<T>(num_anchors + objects);
    const auto indices = working_memory<int64_t>(num_anchors + objects);
    T *const best = values.get(), *const object_best = best + num_anchors;
    int64_t *const best_object = indices.get(), *const best_anchor = best_object + num_anchors;
    for (int64_t b = first; b < last; ++b) {
      const T* const of_image = gt_boxes + 4 * b * objects;
      int64_t* const index = out + b * num_anchors;
      iou::maxima::box_iou_max_cpu(
          anchors, of_image, iou::maxima::IouMaxima<T>{best, best_object, object_best, best_anchor},
          num_anchors, objects, images == 1 ? parallel_for : parallel_for.serial());
      for (int64_t a = 0; a < num_anchors; ++a)
        index[a] = ssd_outcome(best[a], best_object[a], threshold, rule, of_image, objects);
      Image<T> image(columns, of_image, objects, index);
      if (rule == SsdRule::kBipartite)
        image.pair_bipartite(object_best, best_anchor, parallel_for);
      else
        image.pair_overwriting(best_anchor);
    }
  });
}

template void assign_ssd_cpu(const float*, const float*, int64_t*, int64_t, int64_t, int64_t, float,
                             SsdRule, ParallelFor);
template void assign_ssd_cpu(const double*, const double*, int64_t*, int64_t, int64_t, int64_t,
                             double, SsdRule, ParallelFor);

}  // namespace sightline::assign::ssd
