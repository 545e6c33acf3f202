#include <algorithm>
#include <memory>

#include "assign/point_tiles.h"
#include "assign/task_aligned/task_aligned.h"
#include "common/isa.h"
#include "common/working_memory.h"
#include "iou/forms.h"

namespace sightline::assign::task_aligned {
namespace {

using iou::prepare_box;
using iou::PreparedBox;

constexpr int64_t kPairsPerTask = 1 << 17;
constexpr int64_t kGroupBytes = int64_t(32) << 20;  // of images that are worked on together

// The predicted boxes of an image, one array per field, filled up to whole tiles.
template <class T>
struct PredictedBoxes {
  static constexpr int64_t kFields = 8;
  T *x1, *y1, *x2, *y2, *area, *angle, *cx, *cy;

  PredictedBoxes(T* memory /* [kFields, size] */, int64_t size)
      : x1(memory),
        y1(x1 + size),
        x2(y1 + size),
        y2(x2 + size),
        area(y2 + size),
        angle(area + size),
        cx(angle + size),
        cy(cx + size) {}

  template <class Form>
  SIGHTLINE_INLINE PreparedBox<T> at(int64_t a) const {
    PreparedBox<T> box{{x1[a], y1[a], x2[a], y2[a], area[a], T(0)}, T(0), T(0)};
    if constexpr (Form::kNeedsAngle) box.angle = angle[a];
    if constexpr (Form::kNeedsCentre) box.cx = cx[a], box.cy = cy[a];
    return box;
  }
};

template <class Form, class T>
void prepare_boxes(const T* boxes, int64_t n, int64_t size, const PredictedBoxes<T>& out) {
  constexpr T kNowhere = std::numeric_limits<T>::quiet_NaN();
  for (int64_t a = 0; a < size; ++a) {
    const T* const p = boxes + 4 * a;
    const PreparedBox<T> b = a < n ? prepare_box<Form>(p[0], p[1], p[2], p[3])
                                   : prepare_box<Form>(kNowhere, T(0), T(0), T(0));
    out.x1[a] = b.x1, out.y1[a] = b.y1, out.x2[a] = b.x2, out.y2[a] = b.y2, out.area[a] = b.area;
    if constexpr (Form::kNeedsAngle) out.angle[a] = b.angle;
    if constexpr (Form::kNeedsCentre) out.cx[a] = b.cx, out.cy[a] = b.cy;
  }
}

// The best picks of an object, best first.
template <class T>
struct Picks {
  TaskAlignedPick<T>* list;  // [top_k]
  int64_t count, top_k;

