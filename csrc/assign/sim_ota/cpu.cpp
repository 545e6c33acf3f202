#include <algorithm>
#include <memory>

#include "assign/sim_ota/sim_ota.h"
#include "common/isa.h"
#include "common/working_memory.h"

namespace sightline::assign::sim_ota {
namespace {

constexpr int64_t kPairsPerTask = 1 << 17;
constexpr int64_t kGroupBytes = int64_t(32) << 20;  // of images that are worked on together

// What is known of the anchors of an image, one array per field, filled up to whole tiles.
template <class T>
struct Anchors {
  static constexpr int64_t kFields = 6;
  int64_t tiles;
  T *x1, *y1, *x2, *y2, *area;
  T* background;   // NaN where the anchor does not count
  Hull<T>* hulls;  // [tiles] of the boxes

  Anchors(T* memory /* [kFields, tiles * kTileLanes] */, Hull<T>* hulls, int64_t tiles)
      : tiles(tiles),
        x1(memory),
        y1(x1 + tiles * kTileLanes),
        x2(y1 + tiles * kTileLanes),
        y2(x2 + tiles * kTileLanes),
        area(y2 + tiles * kTileLanes),
        background(area + tiles * kTileLanes),
        hulls(hulls) {}

  SIGHTLINE_INLINE Box<T> box(int64_t a) const {
    return {x1[a], y1[a], x2[a], y2[a], area[a], T(0)};
  }
};

template <class T>
struct Points {
  PointTiles<T> tiles;
  std::unique_ptr<T[]> stride;   // [tiles * kTileLanes]
  std::unique_ptr<T[]> largest;  // [tiles]: stride

  Points(const T* points, const T* strides, int64_t n)
      : tiles(points, n),
        stride(std::make_unique<T[]>(tiles.tiles * kTileLanes)),
        largest(std::make_unique<T[]>(tiles.tiles)) {
    for (int64_t a = 0; a < n; ++a) {
      stride[a] = strides[a];
      largest[a / kTileLanes] = larger(strides[a], largest[a / kTileLanes]);
    }
  }
  // False only where no point of the tile is in the object; or near its centre.
  SIGHTLINE_INLINE bool may_hold(int64_t tile, const SimOtaObject<T>& object) const {
    return tiles.hulls[tile].meets(object.box);
  }
  SIGHTLINE_INLINE bool may_be_near(int64_t tile, const SimOtaObject<T>& object) const {
    const Hull<T>& h = tiles.hulls[tile];
    const T reach = object.radius * largest[tile];
    return (h.x1 - object.x < reach) & (object.x - h.x2 < reach) & (h.y1 - object.y < reach) &
           (object.y - h.y2 < reach);
  }
};

struct PrepareAnchors {
  template <class T>
  SIGHTLINE_INLINE static void run(const SimOtaInputs<T>* in, const SimOtaRule<T>* rule,
                                   const Points<T>* points, const Anchors<T>* out, int64_t image,
                                   ParallelFor parallel_for) {
    constexpr T kNaN = std::numeric_limits<T>::quiet_NaN();
    const T* const boxes = in->boxes + 4 * image * in->anchors;
    const int64_t size = out->tiles * kTileLanes;
    T* const counts = out->background;  // 1 where the anchor counts, at first
    for (int64_t a = 0; a < size; ++a) {
      const T* const p = boxes + 4 * a;
      const Box<T> b = a < in->anchors ? load_box(p) : make_box(kNaN, T(0), T(0), T(0));
      out->x1[a] = b.x1, out->y1[a] = b.y1, out->x2[a] = b.x2, out->y2[a] = b.y2;
      out->area[a] = b.area;
      counts[a] = T(0);
    }
    for (int64_t tile = 0; tile < out->tiles; ++tile) {
      Hull<T> hull;
      for (int64_t a = tile * kTileLanes; a < (tile + 1) * kTileLanes; ++a)
        hull.add(out->x1[a], out->y1[a], out->x2[a], out->y2[a]);
      out->hulls[tile] = hull;
    }
    for (int64_t g = image * in->objects; g < (image + 1) * in->objects; ++g) {
      if (!in->has_object(g)) continue;
      if (parallel_for.should_stop()) return;
      const SimOtaObject<T> object(in->gt_boxes + 4 * g, rule->center_radius);
      for (int64_t tile = 0; tile < out->tiles; ++tile) {
        if (!points->may_hold(tile, object) && !points->may_be_near(tile, object)) continue;
        const int64_t first = tile * kTileLanes;
        const T *const x = points->tiles.x + first, *const y = points->tiles.y + first,
                       *const stride = points->stride.get() + first;
        T* const own = counts + first;
        SIGHTLINE_INDEPENDENT
        for (int64_t j = 0; j < kTileLanes; ++j)
          own[j] = object.holds(x[j], y[j]) | object.is_near(x[j], y[j], stride[j]) ? T(1) : own[j];
      }
    }
    const T* const scores = in->scores + image * in->anchors * in->classes;
    for (int64_t a = 0; a < size; ++a) {
      const bool used = counts[a] > T(0) && out->x1[a] <= std::numeric_limits<T>::max();
      out->background[a] = used ? background_cost(scores + a * in->classes, in->classes) : kNaN;
    }
  }
};

// The largest numbers of a stream, largest first.
template <class T>
struct Largest {
  T list[kMaxCandidates];
  int64_t count = 0, top_k;

