// The part of libcuda.so.1 that PyCUDA and our host code call, over the emulated GPU.
//
// It keeps what a real driver keeps and hides: a context stack per thread, the owner and size of
// every allocation. A call without a context, a copy beyond an allocation, a free of what is not
// there are errors; `fake_leaks` counts what was never freed. $KDC_FAKE_GPU makes it fail as real ones
// do: "init=803" (driver and library do not fit), "devices=0", "memory=BYTES", "launches=N" (lost
// after N kernels: every later call fails), "capture=0" (nothing can be recorded). A stream records host
// functions only, which is how the fake TensorRT works on a stream.
#pragma once
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "cuda_emu.h"

namespace fake {

enum { OK = 0, INVALID_VALUE = 1, NO_MEMORY = 2, NO_CONTEXT = 201, INVALID_HANDLE = 400, LOST = 719,
       NOT_WHILE_RECORDING = 900, RECORDING_SPOILT = 901, NOT_RECORDING = 904 };

static std::mutex lock;
static std::map<uintptr_t, size_t> device, host;
static std::set<uintptr_t> handles;  // streams, events, modules
static std::set<std::string> names;
static int retained = 0, out_of_context = 0;
static long launched = 0, downloaded = 0;
static thread_local std::vector<int> stack;
static uintptr_t next = 1;

using Work = std::vector<std::pair<void (*)(void*), void*>>;
static thread_local std::unique_ptr<Work> recording;
static thread_local bool spoilt = false;
static std::map<uintptr_t, Work> graphs;
static long replayed = 0;

static long setting(const char* name, long otherwise) {
    const char* text = getenv("KDC_FAKE_GPU");
    size_t length = strlen(name);
    bool there = text && !strncmp(text, name, length) && text[length] == '=';
    return there ? atol(text + length + 1) : otherwise;
}

static int lost() { return launched > setting("launches", 1L << 40) ? LOST : OK; }

static int in_context() {
    if (stack.empty()) return ++out_of_context, NO_CONTEXT;
    if (recording) return spoilt = true, NOT_WHILE_RECORDING;
    return lost();
}

static bool holds(const std::map<uintptr_t, size_t>& memory, uintptr_t at, size_t size) {
    auto after = memory.upper_bound(at);
    if (after == memory.begin()) return false;
    --after;
    return at + size <= after->first + after->second;
}

static int make(void** out) {
    std::lock_guard<std::mutex> guard(lock);
    if (int bad = in_context()) return bad;
    handles.insert(next);
    *out = (void*)next++;
    return OK;
}

static int drop(void* handle) {
    std::lock_guard<std::mutex> guard(lock);
    if (int bad = in_context()) return bad;
    return handles.erase((uintptr_t)handle) ? OK : INVALID_HANDLE;
}

static int take(std::map<uintptr_t, size_t>& memory, uintptr_t* out, size_t size) {
    std::lock_guard<std::mutex> guard(lock);
    if (int bad = in_context()) return bad;
    size_t used = size;
    for (auto& block : memory) used += block.second;
    if ((long)used > setting("memory", 1L << 40)) return NO_MEMORY;
    *out = (uintptr_t)malloc(size);
    memset((void*)*out, 0xa5, size);
    memory[*out] = size;
    return OK;
}

static int give(std::map<uintptr_t, size_t>& memory, uintptr_t at) {
    std::lock_guard<std::mutex> guard(lock);
    if (int bad = in_context()) return bad;
    if (!memory.erase(at)) return INVALID_VALUE;
    free((void*)at);
    return OK;
}

// Arguments as PyCUDA packs them: each at its natural alignment.
template <class... T, size_t... I>
void unpack(void (*kernel)(T...), char* at, std::index_sequence<I...>) {
    size_t end = 0;
    auto place = [&end](size_t size) { return end = (end + size - 1) / size * size, end += size, end - size; };
    size_t offsets[] = {place(sizeof(T))...};
    kernel(*reinterpret_cast<T*>(at + offsets[I])...);
}
template <class... T>
void call(void (*kernel)(T...), void** packed) {
    unpack(kernel, (char*)packed, std::index_sequence_for<T...>());
}

static int run(const char* name, dim3 grid, dim3 block, void** packed);  // made by emulator.py

}  // namespace fake

