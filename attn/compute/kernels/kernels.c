/* Training on one thread of a CPU: channels last, a multiple of LANES channels, at most MOST.

Maps are of `number`: float32, or with -DBF16 bfloat16. Sums, and what a channel has alone, are
float32 or more. Batch normalisation moves more than it computes, so the activation behind it is
part of it. Each channel is summed in an order of its own, so the bits do not depend on the width of
the vectors; sums are float within a block of rows and double beyond it. */

#include <math.h>
#include <stdint.h>
#include <string.h>

#ifdef BF16
#define LANES 16 /* as many bytes of a map at once: conversion takes as long as memory */
#else
#define LANES 8
#endif
#define MOST 4096

typedef float vec __attribute__((vector_size(4 * LANES), aligned(4), may_alias));
typedef int32_t mask __attribute__((vector_size(4 * LANES)));

#define AT(pointer) (*(vec *)(pointer))

static inline vec all(float value) { return value - (vec){0}; }

static inline vec choose(mask where, vec value, vec other) {
    return (vec)((where & (mask)value) | (~where & (mask)other));
}

#ifdef BF16 /* the upper half of a float */
typedef uint16_t number;
typedef uint16_t halves __attribute__((vector_size(2 * LANES), aligned(2), may_alias));
typedef uint32_t bits __attribute__((vector_size(4 * LANES)));

static inline vec load(const number *from) {
    return (vec)(__builtin_convertvector(*(halves *)from, bits) << 16);
}

/* Rounds to nearest, ties to even. What is no number stays so: rounding could make it infinite. */
static inline void store(number *to, vec value) {
    bits exact = (bits)value, rounded = exact + 0x7fff + ((exact >> 16) & 1);
    bits upper = (bits)choose(value == value, (vec)rounded, (vec)(exact | 0x400000)) >> 16;
    *(halves *)to = __builtin_convertvector(upper, halves);
}

#else
typedef float number;
static inline vec load(const number *from) { return AT(from); }
static inline void store(number *to, vec value) { AT(to) = value; }
#endif

/* Rows whose sums are float: about as many as the first cache holds. */
static long block_of(long channels) { return channels > 512 ? 16 : 8192 / channels; }

/* Mean and biased variance of each channel of x (rows, channels), counted from its first row. */
static void moments(const number *x, long rows, long channels, double *mean, double *variance) {
    long block = block_of(channels);
    memset(mean, 0, channels * sizeof(double));
    memset(variance, 0, channels * sizeof(double));
    for (long first = 0; first < rows; first += block) {
        long end = first + block < rows ? first + block : rows;
        for (long c = 0; c < channels; c += LANES) {
            vec origin = load(x + c), sum = {0}, squares = {0};
            for (long r = first; r < end; r++) {
                vec value = load(x + r * channels + c) - origin;
                sum += value;
                squares += value * value;
            }
            for (int i = 0; i < LANES; i++) {
                mean[c + i] += sum[i];
                variance[c + i] += squares[i];
            }
        }
    }
    for (long c = 0; c < channels; c++) {
        double offset = mean[c] / rows;
        variance[c] = fmax(0, variance[c] / rows - offset * offset);
        mean[c] = offset + load(x + c / LANES * LANES)[c % LANES];
    }
}

/* y = clamp(gain * (x - mean) / sd + bias, low, high) of x (rows, channels), by the batch's mean
and sd, which move the running ones; saved: (4, channels) for the way back. */
void norm(const number *x, long rows, long channels, const float *gain, const float *bias,
          float *running_mean, float *running_variance, double momentum, double epsilon, float low,
          float high, number *y, float *saved) {
    double mean[MOST], variance[MOST];
    float *scale = saved, *shift = scale + channels, *center = shift + channels;
    float *inverse = center + channels;
    moments(x, rows, channels, mean, variance);
    for (long c = 0; c < channels; c++) {
        double unbiased = variance[c] * rows / (rows - 1);
        running_mean[c] += momentum * (mean[c] - running_mean[c]);
        running_variance[c] += momentum * (unbiased - running_variance[c]);
        inverse[c] = 1 / sqrt(variance[c] + epsilon);
        center[c] = mean[c];
        scale[c] = gain[c] * inverse[c];
        shift[c] = bias[c] - mean[c] * scale[c];
    }
    vec least = all(low), most = all(high);
    for (long r = 0; r < rows; r++, x += channels, y += channels)
        for (long c = 0; c < channels; c += LANES) {
            vec value = load(x + c) * AT(scale + c) + AT(shift + c);
            value = choose(value < least, least, value); /* what is no number stays so */
            store(y + c, choose(value > most, most, value));
        }
}

