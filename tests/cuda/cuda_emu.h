// GPU emulator: run kernels.cu on the host, one fibre per CUDA thread.
//
// The threads of a block run one after another up to the next barrier or warp collective, in one of
// several orders. Shared memory is filled with a pattern before every block. A barrier can be
// disabled by its line, to prove that it is needed. Errors end the launch with a message: threads
// that wait at different barriers, or that leave a warp that waits for them.
//
// With -fsanitize=thread the emulator also checks shared memory, see hazards.h.
#pragma once
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#include <algorithm>
#include <utility>
#include <vector>

#define __global__
#define __device__ static
#define __constant__ static const
#define __launch_bounds__(threads)
#define __shared__ static __attribute__((section("kdc_shared")))

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

static dim3 threadIdx, blockIdx, blockDim, gridDim;

namespace emu {

enum State { READY, AT_BARRIER, IN_WARP, DONE };

struct Thread {
    ucontext_t context;
    dim3 index;
    State state;
    int line;  // of the barrier at which it waits
};

struct Warp {
    uint64_t values[32], result[32];
    unsigned arrived;
};

constexpr size_t STACK = 64 << 10;
constexpr unsigned MOST = 1024;

static Thread threads[MOST];
static Warp warps[MOST / 32];
static std::vector<char> stacks;
static ucontext_t scheduler;
static unsigned current, total;
static int order = 0;       // 0 forward, 1 reverse, others shuffled with that seed
static int skipped = -1;    // line of the disabled barrier
static char error[200];
static void (*body)(void**);
static void** arguments;

static int epoch = 0;  // barriers passed so far, over all blocks

inline void wait(State state) {
    threads[current].state = state;
    swapcontext(&threads[current].context, &scheduler);
}

inline void barrier(int line) {
    if (line == skipped) return;
    threads[current].line = line;
    wait(AT_BARRIER);
}

// Exchange one value per lane of the warp; every lane gets all values.
inline const uint64_t* exchange(unsigned mask, uint64_t value) {
    Warp& warp = warps[current / 32];
    unsigned lane = current % 32, first = current - lane;
    warp.values[lane] = value;
    warp.arrived |= 1u << lane;
    if (mask != 0xffffffffu) snprintf(error, sizeof error, "partial warp mask %08x", mask);
    if (warp.arrived == 0xffffffffu) {
        memcpy(warp.result, warp.values, sizeof warp.result);
        warp.arrived = 0;
        for (unsigned i = 0; i < 32; ++i)
            if (threads[first + i].state == IN_WARP) threads[first + i].state = READY;
    } else {
        wait(IN_WARP);
    }
    return warp.result;
}

static void entry() {
    body(arguments);
    threads[current].state = DONE;
    swapcontext(&threads[current].context, &scheduler);
}

static std::vector<unsigned> sequence(unsigned count, unsigned salt) {
    std::vector<unsigned> out(count);
    for (unsigned i = 0; i < count; ++i) out[i] = order == 1 ? count - 1 - i : i;
    uint32_t state = 2463534242u ^ (unsigned)order * 7919u ^ salt * 104729u;
    if (order > 1)
        for (unsigned i = count; i > 1; --i) {
            state ^= state << 13, state ^= state >> 17, state ^= state << 5;
            std::swap(out[i - 1], out[state % i]);
        }
    return out;
}

extern "C" char __start_kdc_shared[], __stop_kdc_shared[];

static void start_block() {
    ++epoch;
    memset(__start_kdc_shared, 0xa5, __stop_kdc_shared - __start_kdc_shared);
    memset(warps, 0, sizeof warps);
    for (unsigned i = 0; i < total; ++i) {
        Thread& thread = threads[i];
        thread.state = READY;
        thread.index = {i % blockDim.x, i / blockDim.x % blockDim.y,
                        i / blockDim.x / blockDim.y};
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = &stacks[i * STACK];
        thread.context.uc_stack.ss_size = STACK;
        thread.context.uc_link = nullptr;
        makecontext(&thread.context, entry, 0);
    }
}

// Release the waiting threads if all remaining threads wait at the same barrier.
static bool release() {
    int line = -1;
    for (unsigned i = 0; i < total; ++i) {
        if (threads[i].state == DONE) continue;
        if (threads[i].state != AT_BARRIER || (line >= 0 && threads[i].line != line)) {
            snprintf(error, sizeof error, "thread %u waits for threads that never come", i);
            return false;
        }
        line = threads[i].line;
    }
    for (unsigned i = 0; i < total; ++i)
        if (threads[i].state == AT_BARRIER) threads[i].state = READY;
    ++epoch;
    return line >= 0;
}

static void run_block(unsigned block) {
    start_block();
    // threads of one warp run together, so that a warp may run far ahead of the others; in every
    // third order the threads of all warps take turns
    unsigned span = order % 3 == 0 && order ? total : 32;
    std::vector<unsigned> lanes = sequence(span, block), spans = sequence(total / span, block);
    do {
        for (unsigned s : spans) {
            for (bool ran = true; ran;) {
                ran = false;
                for (unsigned lane : lanes) {
                    unsigned i = s * span + lane;
                    if (threads[i].state != READY) continue;
                    current = i, threadIdx = threads[i].index, ran = true;
                    swapcontext(&scheduler, &threads[i].context);
                }
            }
        }
    } while (release());
}

static int launch(void (*kernel)(void**), dim3 grid, dim3 block, void** pointers) {
    error[0] = 0;
    body = kernel, arguments = pointers, gridDim = grid, blockDim = block;
    total = block.x * block.y * block.z;
    if (total > MOST || total % 32) return snprintf(error, sizeof error, "bad block"), 1;
    stacks.resize(MOST * STACK);
    for (unsigned i : sequence(grid.x * grid.y * grid.z, 77)) {
        blockIdx = {i % grid.x, i / grid.x % grid.y, i / grid.x / grid.y};
        run_block(i);
        if (error[0]) return 1;
    }
    return 0;
}

template <class... T, size_t... I>
void unpack(void (*kernel)(T...), void** a, std::index_sequence<I...>) {
    kernel(*static_cast<T*>(a[I])...);
}
template <class... T>
void call(void (*kernel)(T...), void** a) {
    unpack(kernel, a, std::index_sequence_for<T...>());
}

}  // namespace emu

