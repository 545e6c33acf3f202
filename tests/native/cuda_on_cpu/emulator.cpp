// Runs the threads of a grid as fibers of one thread of the CPU. See cuda_runtime.h.
#include <setjmp.h>
#include <sys/mman.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "cuda_runtime.h"

namespace cuda_on_cpu {

Counters counters;
const ThreadIndices* current = nullptr;

namespace {

constexpr size_t kStackBytes = 128 << 10;
constexpr size_t kSharedBytes = 227 << 10;          // the most that a block of an H100 may have
constexpr size_t kStaticSharedBytes = 48 << 10;     // the most without asking for more
constexpr int64_t kPausesBeforeGivingUp = 1 << 24;  // of all fibers together, without progress
constexpr unsigned char kGarbage = 0xa5;

enum class State { kReady, kAtBlockBarrier, kAtWarp, kPaused, kDone };

struct Block;

// A stack that runs one CUDA thread after another; made once and used for the whole process.
struct Fiber {
  ucontext_t start;
  jmp_buf here;
  bool started = false;
  void* stack;

  ThreadIndices indices;
  Block* block = nullptr;
  State state = State::kDone;
  unsigned warp, lane;
  int vote = 0;
  const char* file = "";
  int line = 0;
  unsigned mask = 0;
  uint64_t deposit = 0;
  WarpValues received;
};

struct SharedArray {
  const char* name;
  int line;
  size_t offset;
};

struct Block {
  std::vector<Fiber*> fibers;
  std::vector<SharedArray> arrays;
  std::unique_ptr<unsigned char[]> shared{new unsigned char[kSharedBytes + 64]};
  size_t used = 0, dynamic_offset = 0;
  int votes = 0;

