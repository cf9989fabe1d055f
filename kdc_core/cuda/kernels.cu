// CUDA kernels of the decoder: letterbox, votes, peaks, poses, membership, label image.
//
// Each kernel has a NumPy reference implementation in kdc_core.letterbox or kdc_core.decode and does
// the same operations in the same order. Sums are integer sums, so that their order does not matter
// and results are equal bit for bit. This needs -fmad=false and IEEE division and square root
// (nvcc's default). The exceptions are sigma and confidence of read_poses: their reference takes exp
// and cube root from NumPy, so they agree to 1e-5 of their value.
//
// Between two barriers a location in shared memory is either read or written, never both (atomics
// excepted). So no race is possible even if the compiler moves a load ahead of its condition.
//
// kdc_core/cuda/compiler.py puts these definitions in front of this file. They come from the
// skeleton and from the reference implementations:
//   A, K, DEGREE, EDGE, END                               the skeleton
//   HEAT, SHORT, MID, ANCHOR, LOG_SIGMA, VIS              first channel of each head
//   ONE, FINE                                             fixed-point units (decode/hough, assign)
//   SLACK, PERSON, MEMBER, SURE_SCORE, MIN_SURE,
//   REACH_SCALES, REACH_SIGMAS                            thresholds (decode)
//   MAX_PEOPLE                                            people per frame; a cell stores its
//                                                         candidates in the bits of one 64-bit word
//   MAX_PEAKS                                             peaks per anchor type
//   TILE_X, TILE_Y                                        block of the kernels that work on images

#define FULL 0xffffffffu

typedef unsigned char byte;
typedef unsigned short label_t;
typedef unsigned long long word;

static_assert(MAX_PEOPLE <= 64, "a cell stores its candidates in the bits of one word");

__device__ inline float clampf(float v, float low, float high) {
    return fminf(fmaxf(v, low), high);
}

// Return the sum over the lanes of a warp in every lane.
template <class T>
__device__ inline T warp_sum(T value) {
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(FULL, value, step);
    return value;
}

// ---------------------------------------------------------------- preprocess (Letterbox.image)

struct Colour {
    float b, g, r;
};

__device__ inline Colour pixel(const byte* frame, int pitch, int x, int y) {
    const byte* at = frame + y * pitch + 3 * x;
    return {(float)at[0], (float)at[1], (float)at[2]};
}

// Return the mean of the frame over the box that an output pixel covers.
__device__ inline Colour area(const byte* frame, int pitch, float x0, float x1, float y0,
                              float y1) {
    Colour total = {0.0f, 0.0f, 0.0f};
    float share = 0.0f;
    for (int y = (int)floorf(y0); (float)y < y1; ++y) {
        float tall = fminf((float)(y + 1), y1) - fmaxf((float)y, y0);
        for (int x = (int)floorf(x0); (float)x < x1; ++x) {
            float part = tall * (fminf((float)(x + 1), x1) - fmaxf((float)x, x0));
            Colour here = pixel(frame, pitch, x, y);
            total.b += part * here.b, total.g += part * here.g, total.r += part * here.r;
            share += part;
        }
    }
    return {total.b / share, total.g / share, total.r / share};
}

__device__ inline float mix(float a, float b, float c, float d, float fx, float fy) {
    float top = a * (1.0f - fx) + b * fx, below = c * (1.0f - fx) + d * fx;
    return top * (1.0f - fy) + below * fy;
}

__device__ inline Colour linear(const byte* frame, int pitch, int width, int height, float x,
                                float y) {
    x = clampf(x, 0.0f, (float)(width - 1));
    y = clampf(y, 0.0f, (float)(height - 1));
    int x0 = (int)x, y0 = (int)y;
    int x1 = min(x0 + 1, width - 1), y1 = min(y0 + 1, height - 1);
    float fx = x - (float)x0, fy = y - (float)y0;
    Colour a = pixel(frame, pitch, x0, y0), b = pixel(frame, pitch, x1, y0);
    Colour c = pixel(frame, pitch, x0, y1), d = pixel(frame, pitch, x1, y1);
    return {mix(a.b, b.b, c.b, d.b, fx, fy), mix(a.g, b.g, c.g, d.g, fx, fy),
            mix(a.r, b.r, c.r, d.r, fx, fy)};
}