/* What of the gradient g by y passes the clamp: where it has not acted. */
static inline vec passed(vec g, vec x, vec scale, vec shift, vec least, vec most) {
    vec value = x * scale + shift;
    return choose((value > least) & (value < most), g, (vec){0});
}

/* The gradients of norm by x, gain and bias, from g, that by y. */
void norm_back(const number *g, const number *x, long rows, long channels, const float *saved,
               float low, float high, number *dx, float *dgain, float *dbias) {
    const float *scale = saved, *shift = scale + channels, *center = shift + channels;
    const float *inverse = center + channels;
    double sum[MOST] = {0}, product[MOST] = {0};
    float slope[MOST], constant[MOST];
    long block = block_of(2 * channels);
    vec least = all(low), most = all(high);
    for (long first = 0; first < rows; first += block) {
        long end = first + block < rows ? first + block : rows;
        for (long c = 0; c < channels; c += LANES) {
            vec scales = AT(scale + c), shifts = AT(shift + c), centers = AT(center + c);
            vec sums = {0}, products = {0};
            for (long r = first; r < end; r++) {
                vec value = load(x + r * channels + c);
                vec kept = passed(load(g + r * channels + c), value, scales, shifts, least, most);
                sums += kept;
                products += kept * (value - centers);
            }
            for (int i = 0; i < LANES; i++) {
                sum[c + i] += sums[i];
                product[c + i] += products[i];
            }
        }
    }
    for (long c = 0; c < channels; c++) {
        dbias[c] = sum[c];
        dgain[c] = product[c] * inverse[c];
        double steep = -(double)scale[c] * inverse[c] * inverse[c] * product[c] / rows;
        slope[c] = steep;
        constant[c] = -scale[c] * sum[c] / rows - steep * center[c];
    }
    for (long r = 0; r < rows; r++, g += channels, x += channels, dx += channels)
        for (long c = 0; c < channels; c += LANES) {
            vec value = load(x + c), scales = AT(scale + c);
            vec kept = passed(load(g + c), value, scales, AT(shift + c), least, most);
            store(dx + c, scales * kept + AT(slope + c) * value + AT(constant + c));
        }
}

/* The positions of a map that one of another map has to do with, and by which of 3x3 weights. */
typedef struct {
    const number *at[9];
    int tap[9];
    int count;
} Window;

static inline void add(Window *window, const number *at, int tap) {
    window->tap[window->count] = tap;
    window->at[window->count++] = at;
}

/* Those that a window with its corner at (top, left), which may lie outside, sees. */
static void see(Window *window, const number *map, long height, long width, long channels, long top,
                long left) {
    window->count = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++)
            if (top + i >= 0 && top + i < height && left + j >= 0 && left + j < width)
                add(window, map + ((top + i) * width + left + j) * channels, 3 * i + j);
}

/* Those whose windows, moved by 2^halvings and padded by 1, see (row, column) of their input. */
static void seen_by(Window *window, const number *map, long height, long width, long channels,
                    long halvings, long row, long column) {
    window->count = 0;
    for (int i = 0; i < 3; i++)
        for (int j = 0; j < 3; j++) {
            long down = row + 1 - i, right = column + 1 - j;
            if (down < 0 || right < 0 || (halvings && ((down | right) & 1))) continue;
            down >>= halvings, right >>= halvings;
            if (down < height && right < width)
                add(window, map + (down * width + right) * channels, 3 * i + j);
        }
}

static inline void sum_of(const Window *window, int count, const float *weights, long channels,
                          number *out) {
    for (long c = 0; c < channels; c += LANES) {
        vec sum = {0};
        for (int k = 0; k < count; k++)
            sum += AT(weights + window->tap[k] * channels + c) * load(window->at[k] + c);
        store(out + c, sum);
    }
}

static void weighted(const Window *window, const float *weights, long channels, number *out) {
    if (window->count == 9)
        sum_of(window, 9, weights, channels, out); /* unrolled */
    else
        sum_of(window, window->count, weights, channels, out);
}