  SIGHTLINE_INLINE void add(T value) {
    if (count == top_k && !(value > list[count - 1])) return;
    int64_t k = count < top_k ? count++ : count - 1;
    for (; k > 0 && value > list[k - 1]; --k) list[k] = list[k - 1];
    list[k] = value;
  }
};

// The first picks of a stream, in their order.
template <class T>
struct FirstPicks {
  SimOtaPick<T>* list;  // [size]
  int64_t count, size;

  SIGHTLINE_INLINE bool full() const { return count == size; }
  SIGHTLINE_INLINE void add(const SimOtaPick<T>& pick) {
    if (full() && !pick.before(list[count - 1])) return;
    int64_t k = full() ? count - 1 : count++;
    for (; k > 0 && pick.before(list[k - 1]); --k) list[k] = list[k - 1];
    list[k] = pick;
  }
};

struct PickAnchors {
  template <class T>
  SIGHTLINE_INLINE static void run(const SimOtaInputs<T>* in, const SimOtaRule<T>* rule,
                                   const Points<T>* points, const Anchors<T>* anchors, int64_t g,
                                   FirstPicks<T>* picks) {
    const SimOtaObject<T> object(in->gt_boxes + 4 * g, rule->center_radius);
    const T* const scores =
        in->scores + g / in->objects * in->anchors * in->classes + in->labels[g];
    T overlap[kTileLanes];
    Largest<T> largest;
    largest.top_k = rule->top_k;
    for (int64_t tile = 0; tile < anchors->tiles; ++tile) {
      if (!anchors->hulls[tile].meets(object.box)) continue;
      overlaps_of_tile(*anchors, object, tile, overlap);
      const T floor = largest.count == largest.top_k ? largest.list[largest.count - 1] : T(0);
      for_each_lane([&](int64_t j) SIGHTLINE_LAMBDA { return overlap[j] > floor; },
                    [&](int64_t j) SIGHTLINE_LAMBDA { largest.add(overlap[j]); });
    }
    T sum = T(0);
    for (int64_t k = 0; k < largest.count; ++k) sum += largest.list[k];
    picks->size = dynamic_k(sum, rule->top_k);

    const auto add = [&](int64_t a, T iou, uint32_t outside) SIGHTLINE_LAMBDA {
      const T cost = pair_cost(*rule, anchors->background[a], scores[a * in->classes], iou);
      picks->add({cost, iou, static_cast<int32_t>(a), outside});
    };
    bool both[kTileLanes];
    for (int64_t tile = 0; tile < anchors->tiles; ++tile) {
      if (!points->may_hold(tile, object) || !points->may_be_near(tile, object)) continue;
      overlaps_of_tile(*anchors, object, tile, overlap);
      in_both_of_tile(*points, object, tile, both);
      const int64_t first = tile * kTileLanes;
      for_each_lane([&](int64_t j) SIGHTLINE_LAMBDA { return both[j] & (overlap[j] >= T(0)); },
                    [&](int64_t j) SIGHTLINE_LAMBDA { add(first + j, overlap[j], 0); });
    }
    // The others fill up what is left: first those that overlap the object, which nearly always
    // cost less than any that do not.
    if (picks->full()) return;
    for (int64_t tile = 0; tile < anchors->tiles; ++tile) {
      if (!anchors->hulls[tile].meets(object.box)) continue;
      overlaps_of_tile(*anchors, object, tile, overlap);
      in_both_of_tile(*points, object, tile, both);
      const int64_t first = tile * kTileLanes;
      for_each_lane([&](int64_t j) SIGHTLINE_LAMBDA { return !both[j] & (overlap[j] > T(0)); },
                    [&](int64_t j) SIGHTLINE_LAMBDA { add(first + j, overlap[j], 1); });
    }
    const T least = rule->iou_weight * overlap_cost(T(0));
    if (picks->full() && picks->list[picks->count - 1].cost < least) return;
    for (int64_t tile = 0; tile < anchors->tiles; ++tile) {
      overlaps_of_tile(*anchors, object, tile, overlap);
      in_both_of_tile(*points, object, tile, both);
      const int64_t first = tile * kTileLanes;
      for_each_lane([&](int64_t j) SIGHTLINE_LAMBDA { return !both[j] & (overlap[j] == T(0)); },
                    [&](int64_t j) SIGHTLINE_LAMBDA { add(first + j, T(0), 1); });
    }
  }