// Convert BGR bytes to the network's input: float32 planes R, G, B with integer values 0..255.
// Downscaling averages over the box of each output pixel, upscaling is bilinear. The area to the
// right of and below the resized frame is grey.
extern "C" __global__ void __launch_bounds__(256)
preprocess(const byte* frame, int width, int height, int pitch, int inner_width, int inner_height,
           int in_width, int in_height, float grey, float* image) {
    int x = blockIdx.x * blockDim.x + threadIdx.x, y = blockIdx.y * blockDim.y + threadIdx.y;
    if (x >= in_width || y >= in_height) return;
    Colour colour = {grey, grey, grey};
    if (x < inner_width && y < inner_height) {
        float sx = (float)width / (float)inner_width, sy = (float)height / (float)inner_height;
        if (inner_width == width && inner_height == height) {
            colour = pixel(frame, pitch, x, y);
        } else if (inner_width <= width && inner_height <= height) {
            float x0 = (float)x * sx, y0 = (float)y * sy;
            colour = area(frame, pitch, x0, fminf(x0 + sx, (float)width), y0,
                          fminf(y0 + sy, (float)height));
        } else {
            colour = linear(frame, pitch, width, height, ((float)x + 0.5f) * sx - 0.5f,
                            ((float)y + 0.5f) * sy - 0.5f);
        }
    }
    int plane = in_width * in_height;
    image += y * in_width + x;
    image[0] = rintf(colour.r);
    image[plane] = rintf(colour.g);
    image[2 * plane] = rintf(colour.b);
}

// ---------------------------------------------------------------- Hough votes (hough.vote)

__device__ inline void splat(int* plane, int width, int height, float x, float y, float amount) {
    if (!(x >= 0.0f && x < (float)width && y >= 0.0f && y < (float)height)) return;
    int votes = __float2int_rn(amount);
    if (votes) atomicAdd(plane + (int)y * width + (int)x, votes);
}

// Cast the Hough votes. One thread per anchor type (grid.y) and cell. `votes` must be zero.
extern "C" __global__ void __launch_bounds__(256)
hough_splat(const float* fields, int width, int height, int stride, float radius, float share,
            float min_heat, int vote_stride, int vote_width, int vote_height, int* votes) {
    int cell = blockIdx.x * blockDim.x + threadIdx.x, kind = blockIdx.y;
    int cells = width * height;
    if (cell >= cells) return;
    float heat = fields[(HEAT + kind) * cells + cell];
    if (!(heat > min_heat)) return;
    float weight = heat * share;
    float half = (float)(stride - 1) / 2.0f, vote_half = (float)(vote_stride - 1) / 2.0f;
    float at_x = (float)(cell % width) * (float)stride + half;
    float at_y = (float)(cell / width) * (float)stride + half;
    const float* offset = fields + (SHORT + 2 * kind) * cells + cell;
    float x = (at_x + radius * offset[0] - vote_half) / (float)vote_stride;
    float y = (at_y + radius * offset[cells] - vote_half) / (float)vote_stride;
    float x0 = floorf(x), y0 = floorf(y);
    float fx = x - x0, fy = y - y0;
    int* plane = votes + kind * vote_width * vote_height;
    splat(plane, vote_width, vote_height, x0, y0, weight * ((1.0f - fx) * (1.0f - fy)));
    splat(plane, vote_width, vote_height, x0 + 1.0f, y0, weight * (fx * (1.0f - fy)));
    splat(plane, vote_width, vote_height, x0, y0 + 1.0f, weight * ((1.0f - fx) * fy));
    splat(plane, vote_width, vote_height, x0 + 1.0f, y0 + 1.0f, weight * (fx * fy));
}

// ---------------------------------------------------------------- peaks (hough.find_peaks)