static long output_size(long size, long halvings) { return ((size - 1) >> halvings) + 1; }

/* x (images, height, width, channels), weights (9, channels) -> y: 3x3, each channel alone, padded
by 1, with a stride of 2^halvings, which is 1 or 2. */
void depthwise(const number *x, const float *weights, long images, long height, long width,
               long channels, long halvings, number *y) {
    long down = output_size(height, halvings), right = output_size(width, halvings);
    Window window;
    for (long n = 0; n < images; n++, x += height * width * channels)
        for (long r = 0; r < down; r++)
            for (long c = 0; c < right; c++, y += channels) {
                see(&window, x, height, width, channels, (r << halvings) - 1, (c << halvings) - 1);
                weighted(&window, weights, channels, y);
            }
}

/* The gradient of depthwise by x, from g, that by y. */
void depthwise_back(const number *g, const float *weights, long images, long height, long width,
                    long channels, long halvings, number *dx) {
    long down = output_size(height, halvings), right = output_size(width, halvings);
    Window window;
    for (long n = 0; n < images; n++, g += down * right * channels)
        for (long r = 0; r < height; r++)
            for (long c = 0; c < width; c++, dx += channels) {
                seen_by(&window, g, down, right, channels, halvings, r, c);
                weighted(&window, weights, channels, dx);
            }
}

/* Adds to sums (3, channels) what one row of g (right, channels) and one of x (width, channels)
give for a row of the weights. */
static void weights_of_rows(const number *g, const number *x, long width, long right, long channels,
                            long halvings, float *sums) {
    for (long k = 0; k < channels; k += LANES) {
        vec before = AT(sums + k), here = AT(sums + channels + k);
        vec behind = AT(sums + 2 * channels + k);
        for (long c = 0; c < right; c++) {
            long middle = c << halvings;
            vec gradient = load(g + c * channels + k);
            const number *at = x + middle * channels + k;
            if (middle > 0) before += gradient * load(at - channels);
            here += gradient * load(at);
            if (middle + 1 < width) behind += gradient * load(at + channels);
        }
        AT(sums + k) = before;
        AT(sums + channels + k) = here;
        AT(sums + 2 * channels + k) = behind;
    }
}

/* The gradient of depthwise by its weights (9, channels), from g, that by y. */
void depthwise_weights(const number *g, const number *x, long images, long height, long width,
                       long channels, long halvings, double *total) {
    float sums[9 * MOST];
    long down = output_size(height, halvings), right = output_size(width, halvings);
    memset(total, 0, 9 * channels * sizeof(double));
    for (long n = 0; n < images; n++, x += height * width * channels) {
        memset(sums, 0, 9 * channels * sizeof(float));
        for (long r = 0; r < down; r++, g += right * channels)
            for (int i = 0; i < 3; i++) {
                long row = (r << halvings) - 1 + i;
                if (row >= 0 && row < height)
                    weights_of_rows(g, x + row * width * channels, width, right, channels, halvings,
                                    sums + 3 * i * channels);
            }
        for (long i = 0; i < 9 * channels; i++) total[i] += sums[i];
    }
}

/* out (images, count): numbers in [0, 1), those of attn.draws.uniform to the bit: Philox4x32-10 of
the counter (block, sample, epoch, purpose) and the key (seed, 0). */
void uniform(uint32_t seed, uint32_t epoch, const int64_t *samples, long images, uint32_t purpose,
             long count, float *out) {
    for (long n = 0; n < images; n++, out += count)
        for (long block = 0; 4 * block < count; block++) {
            uint32_t word[4] = {block, samples[n], epoch, purpose}, key[2] = {seed, 0};
            for (int round = 0; round < 10; round++) {
                uint64_t first = (uint64_t)word[0] * 0xD2511F53u;
                uint64_t second = (uint64_t)word[2] * 0xCD9E8D57u;
                word[0] = (uint32_t)(second >> 32) ^ word[1] ^ key[0];
                word[1] = second;
                word[2] = (uint32_t)(first >> 32) ^ word[3] ^ key[1];
                word[3] = first;
                key[0] += 0x9E3779B9u;
                key[1] += 0xBB67AE85u;
            }
            for (long i = 0; i < 4 && 4 * block + i < count; i++)
                out[4 * block + i] = (word[i] >> 8) * 0x1p-24f;
        }
}