#define __syncthreads() emu::barrier(__LINE__)

static inline unsigned __ballot_sync(unsigned mask, bool vote) {
    const uint64_t* all = emu::exchange(mask, vote);
    unsigned out = 0;
    for (int i = 0; i < 32; ++i) out |= (unsigned)all[i] << i;
    return out;
}
template <class T>
T from_lane(unsigned mask, T value, unsigned lane) {
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof(T));
    T out;
    memcpy(&out, emu::exchange(mask, bits) + lane, sizeof(T));
    return out;
}
template <class T>
T __shfl_sync(unsigned mask, T value, int lane) {
    return from_lane(mask, value, lane & 31);
}
template <class T>
T __shfl_xor_sync(unsigned mask, T value, int bits) {
    return from_lane(mask, value, (unsigned)emu::current % 32 ^ bits);
}

#include "hazards.h"

template <class T>
UNWATCHED T atomicAdd(T* at, T value) {
    emu::atomic(at, sizeof(T));
    T old = *at;
    *at += value;
    return old;
}
template <class T>
UNWATCHED T atomicMax(T* at, T value) {
    emu::atomic(at, sizeof(T));
    T old = *at;
    *at = old < value ? value : old;
    return old;
}
template <class T>
UNWATCHED T atomicOr(T* at, T value) {
    emu::atomic(at, sizeof(T));
    T old = *at;
    *at |= value;
    return old;
}

using std::max;
using std::min;
static inline int __float2int_rn(float v) { return (int)lrintf(v); }
static inline unsigned __float2uint_rn(float v) { return (unsigned)llrintf(v); }
static inline long long __float2ll_rn(float v) { return llrintf(v); }
static inline int __float_as_int(float v) { int out; memcpy(&out, &v, 4); return out; }
static inline float __int_as_float(int v) { float out; memcpy(&out, &v, 4); return out; }
static inline int __ffs(int v) { return __builtin_ffs(v); }
static inline int __ffsll(long long v) { return __builtin_ffsll(v); }
static inline int __popc(unsigned v) { return __builtin_popcount(v); }