// List the cells whose smoothed votes are the maximum of their 5×5 window and above `bar`, in any
// order. A key has the height in its upper half and the inverted index in its lower half, so that
// keys sort by height, then by raster order.
extern "C" __global__ void __launch_bounds__(256)
find_maxima(const int* votes, int width, int height, float bar, word* keys, int* counts) {
    __shared__ int raw[TILE_Y + 6][TILE_X + 6];
    __shared__ float smoothed[TILE_Y + 4][TILE_X + 4];
    __shared__ int heights[TILE_Y][TILE_X];
    int kind = blockIdx.z, left = blockIdx.x * TILE_X, top = blockIdx.y * TILE_Y;
    int me = threadIdx.y * TILE_X + threadIdx.x;
    const int* plane = votes + kind * width * height;
    for (int i = me; i < (TILE_Y + 6) * (TILE_X + 6); i += TILE_X * TILE_Y) {
        int r = i / (TILE_X + 6), c = i % (TILE_X + 6), y = top + r - 3, x = left + c - 3;
        bool inside = x >= 0 && x < width && y >= 0 && y < height;
        raw[r][c] = inside ? plane[y * width + x] : 0;
    }
    __syncthreads();
    for (int i = me; i < (TILE_Y + 4) * (TILE_X + 4); i += TILE_X * TILE_Y) {
        int r = i / (TILE_X + 4), c = i % (TILE_X + 4), y = top + r - 2, x = left + c - 2;
        int total = 0;
        for (int dy = 0; dy < 3; ++dy) {
            const int* row = &raw[r + dy][c];
            total += (row[0] + 2 * row[1] + row[2]) << (dy == 1);
        }
        total >>= 2;
        bool inside = x >= 0 && x < width && y >= 0 && y < height;
        smoothed[r][c] = inside ? (float)total : -1.0f;  // outside never wins
        if (r >= 2 && r < TILE_Y + 2 && c >= 2 && c < TILE_X + 2) heights[r - 2][c - 2] = total;
    }
    __syncthreads();
    int x = left + threadIdx.x, y = top + threadIdx.y;
    float mine = smoothed[threadIdx.y + 2][threadIdx.x + 2];
    if (x >= width || y >= height || !(mine > bar)) return;
    for (int dy = 0; dy < 5; ++dy)
        for (int dx = 0; dx < 5; ++dx)
            if (smoothed[threadIdx.y + dy][threadIdx.x + dx] > mine) return;
    unsigned index = y * width + x;
    word key = ((word)(unsigned)heights[threadIdx.y][threadIdx.x] << 32) | (FULL - index);
    keys[kind * width * height + atomicAdd(counts + kind, 1)] = key;
}

// Sort the best 2n maxima, drop those inside the window of a better one, and write the position
// (centre of mass of the 3×3 votes) and score of the first n. One block per anchor type.
extern "C" __global__ void __launch_bounds__(256)
pick_peaks(const int* votes, int width, int height, int vote_stride, const word* keys,
           const int* counts, int n, float* xy, float* score) {
    __shared__ word best[2 * MAX_PEAKS];
    __shared__ int kept[2 * MAX_PEAKS];
    int kind = blockIdx.x, me = threadIdx.x, count = counts[kind];
    int listed = min(count, 2 * n);
    const word* mine = keys + kind * width * height;
    for (int i = me; i < count; i += blockDim.x) {
        word key = mine[i];
        int rank = 0;
        for (int j = 0; j < count && rank < listed; ++j) rank += mine[j] > key;
        if (rank < listed) best[rank] = key;
    }
    __syncthreads();
    int column = 0, row = 0;
    if (me < listed) {
        int index = (int)(FULL - (unsigned)best[me]);
        column = index % width, row = index / width;
        int first = 1;
        for (int j = 0; j < me; ++j) {
            int other = (int)(FULL - (unsigned)best[j]);
            if (abs(other % width - column) <= 2 && abs(other / width - row) <= 2) first = 0;
        }
        kept[me] = first;
    }
    __syncthreads();
    int before = 0, all = 0;
    for (int j = 0; j < listed; ++j) {
        before += j < me ? kept[j] : 0;
        all += kept[j];
    }
    xy += 2 * kind * n, score += kind * n;
    for (int i = me; i < n; i += blockDim.x)
        if (i >= all) xy[2 * i] = xy[2 * i + 1] = score[i] = 0.0f;
    if (me >= listed || !kept[me] || before >= n) return;
    int mass = 0, shift_x = 0, shift_y = 0;
    const int* plane = votes + kind * width * height;
    for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
            int y = row + dy, x = column + dx;
            if (x < 0 || x >= width || y < 0 || y >= height) continue;
            int here = plane[y * width + x];
            mass += here, shift_x += dx * here, shift_y += dy * here;
        }
    double whole = (double)max(mass, 1), half = (double)(vote_stride - 1) / 2.0;
    double x = (double)column + (double)shift_x / whole, y = (double)row + (double)shift_y / whole;
    xy[2 * before] = (float)(x * (double)vote_stride + half);
    xy[2 * before + 1] = (float)(y * (double)vote_stride + half);
    score[before] = fminf((float)(unsigned)(best[me] >> 32) / (float)ONE, 1.0f);
}

