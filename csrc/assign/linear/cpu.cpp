#include <algorithm>
#include <memory>
#include <vector>

#include "assign/linear/linear.h"
#include "assign/linear/path.h"
#include "common/isa.h"
#include "common/working_memory.h"

namespace sightline::assign::linear {
namespace {

constexpr int kLanes = 8;
// At least this many costs a task; fewer take less time than starting a thread.
constexpr int64_t kCostsPerTask = 1 << 16;
// A path looks at all costs of its rows: so many take some 50 us.
constexpr int64_t kCostsBetweenLooks = 1 << 16;

// What one problem needs; partners are padded to whole vectors with costs that are infinite.
struct Solver {
  int64_t entering, partners, padded;
  std::unique_ptr<double[]> cost;          // [entering, padded]
  std::vector<double> potential;           // [padded], of partners
  std::vector<double> limit;               // [padded]: length of the best path, -inf once visited
  std::vector<int64_t> previous;           // [padded]: the entering node before it on that path
  std::vector<int64_t> rank;               // [padded]: see Candidate
  std::vector<double> entering_potential;  // [entering]
  std::vector<int64_t> partner_of, owner_of;  // [entering], [padded]: -1 while free
  struct Visit {
    int64_t partner;
    double length;
  };
  std::vector<Visit> visited;
  int64_t costs_since_look = 0;

  explicit Solver(const AssignmentShape& shape)
      : entering(shape.entering()),
        partners(shape.partners()),
        padded((partners + kLanes - 1) / kLanes * kLanes),
        cost(working_memory<double>(entering * padded)),
        potential(padded),
        limit(padded),
        previous(padded),
        rank(padded),
        entering_potential(entering),
        partner_of(entering),
        owner_of(padded) {
    std::fill_n(cost.get(), entering * padded, kInfinity);
  }
};

// Offers every partner the path through entering node i at `distance`; the nearest unvisited one
// comes out.
struct Relax {
  SIGHTLINE_INLINE static void run(const double* cost, const double* potential, double* limit,
                                   int64_t* previous, const int64_t* rank, int64_t padded,
                                   int64_t i, double distance, double entering_potential,
                                   Candidate* nearest) {
    double length[kLanes];
    int64_t best[kLanes];
    for (int l = 0; l < kLanes; ++l) length[l] = kInfinity, best[l] = Candidate{}.rank;
    for (int64_t start = 0; start < padded; start += kLanes)
      for (int l = 0; l < kLanes; ++l) {
        const int64_t j = start + l;
        const double offered = path_length(distance, cost[j], entering_potential, potential[j]);
        const bool shorter = offered < limit[j];
        const double kept = shorter ? offered : limit[j];
        limit[j] = kept;
        previous[j] = shorter ? i : previous[j];
        const double open = kept == -kInfinity ? kInfinity : kept;
        const bool nearer = (open < length[l]) | ((open == length[l]) & (rank[j] < best[l]));
        length[l] = nearer ? open : length[l];
        best[l] = nearer ? rank[j] : best[l];
      }
    for (int l = 0; l < kLanes; ++l) {
      const Candidate candidate{length[l], best[l]};
      if (candidate.before(*nearest)) *nearest = candidate;
    }
  }
};

// Finds the shortest path from entering node `first` to a free partner, and goes over to it.
void enter(Solver& s, int64_t first, ParallelFor parallel_for) {
  std::fill(s.limit.begin(), s.limit.end(), kInfinity);
  s.visited.clear();
  double distance = 0;
  int64_t end = -1;
  for (int64_t i = first; end < 0;) {
    s.costs_since_look += s.padded;
    if (s.costs_since_look > kCostsBetweenLooks) {
      s.costs_since_look = 0;
      parallel_for.throw_if_stopped();
    }
    Candidate nearest;
    run_for_isa<Relax>(static_cast<const double*>(s.cost.get()) + i * s.padded,
                       static_cast<const double*>(s.potential.data()), s.limit.data(),
                       s.previous.data(), static_cast<const int64_t*>(s.rank.data()), s.padded, i,
                       distance, s.entering_potential[i], &nearest);
    if (!(nearest.length < kInfinity)) return;
    distance = nearest.length;
    const int64_t j = nearest.rank < s.padded ? nearest.rank : nearest.rank - s.padded;
    s.limit[j] = -kInfinity;
    s.visited.push_back({j, distance});
    i = s.owner_of[j];
    if (i < 0) end = j;
  }
  s.entering_potential[first] += distance;
  for (const auto& [j, length] : s.visited) {
    s.potential[j] -= distance - length;
    if (s.owner_of[j] >= 0) s.entering_potential[s.owner_of[j]] += distance - length;
  }
  s.rank[end] += s.padded;
  for (int64_t j = end, i = -1; i != first;) {
    i = s.previous[j];
    s.owner_of[j] = i;
    std::swap(s.partner_of[i], j);
  }
}

template <class T>
void solve(Solver& s, const AssignmentShape& shape, const T* cost, int64_t* out,
           ParallelFor parallel_for) {
  for (int64_t i = 0; i < s.entering; ++i)
    for (int64_t j = 0; j < s.partners; ++j)
      s.cost[i * s.padded + j] =
          usable_cost(cost[i * shape.entering_stride() + j * shape.partner_stride()]);
  std::fill(s.potential.begin(), s.potential.end(), 0.0);
  std::fill(s.entering_potential.begin(), s.entering_potential.end(), 0.0);
  std::fill(s.partner_of.begin(), s.partner_of.end(), -1);
  std::fill(s.owner_of.begin(), s.owner_of.end(), -1);
  for (int64_t j = 0; j < s.padded; ++j) s.rank[j] = j;
  for (int64_t i = 0; i < s.entering; ++i) enter(s, i, parallel_for);
  std::copy_n((shape.rows_enter() ? s.partner_of : s.owner_of).data(), shape.rows, out);
}

}  // namespace

template <class T>
void linear_assignment_cpu(const T* cost, int64_t* out, AssignmentShape shape,
                           ParallelFor parallel_for) {
  const int64_t costs = shape.rows * shape.columns;
  parallel_for(shape.problems, kCostsPerTask / (costs + 1) + 1, [&](int64_t begin, int64_t end) {
    Solver solver(shape);
    for (int64_t p = begin; p < end; ++p)
      solve(solver, shape, cost + p * costs, out + p * shape.rows, parallel_for);
  });
}

template void linear_assignment_cpu(const float*, int64_t*, AssignmentShape, ParallelFor);
template void linear_assignment_cpu(const double*, int64_t*, AssignmentShape, ParallelFor);

}  // namespace sightline::assign::linear