extern "C" {
int cuInit(unsigned) { return (int)fake::setting("init", 0); }
int cuDriverGetVersion(int* v) { return *v = 13000, 0; }
int cuDeviceGetCount(int* n) { return *n = (int)fake::setting("devices", 1), 0; }
int cuDeviceGet(int* device, int i) { return *device = i, i >= fake::setting("devices", 1) ? 101 : 0; }
int cuDeviceGetName(char* out, int size, int) { return snprintf(out, size, "emulated GPU"), 0; }
int cuDeviceComputeCapability(int* major, int* minor, int) { return *major = 9, *minor = 0, 0; }
int cuDeviceGetAttribute(int* out, int, int) { return *out = 1, 0; }
int cuGetErrorString(int code, const char** out) {
    *out = code == fake::NO_CONTEXT  ? "invalid device context"
           : code == fake::NO_MEMORY ? "out of memory"
           : code == fake::LOST      ? "unspecified launch failure"
                                     : "error of the fake driver";
    return 0;
}
int cuDevicePrimaryCtxRetain(void** context, int) { return *context = (void*)7, ++fake::retained, 0; }
int cuDevicePrimaryCtxRelease_v2(int) { return --fake::retained, 0; }
int cuCtxPushCurrent_v2(void*) {
    if (fake::lost()) return fake::LOST;
    return fake::stack.push_back(7), 0;
}
int cuCtxPopCurrent_v2(void** context) {
    if (fake::stack.empty()) return fake::NO_CONTEXT;
    if (context) *context = (void*)7;
    return fake::stack.pop_back(), fake::lost();  // of what was queued: it is popped all the same
}
int cuCtxGetDevice(int* device) { return *device = 0, fake::in_context(); }
int cuCtxGetApiVersion(void*, unsigned* v) { return *v = 13000, 0; }
int cuCtxSynchronize() { return fake::in_context(); }
int cuStreamCreate(void** out, unsigned) { return fake::make(out); }
int cuStreamDestroy_v2(void* stream) { return fake::drop(stream); }
int cuStreamSynchronize(void*) { return fake::in_context(); }
int cuStreamBeginCapture_v2(void* stream, int mode) {
    if (int bad = fake::in_context()) return bad;
    if (mode != 1 || !fake::handles.count((uintptr_t)stream)) return fake::INVALID_VALUE;
    fake::spoilt = !fake::setting("capture", 1);
    return fake::recording.reset(new fake::Work), 0;
}
int cuStreamEndCapture(void*, void** graph) {
    if (!fake::recording) return fake::NOT_RECORDING;
    std::unique_ptr<fake::Work> work = std::move(fake::recording);
    if (fake::spoilt) return *graph = nullptr, fake::RECORDING_SPOILT;
    if (int bad = fake::make(graph)) return bad;
    return fake::graphs[(uintptr_t)*graph] = *work, 0;
}
int cuGraphInstantiateWithFlags(void** out, void* graph, unsigned long long) {
    if (int bad = fake::make(out)) return bad;
    return fake::graphs[(uintptr_t)*out] = fake::graphs.at((uintptr_t)graph), 0;
}
int cuGraphLaunch(void* graph, void*) {
    if (int bad = fake::in_context()) return bad;
    auto work = fake::graphs.find((uintptr_t)graph);
    if (work == fake::graphs.end()) return fake::INVALID_HANDLE;
    for (auto& one : work->second) one.first(one.second);
    return ++fake::replayed, 0;
}
int cuGraphDestroy(void* graph) { return fake::graphs.erase((uintptr_t)graph), fake::drop(graph); }
int cuGraphExecDestroy(void* graph) { return fake::graphs.erase((uintptr_t)graph), fake::drop(graph); }
int cuLaunchHostFunc(void*, void (*function)(void*), void* data) {
    if (fake::recording) return fake::recording->push_back({function, data}), 0;
    if (int bad = fake::in_context()) return bad;
    return function(data), 0;
}
int cuEventCreate(void** out, unsigned) { return fake::make(out); }
int cuEventDestroy_v2(void* event) { return fake::drop(event); }
int cuEventRecord(void*, void*) { return fake::in_context(); }
int cuEventSynchronize(void*) { return fake::in_context(); }
int cuEventElapsedTime_v2(float* ms, void*, void*) { return *ms = 1.0f, fake::in_context(); }
int cuModuleLoadDataEx(void** out, const void*, unsigned, int*, void**) { return fake::make(out); }
int cuModuleLoadData(void** out, const void*) { return fake::make(out); }
int cuModuleUnload(void* module) { return fake::drop(module); }
int cuModuleGetFunction(void** out, void*, const char* name) {
    if (int bad = fake::in_context()) return bad;
    *out = (void*)fake::names.insert(name).first->c_str();
    return 0;
}
int cuFuncSetBlockShape(void*, int, int, int) { return 0; }
int cuFuncSetSharedSize(void*, unsigned) { return 0; }
int cuFuncGetAttribute(int* out, int, void*) { return *out = 1, 0; }
int cuMemAlloc_v2(uintptr_t* out, size_t size) { return fake::take(fake::device, out, size); }
int cuMemFree_v2(uintptr_t at) { return fake::give(fake::device, at); }
int cuMemHostAlloc(void** out, size_t size, unsigned) {
    return fake::take(fake::host, (uintptr_t*)out, size);
}
int cuMemFreeHost(void* at) { return fake::give(fake::host, (uintptr_t)at); }
int cuMemcpyHtoDAsync_v2(uintptr_t to, const void* from, size_t size, void*) {
    std::lock_guard<std::mutex> guard(fake::lock);
    if (int bad = fake::in_context()) return bad;
    if (!fake::holds(fake::device, to, size)) return fake::INVALID_VALUE;
    if (!fake::holds(fake::host, (uintptr_t)from, size)) return fake::INVALID_VALUE;
    return memcpy((void*)to, from, size), 0;
}
int cuMemcpyDtoHAsync_v2(void* to, uintptr_t from, size_t size, void*) {
    std::lock_guard<std::mutex> guard(fake::lock);
    if (int bad = fake::in_context()) return bad;
    if (!fake::holds(fake::device, from, size)) return fake::INVALID_VALUE;
    if (!fake::holds(fake::host, (uintptr_t)to, size)) return fake::INVALID_VALUE;
    fake::downloaded += size;
    return memcpy(to, (void*)from, size), 0;
}
int cuMemsetD8Async(uintptr_t at, unsigned char value, size_t size, void*) {
    std::lock_guard<std::mutex> guard(fake::lock);
    if (int bad = fake::in_context()) return bad;
    if (!fake::holds(fake::device, at, size)) return fake::INVALID_VALUE;
    return memset((void*)at, value, size), 0;
}
int cuLaunchKernel(void* function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by,
                   unsigned bz, unsigned, void*, void**, void** extra) {
    std::lock_guard<std::mutex> guard(fake::lock);
    ++fake::launched;
    if (int bad = fake::in_context()) return bad;
    return fake::run((const char*)function, {gx, gy, gz}, {bx, by, bz}, (void**)extra[1]) ? 719 : 0;
}
int fake_leaks() {
    return (int)(fake::device.size() + fake::host.size() + fake::handles.size()) + fake::retained;
}
int fake_downloaded() { return (int)fake::downloaded; }  // bytes
int fake_replayed() { return (int)fake::replayed; }  // graphs
int fake_out_of_context() { return fake::out_of_context; }
}