// ---------------------------------------------------------------- bilinear sampling (sample)

struct Taps {
    int a, b, c, d;
    float fx, fy;
};

__device__ inline Taps taps(float x, float y, int width, int height) {
    x = clampf(x, 0.0f, (float)(width - 1));
    y = clampf(y, 0.0f, (float)(height - 1));
    float x0 = floorf(x), y0 = floorf(y);
    int left = (int)x0, right = min(left + 1, width - 1);
    int top = (int)y0 * width, below = min((int)y0 + 1, height - 1) * width;
    return {top + left, top + right, below + left, below + right, x - x0, y - y0};
}

__device__ inline Taps taps_at(float x, float y, int stride, int width, int height) {
    float half = (float)(stride - 1) / 2.0f;
    return taps((x - half) / (float)stride, (y - half) / (float)stride, width, height);
}

__device__ inline float read(const float* field, const Taps& t) {
    float top = field[t.a] * (1.0f - t.fx) + field[t.b] * t.fx;
    float below = field[t.c] * (1.0f - t.fx) + field[t.d] * t.fx;
    return top * (1.0f - t.fy) + below * t.fy;
}

// Read the fields at the peaks. One warp per peak: lanes 0..A-1 read its anchors, the next DEGREE
// lanes follow its edges, and one lane reads the visibility.
extern "C" __global__ void __launch_bounds__(256)
read_peaks(const float* fields, int width, int height, int stride, float radius, const float* xy,
           const float* score, int n, int refine_steps, float* vis, float* reach, float* anchors) {
    int peak = (blockIdx.x * blockDim.x + threadIdx.x) / 32, lane = threadIdx.x % 32;
    if (peak >= A * n || lane > A + DEGREE) return;
    int kind = peak / n, cells = width * height;
    bool found = score[peak] > 0.0f;
    float x = xy[2 * peak], y = xy[2 * peak + 1];
    Taps here = taps_at(x, y, stride, width, height);
    if (lane < A) {
        const float* away = fields + (ANCHOR + 2 * lane) * cells;
        float* out = anchors + 2 * (peak * A + lane);
        out[0] = found ? x + radius * read(away, here) : 0.0f;
        out[1] = found ? y + radius * read(away + cells, here) : 0.0f;
    } else if (lane < A + DEGREE) {
        int slot = lane - A, edge = EDGE[kind * DEGREE + slot], end = END[kind * DEGREE + slot];
        float* out = reach + 2 * (peak * DEGREE + slot);
        if (!found || edge < 0) {
            out[0] = out[1] = 0.0f;
            return;
        }
        const float* mid = fields + (MID + 2 * edge) * cells;
        x = x + radius * read(mid, here);
        y = y + radius * read(mid + cells, here);
        const float* offset = fields + (SHORT + 2 * end) * cells;
        for (int i = 0; i < refine_steps; ++i) {
            Taps there = taps_at(x, y, stride, width, height);
            float heat = read(fields + (HEAT + end) * cells, there);
            x = x + radius * heat * read(offset, there);
            y = y + radius * heat * read(offset + cells, there);
        }
        out[0] = x, out[1] = y;
    } else {
        bool keypoint = found && kind < K;
        vis[peak] = keypoint ? read(fields + (VIS + kind) * cells, here) : 0.0f;
    }
}

// Return exp(-t) with the same operations as the reference `decay`.
__device__ inline float decay(float t) {
    t = fminf(t, 80.0f);
    float halvings = rintf(t * 1.44269504f);
    float s = halvings * 0.693359375f - t;
    s = s + halvings * -2.12194440e-4f;
    float power = (float)(1.0 / 720);
    power = power * s + (float)(1.0 / 120);
    power = power * s + (float)(1.0 / 24);
    power = power * s + (float)(1.0 / 6);
    power = power * s + 0.5f;
    power = power * s + 1.0f;
    power = power * s + 1.0f;
    return power * __int_as_float((127 - (int)halvings) << 23);
}

// ---------------------------------------------------------------- people (group, centroid)

constexpr long long HOLD = 1LL << 52;  // fixed-point unit; fine, because a cube root is taken later

