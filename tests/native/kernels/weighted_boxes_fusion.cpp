#include "nms.h"
#include "nms/fusion/fusion.h"

namespace sightline::native {

using namespace nms;
using namespace nms::fusion;
namespace {

template <class T>
struct Gathered {
  Box<T> mean;
  Cluster sums;
  std::vector<uint64_t> models;
  int64_t founder;
};

template <class T>
void check_fusion(Random& random) {
  const int64_t n = std::min<int64_t>(random.size(), 600);
  const int64_t num_models = random.pick<int64_t>({1, 2, 5, 64, 65, 130});
  const Buffer<T> boxes(4 * n), scores(n);
  const Buffer<int64_t> labels(n), models(n);
  const Buffer<double> weights(num_models);
  fill_boxes(boxes, random);
  fill_scores(scores, random);
  if (n && random.chance(0.2)) scores[random.below(n)] = std::numeric_limits<T>::quiet_NaN();
  const int64_t segments = random.pick<int64_t>({1, 3, 80});
  fill(labels, [&] { return random.below(segments) * random.pick<int64_t>({1, -1}); });
  fill(models, [&] { return random.below(num_models); });
  fill(weights, [&] { return random.chance(0.5) ? 1 : random.uniform(0.1, 3); });
  FusionSettings<T> settings{random.pick<T>({0, T(0.3), T(0.55), 1}),
                             random.pick<T>({0, T(0.2)}),
                             FusedScore(random.below(4)),
                             random.chance(0.5),
                             num_models,
                             0,
                             0};
  for (int64_t m = 0; m < num_models; ++m) {
    settings.total_weight += weights[m];
    settings.largest_weight = std::max(settings.largest_weight, weights[m]);
  }
  const auto got =
      weighted_boxes_fusion_cpu(boxes.data(), scores.data(), labels.data(), models.data(),
                                weights.data(), n, settings, Parallel(random));

  std::vector<double> weighted(n);
  for (int64_t i = 0; i < n; ++i) weighted[i] = double(scores[i]) * weights[models[i]];
  std::vector<Gathered<T>> clusters;
  for (const int64_t i : by_score(weighted.data(), n)) {
    const Box<T> box = load_box(&boxes[4 * i]);
    if (!can_be_fused(box, scores[i], settings.score_threshold)) continue;
    T most = settings.iou_threshold;
    Gathered<T>* nearest = nullptr;
    for (Gathered<T>& cluster : clusters) {
      const T overlap = labels[cluster.founder] == labels[i] ? iou_of(cluster.mean, box) : T(0);
      if (overlap > most) most = overlap, nearest = &cluster;
    }
    const bool founds = nearest == nullptr;
    if (founds) {
      clusters.push_back({box, {}, std::vector<uint64_t>(words_of_models(num_models)), i});
      nearest = &clusters.back();
    }
    add_to_cluster(nearest->sums, nearest->models.data(), box, weighted[i], weights[models[i]],
                   models[i]);
    if (!founds) nearest->mean = mean_box(nearest->sums, nearest->mean);
  }
  std::sort(clusters.begin(), clusters.end(),
            [](const auto& a, const auto& b) { return a.founder < b.founder; });
  std::vector<T> fused;
  for (const Gathered<T>& one : clusters)
    fused.push_back(fused_score(one.sums, one.models.data(), weights.data(), settings));
  require(got.scores.size() == fused.size(), got.scores.size(), " clusters of ", n, ", expected ",
          fused.size());
  size_t k = 0;
  for (const int64_t place : by_score(fused.data(), fused.size())) {
    T expected[4];
    write_mean_box(clusters[place].sums, &boxes[4 * clusters[place].founder], expected);
    require(std::equal(expected, expected + 4, &got.boxes[4 * k]), "another box ", k);
    require(got.scores[k] == fused[place], "score ", got.scores[k], ", expected ", fused[place]);
    require(got.labels[k] == labels[clusters[place].founder], "another label ", k);
    ++k;
  }
}

const Check check("weighted_boxes_fusion", 200, [](Random& random) {
  check_fusion<float>(random);
  check_fusion<double>(random);
});

}  // namespace
}  // namespace sightline::native