  SIGHTLINE_INLINE T to_beat() const { return count == top_k ? list[count - 1].metric : T(0); }
  // Anchors come in ascending order: a later one with an equal metric stays behind.
  SIGHTLINE_INLINE void insert(const TaskAlignedPick<T>& pick) {
    int64_t k = count < top_k ? count++ : count - 1;
    for (; k > 0 && pick.metric > list[k - 1].metric; --k) list[k] = list[k - 1];
    list[k] = pick;
  }
};

template <class Form>
struct PickAnchors {
  template <class T>
  SIGHTLINE_INLINE static void run(const PointTiles<T>* points, const PredictedBoxes<T>* boxes,
                                   const T* scores,  // [anchors, classes], from the object's label
                                   int64_t classes, const T* object_box,
                                   const TaskAlignedRule<T>* rule, Picks<T>* picks) {
    const auto object =
        prepare_box<Form>(object_box[0], object_box[1], object_box[2], object_box[3]);
    T overlap[kTileLanes], metric[kTileLanes], score[kTileLanes];
    int32_t found[kTileLanes];
    for (int64_t tile = 0; tile < points->tiles; ++tile) {
      if (!points->hulls[tile].meets(object)) continue;
      const int64_t begin = tile * kTileLanes;
      for (int64_t j = 0; j < kTileLanes; ++j) {
        const int64_t a = begin + j;
        const T value =
            Form::value(boxes->template at<Form>(a), object, static_cast<T>(kCompleteEps));
        overlap[j] = holds<T>(object, points->x[a], points->y[a]) & (value > T(0)) ? value : T(0);
        metric[j] = overlap[j];
      }
      int64_t count = 0;
      for (int32_t j = 0; j < kTileLanes; ++j) {
        found[count] = j;
        count += overlap[j] > T(0);
      }
      if (count == 0) continue;
      math::power<kTileLanes>(metric, rule->beta);
      for (int64_t k = 0; k < count; ++k) {
        const T s = scores[(begin + found[k]) * classes];
        score[k] = s >= T(0) ? s : T(0);
        found[k] = s >= T(0) ? found[k] : -1;
      }
      for (int64_t k = count; k < kTileLanes; ++k) score[k] = T(0);
      math::power<kTileLanes>(score, rule->alpha);
      for (int64_t k = 0; k < count; ++k) {
        if (found[k] < 0) continue;
        const T m = score[k] * metric[found[k]];
        if (m > picks->to_beat() && is_metric(m))
          picks->insert({m, overlap[found[k]], static_cast<int32_t>(begin + found[k])});
      }
    }
  }
};

template <class T>
void resolve_image(const TaskAlignedPick<T>* picks, const int64_t* counts, int64_t objects,
                   int64_t anchors, const TaskAlignedRule<T>& rule,
                   const TaskAlignedOutputs<T>& image) {
  std::fill(image.index, image.index + anchors, -1);
  for (T* const values : {image.metric, image.overlap, image.target})
    std::fill(values, values + anchors, T(0));
  for (int64_t g = 0; g < objects; ++g)
    for (int64_t k = 0; k < counts[g]; ++k) {
      const TaskAlignedPick<T>& pick = picks[g * rule.top_k + k];
      if (!(pick.overlap > image.overlap[pick.anchor])) continue;
      image.overlap[pick.anchor] = pick.overlap;
      image.index[pick.anchor] = g;
    }
  for (int64_t g = 0; g < objects; ++g)
    finish_object(picks + g * rule.top_k, counts[g], g, rule.kept, image);
  if (rule.kept < rule.top_k)
    for (int64_t a = 0; a < anchors; ++a)
      if (image.index[a] < 0) image.overlap[a] = T(0);
}

template <class Form, class T>
void assign(const TaskAlignedInputs<T>& in, const TaskAlignedRule<T>& rule,
            const TaskAlignedOutputs<T>& out, ParallelFor parallel_for) {
  const PointTiles<T> points(in.points, in.anchors);
  const int64_t size = points.tiles * kTileLanes, fields = PredictedBoxes<T>::kFields;
  const int64_t bytes = in.objects * rule.top_k * int64_t{sizeof(TaskAlignedPick<T>)} +
                        fields * size * int64_t{sizeof(T)};
  const int64_t group = std::clamp<int64_t>(kGroupBytes / bytes, 1, in.images);
  const auto fields_of = working_memory<T>(group * fields * size);
  const auto picks = working_memory<TaskAlignedPick<T>>(group * in.objects * rule.top_k);
  const auto counts = working_memory<int64_t>(group * in.objects);
  const auto boxes_of = [&](int64_t b) {
    return PredictedBoxes<T>(fields_of.get() + b * fields * size, size);
  };
  for (int64_t first = 0; first < in.images; first += group) {
    const int64_t images = std::min(group, in.images - first);
    parallel_for(images, kPairsPerTask / (4 * size) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b)
        prepare_boxes<Form>(in.boxes + 4 * (first + b) * in.anchors, in.anchors, size, boxes_of(b));
    });
    const int64_t grain = kPairsPerTask / size + 1;
    parallel_for(images * in.objects, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        const int64_t b = i / in.objects, object = first * in.objects + i;
        Picks<T> of_object{picks.get() + i * rule.top_k, 0, rule.top_k};
        const PredictedBoxes<T> boxes = boxes_of(b);
        if (in.has_label(object)) {
          const T* const scores =
              in.scores + (first + b) * in.anchors * in.classes + in.labels[object];
          const PointTiles<T>* const tiles = &points;
          const PredictedBoxes<T>* const predicted = &boxes;
          run_for_isa<PickAnchors<Form>>(tiles, predicted, scores, in.classes,
                                         in.gt_boxes + 4 * object, &rule, &of_object);
        }
        counts[i] = of_object.count;
      }
    });
    parallel_for(images, kPairsPerTask / (8 * size) + 1, [&](int64_t begin, int64_t end) {
      for (int64_t b = begin; b < end; ++b) {
        const int64_t a = (first + b) * in.anchors;
        resolve_image(picks.get() + b * in.objects * rule.top_k, counts.get() + b * in.objects,
                      in.objects, in.anchors, rule,
                      {out.index + a, out.metric + a, out.overlap + a, out.target + a});
      }
    });
  }
}

}  // namespace

template <class T>
void assign_task_aligned_cpu(const TaskAlignedInputs<T>& in, const TaskAlignedRule<T>& rule,
                             const TaskAlignedOutputs<T>& out, ParallelFor parallel_for) {
  if (in.images == 0 || in.anchors == 0) return;
  if (rule.complete)
    assign<iou::CompleteBoxIou>(in, rule, out, parallel_for);
  else
    assign<iou::BoxIou>(in, rule, out, parallel_for);
}

template void assign_task_aligned_cpu(const TaskAlignedInputs<float>&,
                                      const TaskAlignedRule<float>&,
                                      const TaskAlignedOutputs<float>&, ParallelFor);
template void assign_task_aligned_cpu(const TaskAlignedInputs<double>&,
                                      const TaskAlignedRule<double>&,
                                      const TaskAlignedOutputs<double>&, ParallelFor);

}  // namespace sightline::assign::task_aligned