// Return the smoothed votes of one cell (hough.smooth_votes).
__device__ inline int smoothed_at(const int* plane, int index, int width, int height) {
    int x = index % width, y = index / width, total = 0;
    for (int dy = -1; dy <= 1; ++dy)
        for (int dx = -1; dx <= 1; ++dx) {
            int r = y + dy, c = x + dx;
            bool inside = r >= 0 && r < height && c >= 0 && c < width;
            total += inside ? plane[r * width + c] << ((dx == 0) + (dy == 0)) : 0;
        }
    return total >> 2;
}

// Return the share of a disk that votes for a position (refine.votes_at), in all lanes of a warp.
__device__ inline double votes_at(const int* plane, int width, int height, int stride, float x,
                                  float y, int lane) {
    Taps t = taps_at(x, y, stride, width, height);
    int index = lane == 0 ? t.a : lane == 1 ? t.b : lane == 2 ? t.c : t.d;
    int mine = lane < 4 ? smoothed_at(plane, index, width, height) : 0;
    double a = __shfl_sync(FULL, mine, 0), b = __shfl_sync(FULL, mine, 1);
    double c = __shfl_sync(FULL, mine, 2), d = __shfl_sync(FULL, mine, 3);
    double left = 1.0f - t.fx, above = 1.0f - t.fy;
    double top = a * left + b * (double)t.fx, below = c * left + d * (double)t.fx;
    double all = top * above + below * (double)t.fy;
    return fmin(all / (double)ONE, 1.0);
}

// Return the mean of exp(-‖e - y‖² / 2(σ/2)²) over the foreground cells of the anchor's disk
// (decode/centroid), in all lanes of a warp.
__device__ inline float hold(const float* u, const float* share, int width, int height, int stride,
                             float radius, float x, float y, float sigma, int lane) {
    int reach = (int)ceilf(radius / (float)stride), side = 2 * reach + 1, cells = width * height;
    float half = (float)(stride - 1) / 2.0f;
    int left = (int)rintf((x - half) / (float)stride) - reach;
    int top = (int)rintf((y - half) / (float)stride) - reach;
    float spread = 2.0f * ((sigma / 2.0f) * (sigma / 2.0f));
    long long total = 0;
    int used = 0;
    for (int i = lane; i < side * side; i += 32) {
        int column = left + i % side, row = top + i / side;
        if (column < 0 || column >= width || row < 0 || row >= height) continue;
        float at_x = (float)column * (float)stride + half, at_y = (float)row * (float)stride + half;
        float dx = at_x - x, dy = at_y - y;
        int cell = row * width + column;
        if (dx * dx + dy * dy > radius * radius || !(share[cell] > PERSON)) continue;
        float miss_x = at_x + radius * u[cell] - x, miss_y = at_y + radius * u[cells + cell] - y;
        float points_back = decay((miss_x * miss_x + miss_y * miss_y) / spread);
        total += __float2ll_rn(points_back * (float)HOLD);
        used += 1;
    }
    total = warp_sum(total), used = warp_sum(used);
    return (float)((double)total / ((double)HOLD * (double)max(used, 1)));
}

// Refine anchors without a peak by re-reading the anchor field at their current position
// (refine.refine_unmatched). One block per person, one warp per anchor; each lane holds one of the
// anchors that the field points to from this position. `share` must be filled.
extern "C" __global__ void __launch_bounds__(576)
refine_unmatched(const float* fields, const float* share, int width, int height, int stride,
                 float radius, int steps, const float* matched, float* xy) {
    int people = gridDim.x, j = blockIdx.x, k = threadIdx.x / 32, lane = threadIdx.x % 32;
    int at = j * A + k, cells = width * height;
    if (matched[at] > 0.0f) return;
    float x = xy[2 * at], y = xy[2 * at + 1];
    int mine = min(lane, A - 1);
    const float* u = fields + (ANCHOR + 2 * mine) * cells;
    float low = (stride - 1) / 2.0f;  // the first cell's centre
    float right = low + (float)(stride * (width - 1)), below = low + (float)(stride * (height - 1));
    for (int i = 0; i < steps; ++i) {
        Taps here = taps_at(x, y, stride, width, height);
        // outside the image the field of the border cell applies, which points from that cell
        float from_x = fminf(fmaxf(x, low), right), from_y = fminf(fmaxf(y, low), below);
        float to_x = from_x + radius * read(u, here);
        float to_y = from_y + radius * read(u + cells, here);
        float own = 0.0f, least = 3e38f;
        for (int p = 0; p < people; ++p) {
            const float* peak = xy + 2 * (p * A + mine);
            bool claimed = lane < A && matched[p * A + mine] > 0.0f;
            // only matched anchors are read: other warps move the unmatched ones
            float dx = claimed ? to_x - peak[0] : 0.0f, dy = claimed ? to_y - peak[1] : 0.0f;
            float away = sqrtf(dx * dx + dy * dy), total = 0.0f;
            for (int other = 0; other < A; ++other) total += __shfl_sync(FULL, away, other);
            float miss = total / (float)max(__popc(__ballot_sync(FULL, claimed)), 1);
            if (p == j) own = miss;
            least = fminf(least, miss);
        }
        float next_x = __shfl_sync(FULL, to_x, k), next_y = __shfl_sync(FULL, to_y, k);
        if (read(share, here) > PERSON && own <= least) x = next_x, y = next_y;
    }
    if (lane == 0) xy[2 * at] = x, xy[2 * at + 1] = y;
}

