#include "assign/linear/linear.h"
#include "check.h"

namespace sightline::native {

using namespace assign::linear;
namespace {

// The least total cost of a full assignment of the entering side, by trying every partner of the
// first, then of the next: for a few of them.
double least_cost(const std::vector<std::vector<double>>& cost, size_t entering, unsigned taken) {
  if (entering == cost.size()) return 0;
  double least = std::numeric_limits<double>::infinity();
  for (size_t p = 0; p < cost[entering].size(); ++p)
    if (!(taken >> p & 1u))
      least = std::min(least, cost[entering][p] + least_cost(cost, entering + 1, taken | 1u << p));
  return least;
}

template <class T>
void check_linear_assignment(Random& random) {
  const bool small = random.chance(0.6);
  const int64_t limit = small ? 6 : 70;
  const AssignmentShape shape{random.below(4), random.below(limit), random.below(limit)};
  const Buffer<T> cost(shape.problems * shape.rows * shape.columns);
  const bool ties = random.chance(0.4), bad = random.chance(0.3);
  fill(cost, [&] {
    if (bad && random.chance(0.2)) return std::numeric_limits<double>::infinity();
    return ties ? double(random.below(4)) : random.uniform(-5, 5);
  });
  const Buffer<int64_t> out(shape.problems * shape.rows);
  linear_assignment_cpu(cost.data(), out.data(), shape, Parallel(random));

  for (int64_t problem = 0; problem < shape.problems; ++problem) {
    std::vector<bool> taken(shape.columns);
    double total = 0;
    int64_t pairs = 0;
    for (int64_t r = 0; r < shape.rows; ++r) {
      const int64_t c = out[problem * shape.rows + r];
      require(c >= -1 && c < shape.columns, "column ", c, " of row ", r);
      if (c < 0) continue;
      const double own = cost[(problem * shape.rows + r) * shape.columns + c];
      require(!taken[c], "column ", c, " is taken twice");
      require(own - own == 0, "row ", r, " has a pair that is not finite");
      taken[c] = true;
      total += own;
      ++pairs;
    }
    if (bad) continue;
    require(pairs == shape.entering(), "made ", pairs, " pairs of ", shape.entering());
    if (!small) continue;
    std::vector<std::vector<double>> table(shape.entering(), std::vector<double>(shape.partners()));
    for (int64_t e = 0; e < shape.entering(); ++e)
      for (int64_t p = 0; p < shape.partners(); ++p)
        table[e][p] = cost[problem * shape.rows * shape.columns + e * shape.entering_stride() +
                           p * shape.partner_stride()];
    const double least = least_cost(table, 0, 0);
    require(total - least < 1e-9, "total ", total, ", least ", least);
  }
}

const Check check("linear_assignment", 300, [](Random& random) {
  check_linear_assignment<float>(random);
  check_linear_assignment<double>(random);
});

}  // namespace
}  // namespace sightline::native