  // -1 where an anchor does not count.
  template <class T>
  SIGHTLINE_INLINE static void overlaps_of_tile(const Anchors<T>& anchors,
                                                const SimOtaObject<T>& object, int64_t tile,
                                                T* out /* [kTileLanes] */) {
    const Box<T> box = object.box;
    for (int64_t j = 0; j < kTileLanes; ++j) {
      const int64_t a = tile * kTileLanes + j;
      const T value = iou_of(anchors.box(a), box);
      out[j] = anchors.background[a] >= T(0) ? value : T(-1);
    }
  }
  template <class T>
  SIGHTLINE_INLINE static void in_both_of_tile(const Points<T>& points,
                                               const SimOtaObject<T>& object, int64_t tile,
                                               bool* out /* [kTileLanes] */) {
    for (int64_t j = 0; j < kTileLanes; ++j) {
      const int64_t a = tile * kTileLanes + j;
      const T x = points.tiles.x[a], y = points.tiles.y[a];
      out[j] = object.holds(x, y) & object.is_near(x, y, points.stride[a]);
    }
  }
  // Calls body(j) for the lanes that are wanted, in ascending order.
  template <class Wanted, class Body>
  SIGHTLINE_INLINE static void for_each_lane(Wanted wanted, Body body) {
    int32_t found[kTileLanes];
    int64_t count = 0;
    for (int32_t j = 0; j < kTileLanes; ++j) {
      found[count] = j;
      count += wanted(j);
    }
    for (int64_t k = 0; k < count; ++k) body(found[k]);
  }
};

template <class T>
void resolve_image(const SimOtaPick<T>* picks, const int64_t* counts, int64_t objects,
                   int64_t anchors, int64_t top_k, int64_t* index, T* overlap,
                   SimOtaPick<T>* best /* [anchors] */) {
  std::fill(index, index + anchors, -1);
  std::fill(overlap, overlap + anchors, T(0));
  for (int64_t g = 0; g < objects; ++g)
    for (int64_t k = 0; k < counts[g]; ++k) {
      const SimOtaPick<T>& pick = picks[g * top_k + k];
      const int64_t a = pick.anchor;
      if (index[a] >= 0 && !pick.before(best[a])) continue;
      best[a] = pick, index[a] = g, overlap[a] = pick.overlap;
    }
}

}  // namespace

template <class T>
void assign_sim_ota_cpu(const SimOtaInputs<T>& in, const SimOtaRule<T>& rule, int64_t* index,
                        T* overlap, ParallelFor parallel_for) {
  if (in.images == 0 || in.anchors == 0) return;
  const Points<T> points(in.points, in.strides, in.anchors);
  const int64_t tiles = points.tiles.tiles, size = tiles * kTileLanes;
  const int64_t fields = Anchors<T>::kFields * size;
  const int64_t bytes =
      in.objects * rule.top_k * int64_t{sizeof(SimOtaPick<T>)} + fields * int64_t{sizeof(T)};
  const int64_t group = std::clamp<int64_t>(kGroupBytes / bytes, 1, in.images);
  const auto memory = working_memory<T>(group * fields);
  const auto hulls = std::make_unique<Hull<T>[]>(group * tiles);
  const auto picks = working_memory<SimOtaPick<T>>(group * in.objects * rule.top_k);
  const auto counts = working_memory<int64_t>(group * in.objects);
  const auto anchors_of = [&](int64_t b) {
    return Anchors<T>(memory.get() + b * fields, hulls.get() + b * tiles, tiles);
  };
  const SimOtaInputs<T>* const inputs = &in;
  const SimOtaRule<T>* const settings = &rule;
  const Points<T>* const of_points = &points;
  for (int64_t first = 0; first < in.images; first += group) {
    const int64_t images = std::min(group, in.images - first);
    const int64_t grain = kPairsPerTask / size + 1;
    parallel_for(
        images, grain / (in.objects + in.classes + 1) + 1, [&](int64_t begin, int64_t end) {
          for (int64_t b = begin; b < end; ++b) {
            const Anchors<T> anchors = anchors_of(b);
            const Anchors<T>* const own = &anchors;
            run_for_isa<PrepareAnchors>(inputs, settings, of_points, own, first + b, parallel_for);
          }
        });
    parallel_for(images * in.objects, grain, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) {
        FirstPicks<T> of_object{picks.get() + i * rule.top_k, 0, 0};
        const Anchors<T> anchors = anchors_of(i / in.objects);
        const Anchors<T>* const own = &anchors;
        if (in.has_object(first * in.objects + i))
          run_for_isa<PickAnchors>(inputs, settings, of_points, own, first * in.objects + i,
                                   &of_object);
        counts[i] = of_object.count;
      }
    });
    parallel_for(images, grain / 8 + 1, [&](int64_t begin, int64_t end) {
      const auto best = working_memory<SimOtaPick<T>>(in.anchors);
      for (int64_t b = begin; b < end; ++b)
        resolve_image(picks.get() + b * in.objects * rule.top_k, counts.get() + b * in.objects,
                      in.objects, in.anchors, rule.top_k, index + (first + b) * in.anchors,
                      overlap + (first + b) * in.anchors, best.get());
    });
  }
}

template void assign_sim_ota_cpu(const SimOtaInputs<float>&, const SimOtaRule<float>&, int64_t*,
                                 float*, ParallelFor);
template void assign_sim_ota_cpu(const SimOtaInputs<double>&, const SimOtaRule<double>&, int64_t*,
                                 double*, ParallelFor);

}  // namespace sightline::assign::sim_ota