// Measure votes and fields at the anchors of all people. One block per person, one warp per anchor.
// On entry `anchor_score` holds the scores of matched anchors and `scale` the size of the box
// around the keypoints; on return they hold the scores of all anchors and s_j. `share` must be
// filled.
extern "C" __global__ void __launch_bounds__(576)
read_poses(const int* votes, int vote_width, int vote_height, int vote_stride, const float* fields,
           const float* share, int width, int height, int stride, float radius, float fallback,
           float low, float high, const float* xy, const float* vis, const float* matched,
           double* anchor_score, float* sigma, float* scale, float* confidence) {
    __shared__ float logs[A], scores[A];
    __shared__ int claimed[A];
    int j = blockIdx.x, k = threadIdx.x / 32, lane = threadIdx.x % 32;
    int at = j * A + k, cells = width * height;
    float x = xy[2 * at], y = xy[2 * at + 1];
    const int* plane = votes + k * vote_width * vote_height;
    double there = votes_at(plane, vote_width, vote_height, vote_stride, x, y, lane);
    if (matched[at] > 0.0f) there = anchor_score[at];
    float box = scale[j];
    if (lane == 0) {
        logs[k] = read(fields + LOG_SIGMA * cells, taps_at(x, y, stride, width, height));
        scores[k] = (float)there;
        claimed[k] = matched[at] > 0.0f;
    }
    __syncthreads();
    int centre_only = 1, count = 0;
    for (int i = 0; i < K; ++i) centre_only &= !claimed[i];
    float total = 0.0f;
    for (int i = 0; i < A; ++i)
        if (claimed[i] && (scores[i] > SURE_SCORE || centre_only)) total += logs[i], count += 1;
    float learned = radius * expf(total / (float)max(count, 1));
    float size = centre_only ? learned / fallback : box;
    float width_of = count >= MIN_SURE || centre_only ? learned : fallback * size;
    width_of = clampf(width_of, low * size, high * size);
    const float* u = fields + (ANCHOR + 2 * k) * cells;
    float product = (float)there *
                    hold(u, share, width, height, stride, radius, x, y, width_of, lane);
    if (lane == 0) {
        anchor_score[at] = there;
        confidence[at] = k < K ? cbrtf(product * vis[at]) : sqrtf(product);
    }
    if (threadIdx.x == 0) sigma[j] = width_of, scale[j] = size;
}

// ---------------------------------------------------------------- φ of eq. 3 (assign.membership)

// Average the mask over each cell of the offset grid (sample.pool).
extern "C" __global__ void __launch_bounds__(256)
pool(const float* seg, int width, int height, int factor, float inverse, float* share) {
    int cell = blockIdx.x * blockDim.x + threadIdx.x;
    if (cell >= width * height) return;
    const float* block = seg + cell / width * factor * (width * factor) + cell % width * factor;
    float total = 0.0f;
    for (int dy = 0; dy < factor; ++dy)
        for (int dx = 0; dx < factor; ++dx) total += block[dy * width * factor + dx];
    share[cell] = total * inverse;
}

__device__ inline bool foreground(const float* share, int x, int y, int width, int height,
                                  float bar) {
    for (int r = max(y - 1, 0); r <= min(y + 1, height - 1); ++r)
        for (int c = max(x - 1, 0); c <= min(x + 1, width - 1); ++c)
            if (share[r * width + c] > bar) return true;
    return false;
}

