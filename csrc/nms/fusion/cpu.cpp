#include "common/isa.h"
#include "common/near_boxes.h"
#include "common/segments.h"
#include "nms/fusion/fusion.h"

namespace sightline::nms::fusion {
namespace {

constexpr int64_t kBoxesPerTask = 512;

// Boxes of one label, best first; places are positions among them.
template <class T>
struct Members {
  const T* boxes;                 // [.., 4]
  const int64_t* items;           // [n]: which of them
  const double* weighted_scores;  // [..]
  const int64_t* models;          // [..]
  const double* weights;          // [num_models]
  int64_t n, words;
};

struct Fuse {
  // clusters[place] is that of the founder at `place`; those of other places have no member.
  template <class T>
  SIGHTLINE_INLINE static void run(NearBoxesView<T> means, Members<T> members, Cluster* clusters,
                                   uint64_t* models, T iou_threshold, ParallelFor parallel_for) {
    constexpr int64_t kBetweenLooks = 64;
    for (int64_t place = 0; place < members.n; ++place) {
      if (place % kBetweenLooks == kBetweenLooks - 1 && parallel_for.should_stop()) return;
      const int64_t i = members.items[place], model = members.models[i];
      const Box<T> box = load_box(members.boxes + 4 * i);
      const int64_t found = nearest_cluster(means, box, iou_threshold);
      const int64_t founder = found < 0 ? place : found;
      add_to_cluster(clusters[founder], models + founder * members.words, box,
                     members.weighted_scores[i], members.weights[model], model);
      const int64_t slot = means.slots[founder];
      const Box<T> mean = found < 0 ? box : mean_box(clusters[founder], means.box(slot));
      means.set(slot, mean);
      means.grow(slot, mean);
    }
  }

 private:
  // The founder's place of the cluster that `box` joins, -1 where there is none.
  template <class T>
  SIGHTLINE_INLINE static int64_t nearest_cluster(const NearBoxesView<T>& means, const Box<T>& box,
                                                  T iou_threshold) {
    int32_t hits[kTileLanes];
    T most = iou_threshold;
    int64_t nearest = -1;
    for (int64_t chunk = 0; chunk < means.num_chunks; ++chunk) {
      const int64_t count = tiles_that_meet(means, chunk, box, hits);
      for (int64_t h = 0; h < count; ++h) {
        const int64_t tile = chunk * kTileLanes + hits[h], first = tile * kTileLanes;
        const BoxLanes<T, kTileLanes>& others = means.tiles[tile];
        T overlaps[kTileLanes];
        for (int64_t l = 0; l < kTileLanes; ++l) overlaps[l] = iou_of(others[l], box);
        int32_t any = 0;
        for (int64_t l = 0; l < kTileLanes; ++l) any |= overlaps[l] >= most ? 1 : 0;
        if (any == 0) continue;
        for (int64_t l = 0; l < kTileLanes; ++l) {
          const int64_t place = means.places[first + l];
          if (overlaps[l] > most || (overlaps[l] == most && nearest >= 0 && place < nearest)) {
            most = overlaps[l];
            nearest = place;
          }
        }
      }
    }
    return nearest;
  }
};

template <class T>
struct Fused {
  T box[4], score;
  int64_t founder;
};

template <class T>
std::vector<Fused<T>> fuse_label(const Members<T>& members, const FusionSettings<T>& settings,
                                 ParallelFor parallel_for) {
  const NearBoxes<T> means(members.boxes, members.items, members.n, false);
  std::vector<Cluster> clusters(members.n, Cluster{});
  std::vector<uint64_t> models(members.n * members.words, 0);
  run_for_isa<Fuse>(means.view(), members, clusters.data(), models.data(), settings.iou_threshold,
                    parallel_for);
  std::vector<Fused<T>> out;
  for (int64_t place = 0; place < members.n; ++place) {
    if (clusters[place].count == 0) continue;
    const T score = fused_score(clusters[place], models.data() + place * members.words,
                                members.weights, settings);
    const int64_t founder = members.items[place];
    out.push_back({{}, score, founder});
    write_mean_box(clusters[place], members.boxes + 4 * founder, out.back().box);
  }
  return out;
}

}  // namespace

template <class T>
FusedBoxes<T> weighted_boxes_fusion_cpu(const T* boxes, const T* scores, const int64_t* labels,
                                        const int64_t* models, const double* weights, int64_t n,
                                        FusionSettings<T> settings, ParallelFor parallel_for) {
  std::vector<double> weighted_scores(n);
  const auto takes = [&](int64_t i) {
    return can_be_fused(load_box(boxes + 4 * i), scores[i], settings.score_threshold);
  };
  for (int64_t i = 0; i < n; ++i)
    if (takes(i)) weighted_scores[i] = double(scores[i]) * weights[models[i]];
  const Segments segments = group_by_segment(best_first(weighted_scores.data(), n, takes), labels);
  if (segments.values.empty()) return {};
  const int64_t count = segments.count(), total = segments.values.size();
  std::vector<std::vector<Fused<T>>> fused(count);
  parallel_for(count, kBoxesPerTask * count / total + 1, [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s)
      fused[s] =
          fuse_label(Members<T>{boxes, segments.begin(s), weighted_scores.data(), models, weights,
                                segments.size(s), words_of_models(settings.num_models)},
                     settings, parallel_for);
  });

  std::vector<const Fused<T>*> of_founder(n, nullptr);
  std::vector<T> score_of(n);
  for (const auto& of_label : fused)
    for (const Fused<T>& one : of_label) {
      of_founder[one.founder] = &one;
      score_of[one.founder] = one.score;
    }
  FusedBoxes<T> out;
  for (const int64_t i :
       best_first(score_of.data(), n, [&](int64_t i) { return of_founder[i] != nullptr; })) {
    const Fused<T>& one = *of_founder[i];
    out.boxes.insert(out.boxes.end(), one.box, one.box + 4);
    out.scores.push_back(one.score);
    out.labels.push_back(labels[i]);
  }
  return out;
}

#define INSTANTIATE(T)                                                                     \
  template FusedBoxes<T> weighted_boxes_fusion_cpu(const T*, const T*, const int64_t*,     \
                                                   const int64_t*, const double*, int64_t, \
                                                   FusionSettings<T>, ParallelFor);
INSTANTIATE(float)
INSTANTIATE(double)
#undef INSTANTIATE

}  // namespace sightline::nms::fusion