  unsigned char* base() {
    const auto p = reinterpret_cast<uintptr_t>(shared.get());
    return reinterpret_cast<unsigned char*>((p + 63) / 64 * 64);
  }
};

[[noreturn]] void fail(const std::string& what) {
  std::fprintf(stderr, "cuda_on_cpu: %s\n", what.c_str());
  std::abort();
}

jmp_buf scheduler;
Fiber* running = nullptr;
const std::function<void()>* thread_body = nullptr;
std::mt19937 random_numbers(0);
unsigned max_blocks = 0;  // of a grid's first dimension; 0: as many as asked for
std::vector<std::unique_ptr<Fiber>> all_fibers;
std::vector<Fiber*> idle;

void switch_to_scheduler() {
  if (_setjmp(running->here) == 0) _longjmp(scheduler, 1);
}

void fiber_main() {
  for (;;) {
    (*thread_body)();
    running->state = State::kDone;
    switch_to_scheduler();
  }
}

void resume(Fiber* fiber) {
  running = fiber;
  current = &fiber->indices;
  if (_setjmp(scheduler) == 0) {
    if (fiber->started) _longjmp(fiber->here, 1);
    fiber->started = true;
    setcontext(&fiber->start);
  }
  current = nullptr;
}

Fiber* take_fiber() {
  if (idle.empty()) {
    all_fibers.push_back(std::make_unique<Fiber>());
    Fiber* const fiber = all_fibers.back().get();
    fiber->stack = mmap(nullptr, kStackBytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (fiber->stack == MAP_FAILED) fail("no memory for a stack");
    getcontext(&fiber->start);
    fiber->start.uc_stack.ss_sp = fiber->stack;
    fiber->start.uc_stack.ss_size = kStackBytes;
    fiber->start.uc_link = nullptr;
    makecontext(&fiber->start, fiber_main, 0);
    return fiber;
  }
  Fiber* const fiber = idle.back();
  idle.pop_back();
  return fiber;
}

void release_warp_if_complete(Block& block, unsigned warp) {
  const size_t first = warp * kWarpLanes;
  const size_t last = std::min<size_t>(first + kWarpLanes, block.fibers.size());
  const unsigned mask = running->mask;
  for (size_t i = first; i < last; ++i) {
    const Fiber& f = *block.fibers[i];
    if (!(mask >> f.lane & 1) || f.state == State::kDone) continue;
    if (f.state != State::kAtWarp || f.mask != mask) return;
  }
  WarpValues values{};
  for (size_t i = first; i < last; ++i)
    if (mask >> block.fibers[i]->lane & 1) values.of_lane[i - first] = block.fibers[i]->deposit;
  for (size_t i = first; i < last; ++i) {
    Fiber& f = *block.fibers[i];
    if (!(mask >> f.lane & 1) || f.state != State::kAtWarp) continue;
    f.received = values;
    f.state = State::kReady;
  }
}

// Threads that have ended no longer count, as on the devices from Volta on.
bool release_barrier_if_complete(Block& block) {
  const Fiber* first = nullptr;
  int votes = 0;
  for (const Fiber* f : block.fibers) {
    if (f->state == State::kDone) continue;
    if (f->state != State::kAtBlockBarrier) return false;
    if (first == nullptr) first = f;
    if (f->line != first->line || std::string(f->file) != first->file)
      fail("threads of a block wait at different barriers: " + std::string(f->file) + ":" +
           std::to_string(f->line) + " and " + first->file + ":" + std::to_string(first->line));
    votes += f->vote;
  }
  if (first == nullptr) return false;
  block.votes = votes;
  ++counters.barriers;
  for (Fiber* f : block.fibers)
    if (f->state == State::kAtBlockBarrier) f->state = State::kReady;
  return true;
}

struct StepOutcome {
  bool done, progress, paused;
};

// Runs the lanes of a warp in random order until all wait for other warps or have ended.
StepOutcome run_warp(std::vector<Fiber*> lanes) {
  StepOutcome outcome{true, false, false};
  for (bool again = true; again;) {
    again = false;
    std::shuffle(lanes.begin(), lanes.end(), random_numbers);
    for (Fiber* f : lanes) {
      if (f->state != State::kReady) continue;
      resume(f);
      again = true;
      if (f->state == State::kPaused) outcome.paused = true;
      if (f->state != State::kPaused) outcome.progress = true;
    }
  }
  return outcome;
}

// Runs some of the block's warps, each as far as it can get: a missing barrier lets it overtake.
StepOutcome step(Block& block) {
  StepOutcome outcome{true, false, false};
  const auto warps = (block.fibers.size() + kWarpLanes - 1) / kWarpLanes;
  std::vector<size_t> order(warps);
  for (size_t w = 0; w < warps; ++w) order[w] = w;
  std::shuffle(order.begin(), order.end(), random_numbers);
  order.resize(1 + random_numbers() % warps);
  for (Fiber* f : block.fibers)
    if (f->state == State::kPaused) f->state = State::kReady;
  for (const size_t w : order) {
    const auto first = block.fibers.begin() + static_cast<int64_t>(w * kWarpLanes);
    const auto last = std::min(first + kWarpLanes, block.fibers.end());
    const StepOutcome of_warp = run_warp({first, last});
    outcome.progress = outcome.progress || of_warp.progress;
    outcome.paused = outcome.paused || of_warp.paused;
  }
  for (const Fiber* f : block.fibers) outcome.done = outcome.done && f->state == State::kDone;
  if (outcome.done) return {true, true, false};
  if (release_barrier_if_complete(block)) outcome.progress = true;
  for (const Fiber* f : block.fibers)
    if (f->state == State::kReady) outcome.progress = true;
  if (!outcome.progress && !outcome.paused)
    fail("a block waits for ever: a barrier or a warp's exchange that not all threads reach");
  return outcome;
}

}  // namespace

int block_barrier(int vote, const char* file, int line) {
  Fiber* const self = running;
  self->vote = vote;
  self->file = file;
  self->line = line;
  self->state = State::kAtBlockBarrier;
  switch_to_scheduler();
  return self->block->votes;
}

WarpValues exchange(unsigned mask, uint64_t own) {
  Fiber* const self = running;
  if (!(mask >> self->lane & 1)) fail("a lane calls a warp function whose mask leaves it out");
  self->mask = mask;
  self->deposit = own;
  self->state = State::kAtWarp;
  release_warp_if_complete(*self->block, self->warp);
  switch_to_scheduler();
  return self->received;
}

void pause() {
  running->state = State::kPaused;
  switch_to_scheduler();
}

unsigned lane() { return running->lane; }

void* shared_memory(const char* name, int line, size_t bytes, size_t alignment) {
  Block& block = *running->block;
  for (const SharedArray& array : block.arrays)
    if (array.line == line && std::string(array.name) == name) return block.base() + array.offset;
  const size_t offset = (block.used + alignment - 1) / alignment * alignment;
  block.used = offset + bytes;
  if (block.used - block.dynamic_offset > kStaticSharedBytes)
    fail(std::string("more than 48 KiB of static shared memory, at ") + name);
  if (block.used > kSharedBytes) fail("more shared memory than a block may have");
  block.arrays.push_back({name, line, offset});
  return block.base() + offset;
}

void* dynamic_shared_memory() { return running->block->base(); }

void run_grid(dim3 grid, dim3 size, size_t shared_bytes, const std::function<void()>& thread) {
  const unsigned threads = size.x * size.y * size.z;
  const uint64_t asked = uint64_t(grid.x) * grid.y * grid.z;
  if (max_blocks > 0) grid.x = std::min(grid.x, max_blocks);
  const uint64_t blocks = uint64_t(grid.x) * grid.y * grid.z;
  if (asked == 0 || threads == 0 || threads > 1024 || grid.y > 65535 || grid.z > 65535)
    fail("a launch with " + std::to_string(asked) + " blocks of " + std::to_string(threads) +
         " threads");
  if (shared_bytes > kSharedBytes) fail("more shared memory than a block may have");
  if (running != nullptr && current != nullptr) fail("a kernel launches a kernel");
  thread_body = &thread;
  std::vector<std::unique_ptr<Block>> resident;
  const size_t most = 1 + random_numbers() % 4;  // blocks that run at once
  uint64_t next = 0;
  int64_t pauses = 0;
  while (next < blocks || !resident.empty()) {
    while (next < blocks && resident.size() < most) {
      auto block = std::make_unique<Block>();
      std::memset(block->base(), kGarbage, kSharedBytes);
      block->used = block->dynamic_offset = (shared_bytes + 15) / 16 * 16;
      const uint3 index{unsigned(next % grid.x), unsigned(next / grid.x % grid.y),
                        unsigned(next / grid.x / grid.y)};
      for (unsigned t = 0; t < threads; ++t) {
        Fiber* const f = take_fiber();
        f->indices = {{t % size.x, t / size.x % size.y, t / size.x / size.y}, index, size, grid};
        f->block = block.get();
        f->state = State::kReady;
        f->warp = t / kWarpLanes;
        f->lane = t % kWarpLanes;
        block->fibers.push_back(f);
      }
      resident.push_back(std::move(block));
      ++next;
    }
    const size_t turn = random_numbers() % resident.size();
    const StepOutcome outcome = step(*resident[turn]);
    pauses = outcome.progress ? 0 : pauses + 1;
    if (pauses > kPausesBeforeGivingUp) fail("all blocks wait for each other");
    if (!outcome.done) continue;
    for (Fiber* f : resident[turn]->fibers) idle.push_back(f);
    resident.erase(resident.begin() + static_cast<int64_t>(turn));
  }
  thread_body = nullptr;
}

}  // namespace cuda_on_cpu

// Sets the counters to zero, and the order in which fibers run. With max_blocks above 0 a grid gets
// no more blocks than that: what is beyond is up to the kernel's loop, as in grids of kMaxBlocks.
extern "C" __attribute__((visibility("default"))) void cuda_on_cpu_start(unsigned seed,
                                                                         unsigned max_blocks) {
  cuda_on_cpu::random_numbers.seed(seed);
  cuda_on_cpu::max_blocks = max_blocks;
  cuda_on_cpu::counters = {};
}
extern "C" __attribute__((visibility("default"))) void cuda_on_cpu_counters(
    int64_t* out /* [6] */) {
  std::memcpy(out, &cuda_on_cpu::counters, sizeof(cuda_on_cpu::Counters));
}