struct Person {
    float xy[A][2], weight[A], sigma, scale;
};

// Return the distance of a cell at (x, y) to the person: the distance of its nearest used anchor,
// or the mean over all used anchors with weights ω / ‖u‖².
__device__ inline float distance(const Person& person, const float* u, int cells, float radius,
                                 float x, float y, float near, int nearest) {
    float closest = 3.0e38f, chosen = 0.0f, total = 0.0f, pulls = 0.0f;
    for (int k = 0; k < A; ++k) {
        if (!(person.weight[k] > 0.0f)) continue;
        float ux = u[2 * k * cells] * radius, uy = u[(2 * k + 1) * cells] * radius;
        float away = sqrtf(ux * ux + uy * uy);
        float dx = x + ux - person.xy[k][0], dy = y + uy - person.xy[k][1];
        float miss = sqrtf(dx * dx + dy * dy);
        if (away < closest) closest = away, chosen = miss;
        float soft = near * person.scale + away;
        float pull = person.weight[k] / (soft * soft);
        total += pull * miss;
        pulls += pull;
    }
    return nearest ? chosen : total / pulls;
}

// Return true if the cell lies within 2 s_j + 3 σ of the box around the person's anchors.
__device__ inline bool within_reach(const Person& person, float x, float y) {
    float low_x = person.xy[0][0], high_x = low_x, low_y = person.xy[0][1], high_y = low_y;
    for (int k = 1; k < A; ++k) {
        low_x = fminf(low_x, person.xy[k][0]), high_x = fmaxf(high_x, person.xy[k][0]);
        low_y = fminf(low_y, person.xy[k][1]), high_y = fmaxf(high_y, person.xy[k][1]);
    }
    float margin = REACH_SCALES * person.scale + REACH_SIGMAS * person.sigma;
    return x >= low_x - margin && x <= high_x + margin && y >= low_y - margin &&
           y <= high_y + margin;
}

// Compute φ. One thread per person (grid.y) and cell. `best` (largest φ of a cell, as bits) and
// `candidates` (bit set of the people who may win a pixel near the cell) must be zero on entry.
extern "C" __global__ void __launch_bounds__(128)
membership(const float* fields, const float* share, int width, int height, int stride,
           float radius, float bar, const float* xy, const float* weight, const float* sigma,
           const float* scale, float near, int nearest, float min_phi, float* phi, int* best,
           word* candidates) {
    __shared__ Person person;
    int j = blockIdx.y, cell = blockIdx.x * blockDim.x + threadIdx.x, cells = width * height;
    for (int i = threadIdx.x; i < A; i += blockDim.x) {
        person.xy[i][0] = xy[2 * (j * A + i)];
        person.xy[i][1] = xy[2 * (j * A + i) + 1];
        person.weight[i] = weight[j * A + i];
    }
    if (threadIdx.x == 0) person.sigma = sigma[j], person.scale = scale[j];
    __syncthreads();
    if (cell >= cells) return;
    float half = (float)(stride - 1) / 2.0f;
    float x = (float)(cell % width) * (float)stride + half;
    float y = (float)(cell / width) * (float)stride + half;
    float value = 0.0f;
    if (within_reach(person, x, y) &&
        foreground(share, cell % width, cell / width, width, height, bar)) {
        const float* u = fields + ANCHOR * cells + cell;
        float d = distance(person, u, cells, radius, x, y, near, nearest);
        value = decay(d * d / (2.0f * person.sigma * person.sigma));
        atomicMax(best + cell, __float_as_int(value));
        if (value > SLACK * min_phi) atomicOr(candidates + cell, (word)1 << j);
    }
    phi[j * cells + cell] = value;
}

