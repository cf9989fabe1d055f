// Check accesses to shared memory. Between two barriers a byte may be read, or written by one thread,
// or be the target of atomics, but only one of these.
//
// This rule is stricter than freedom from races: it also forbids a thread to read its own write
// before the next barrier. A GPU compiler may move such a load ahead of its condition, and then other
// threads of the warp execute it too.
//
// With -fsanitize=thread g++ calls the functions below before every access to memory.
#pragma once

#ifdef __SANITIZE_THREAD__
#define UNWATCHED __attribute__((no_sanitize_thread))

namespace emu {

struct Use {
    int epoch = -1;
    char kind = 0;  // r, w or a
    unsigned thread = 0;
};

static std::vector<Use> uses;

UNWATCHED static void watch(const void* at, size_t size, char kind) {
    const char* first = (const char*)at;
    if (first < __start_kdc_shared || first >= __stop_kdc_shared) return;
    if (uses.empty()) uses.resize(__stop_kdc_shared - __start_kdc_shared);
    for (size_t i = 0; i < size; ++i) {
        Use& use = uses[first - __start_kdc_shared + i];
        bool fresh = use.epoch != epoch;
        if (!fresh && (use.kind != kind || (kind == 'w' && use.thread != current)) && !error[0])
            snprintf(error, sizeof error, "hazard in shared memory: threads %u (%c) and %u (%c)",
                     use.thread, use.kind, current, kind);
        if (fresh) use = {epoch, kind, current};
    }
}

UNWATCHED static void atomic(const void* at, size_t size) { watch(at, size, 'a'); }

}  // namespace emu

extern "C" {
#define WATCH(size) \
    UNWATCHED void __tsan_read##size(void* at) { emu::watch(at, size, 'r'); } \
    UNWATCHED void __tsan_write##size(void* at) { emu::watch(at, size, 'w'); } \
    UNWATCHED void __tsan_unaligned_read##size(void* at) { emu::watch(at, size, 'r'); } \
    UNWATCHED void __tsan_unaligned_write##size(void* at) { emu::watch(at, size, 'w'); }
WATCH(1)
WATCH(2)
WATCH(4)
WATCH(8)
WATCH(16)
UNWATCHED void __tsan_read_range(void* at, long size) { emu::watch(at, size, 'r'); }
UNWATCHED void __tsan_write_range(void* at, long size) { emu::watch(at, size, 'w'); }
UNWATCHED void __tsan_vptr_update(void**, void*) {}
UNWATCHED void __tsan_func_entry(void*) {}
UNWATCHED void __tsan_func_exit() {}
UNWATCHED void __tsan_init() {}
}

#else
#define UNWATCHED

namespace emu {
static inline void atomic(const void*, size_t) {}
}  // namespace emu
#endif
