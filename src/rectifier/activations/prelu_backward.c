/* The gradients of PReLU in one pass: dz = z > 0 ? d : a·d, and for each slope the sum of z > 0 ? 0 : z·d.

   Compared with the passes of torch's operators, every number is read and written once. Sums are kept in the
   arithmetic type over a block of fixed size, then in double: they do not depend on the number of threads. */

#include <stdint.h>
#include <string.h>

typedef uint16_t bfloat16;

static inline float widen(bfloat16 x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/* d, or the value rounded to the nearest, ties to even; a NaN stays one. In lanes of 32 bits until the end: that is what
   compilers vectorise. */
static inline bfloat16 choose(int positive, bfloat16 d, float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  const uint32_t rounded = (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16;
  const uint32_t number = value == value ? rounded : 0x7fc0u;
  return (bfloat16)(positive ? (uint32_t)d : number);
}

#define SAME(x) (x)
#define EITHER(positive, d, value) ((positive) ? (d) : (value))
#define BLOCK 4096

/* One element; `which` is where its slope's sum is kept. */
#define ELEMENT(i, slope, which, READ, CHOOSE, ARITHMETIC) \
  {                                                        \
    const ARITHMETIC at = READ(z[i]), d = READ(delta[i]);  \
    const ARITHMETIC leaked = slope * d, product = at * d; \
    dz[i] = CHOOSE(at > 0, delta[i], leaked);              \
    which += at > 0 ? 0 : product;                         \
  }

#define FUNCTIONS(NAME, TYPE, READ, CHOOSE, ARITHMETIC)                                                              \
  /* Rows of `length` that share a slope, row r has that of channel r % channels; the last row may be short. */     \
  void rows_##NAME(const TYPE *delta, const TYPE *z, const TYPE *slopes, TYPE *dz, double *sums, int64_t count,     \
                   int64_t length, int64_t channels, int threads) {                                                 \
    const int64_t rows = (count + length - 1) / length;                                                             \
    _Pragma("omp parallel for num_threads(threads) if (threads > 1)") for (int64_t r = 0; r < rows; r++) {          \
      const ARITHMETIC slope = READ(slopes[r % channels]);                                                          \
      const int64_t end = (r + 1) * length < count ? (r + 1) * length : count;                                      \
      double total = 0;                                                                                             \
      for (int64_t first = r * length; first < end; first += BLOCK) {                                               \
        const int64_t last = first + BLOCK < end ? first + BLOCK : end;                                             \
        ARITHMETIC sum = 0;                                                                                         \
        _Pragma("omp simd reduction(+ : sum)") for (int64_t i = first; i < last; i++)                               \
            ELEMENT(i, slope, sum, READ, CHOOSE, ARITHMETIC)                                                         \
        total += sum;                                                                                               \
      }                                                                                                             \
      sums[r] = total;                                                                                              \
    }                                                                                                               \
  }                                                                                                                 \
  /* (rows, channels), a slope for each column; `channels` sums for each block of `block` rows. `scratch` has room  \
     for the slopes, and for each block's sums while they are added up. */                                          \
  void columns_##NAME(const TYPE *restrict delta, const TYPE *restrict z, const TYPE *restrict slopes,              \
                      TYPE *restrict dz, double *restrict sums, int64_t rows, int64_t channels, int64_t block,      \
                      ARITHMETIC *restrict scratch, int threads) {                                                  \
    const int64_t blocks = (rows + block - 1) / block;                                                              \
    for (int64_t c = 0; c < channels; c++) scratch[c] = READ(slopes[c]);                                            \
    _Pragma("omp parallel for num_threads(threads) if (threads > 1)") for (int64_t b = 0; b < blocks; b++) {        \
      const int64_t end = (b + 1) * block < rows ? (b + 1) * block : rows;                                          \
      ARITHMETIC *restrict own = scratch + (b + 1) * channels;                                                      \
      for (int64_t c = 0; c < channels; c++) own[c] = 0;                                                            \
      for (int64_t r = b * block; r < end; r++) {                                                                   \
        _Pragma("omp simd") for (int64_t c = 0; c < channels; c++)                                                  \
            ELEMENT(r *channels + c, scratch[c], own[c], READ, CHOOSE, ARITHMETIC)                                   \
      }                                                                                                             \
      for (int64_t c = 0; c < channels; c++) sums[b * channels + c] = own[c];                                       \
    }                                                                                                               \
  }

FUNCTIONS(float32, float, SAME, EITHER, float)
FUNCTIONS(float64, double, SAME, EITHER, double)
FUNCTIONS(bfloat16, bfloat16, widen, choose, float)