// Take the step of eq. 4 (assign.mean_shift). One block per anchor (grid.x) and person (grid.y).
extern "C" __global__ void __launch_bounds__(256)
mean_shift(const float* fields, int width, int height, int stride, float radius, const float* phi,
           const float* best, float* xy) {
    __shared__ long long sum_x[8], sum_y[8];
    __shared__ int members[8];
    int k = blockIdx.x, j = blockIdx.y, me = threadIdx.x, cells = width * height, count = 0;
    long long total_x = 0, total_y = 0;
    float half = (float)(stride - 1) / 2.0f;
    const float* u = fields + (ANCHOR + 2 * k) * cells;
    for (int cell = me; cell < cells; cell += 256) {
        float mine = phi[j * cells + cell];
        if (!(mine > MEMBER) || mine != best[cell]) continue;
        float x = (float)(cell % width) * (float)stride + half + u[cell] * radius;
        float y = (float)(cell / width) * (float)stride + half + u[cells + cell] * radius;
        total_x += __float2ll_rn(x * (float)FINE);
        total_y += __float2ll_rn(y * (float)FINE);
        count += 1;
    }
    total_x = warp_sum(total_x), total_y = warp_sum(total_y), count = warp_sum(count);
    if (me % 32 == 0) sum_x[me / 32] = total_x, sum_y[me / 32] = total_y, members[me / 32] = count;
    __syncthreads();
    if (me) return;
    for (int warp = 1; warp < 8; ++warp) {
        total_x += sum_x[warp], total_y += sum_y[warp], count += members[warp];
    }
    if (!count) return;
    double whole = (double)count * (double)FINE;
    xy[2 * (j * A + k)] = (float)((double)total_x / whole);
    xy[2 * (j * A + k) + 1] = (float)((double)total_y / whole);
}

// ---------------------------------------------------------------- label image (paint.paint)

// Interpolate rows before columns, as FrameGrid.spread does.
__device__ inline float spread(const float* field, const Taps& t) {
    float left = field[t.a] * (1.0f - t.fy) + field[t.c] * t.fy;
    float right = field[t.b] * (1.0f - t.fy) + field[t.d] * t.fy;
    return left * (1.0f - t.fx) + right * t.fx;
}

// Paint the label image. One thread per pixel of the frame. `columns` and `rows` are the positions
// of FrameGrid. `pixels` and `sums` (of P_seg · φ, in units of 1 / ONE) are totals per person and
// must be zero on entry.
extern "C" __global__ void __launch_bounds__(256)
paint(const float* phi, const word* candidates, int width, int height, const float* columns,
      const float* rows, const float* seg, int seg_width, int seg_height,
      const float* fine_columns, const float* fine_rows, int frame_width, int frame_height,
      float min_phi, float min_seg, const label_t* ids, label_t* labels, unsigned* pixels,
      word* sums) {
    __shared__ unsigned block_pixels[MAX_PEOPLE], block_sums[MAX_PEOPLE];
    int me = threadIdx.y * TILE_X + threadIdx.x;
    int x = blockIdx.x * TILE_X + threadIdx.x, y = blockIdx.y * TILE_Y + threadIdx.y;
    if (me < MAX_PEOPLE) block_pixels[me] = block_sums[me] = 0;
    __syncthreads();
    int winner = -1;
    unsigned amount = 0;
    if (x < frame_width && y < frame_height) {
        Taps t = taps(columns[x], rows[y], width, height);
        word some = candidates[t.a] | candidates[t.b] | candidates[t.c] | candidates[t.d];
        float highest = min_phi;
        for (; some; some &= some - 1) {
            int j = __ffsll((long long)some) - 1;
            float here = spread(phi + j * width * height, t);
            if (here > highest) highest = here, winner = j;
        }
        if (winner >= 0) {
            float person = spread(seg, taps(fine_columns[x], fine_rows[y], seg_width, seg_height));
            if (!(person > min_seg)) winner = -1;
            amount = __float2uint_rn(person * highest * (float)ONE);
        }
        labels[y * frame_width + x] = winner >= 0 ? ids[winner] : 0;
    }
    // most warps hold one or two people: sum within the warp, then one lane adds per person
    for (unsigned todo = __ballot_sync(FULL, winner >= 0); todo;) {
        int leader = __ffs((int)todo) - 1;
        int person = __shfl_sync(FULL, winner, leader);
        unsigned group = __ballot_sync(FULL, winner == person);
        unsigned total = warp_sum(winner == person ? amount : 0u);
        if ((me & 31) == leader) {
            atomicAdd(block_pixels + person, (unsigned)__popc(group));
            atomicAdd(block_sums + person, total);
        }
        todo &= ~group;
    }
    __syncthreads();
    if (me < MAX_PEOPLE && block_pixels[me]) {
        atomicAdd(pixels + me, block_pixels[me]);
        atomicAdd(sums + me, (word)block_sums[me]);
    }
}
