/* PReLU and its gradients, each in one pass: h = z > 0 ? z : a·z; dz = z > 0 ? d : a·d, and for each slope the sum of
   z > 0 ? 0 : z·d.

   Compared with the passes of torch's operators, every number is read and written once. Sums are kept in the
   arithmetic type over a block of fixed size, then in double: they do not depend on the number of threads.

   A tensor is either rows of `length` elements that share a slope - row r has that of channel r % channels, and the
   last one may be short -, or (rows, channels) with a slope for each column. */

#include <stdint.h>
#include <string.h>

typedef uint16_t bfloat16;

static inline float widen(bfloat16 x) {
  uint32_t bits = (uint32_t)x << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/* Rounded to the nearest, ties to even; a NaN stays one. In lanes of 32 bits until the end: that is what compilers
   vectorise. */
static inline uint32_t rounded(float value) {
  uint32_t bits;
  memcpy(&bits, &value, 4);
  return value == value ? (bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16 : 0x7fc0u;
}

static inline bfloat16 narrow(float value) { return (bfloat16)rounded(value); }

static inline bfloat16 choose(int positive, bfloat16 d, float value) {
  return (bfloat16)(positive ? (uint32_t)d : rounded(value));
}

#define SAME(x) (x)
#define EITHER(positive, d, value) ((positive) ? (d) : (value))
#define BLOCK 4096
#define COLUMNS 64

/* One element of the output. */
#define VALUE(i, slope, READ, CHOOSE, ARITHMETIC)        \
  {                                                      \
    const ARITHMETIC at = READ(z[i]), leaked = slope * at; \
    h[i] = CHOOSE(at > 0, z[i], leaked);                 \
  }

/* One element of the gradient; `which` is where its slope's sum is kept. */
#define GRADIENT(i, slope, which, READ, CHOOSE, ARITHMETIC)                                                           \
  {                                                                                                                   \
    const ARITHMETIC at = READ(z[i]), d = READ(delta[i]);                                                             \
    const ARITHMETIC leaked = slope * d, product = at * d;                                                            \
    dz[i] = CHOOSE(at > 0, delta[i], leaked);                                                                         \
    which += at > 0 ? 0 : product;                                                                                    \
  }

#define EACH(VARIABLE, COUNT)                                                                                         \
  _Pragma("omp parallel for num_threads(threads) if (threads > 1)") for (int64_t VARIABLE = 0; VARIABLE < COUNT; VARIABLE++)

#define FUNCTIONS(NAME, TYPE, READ, CHOOSE, ROUND, ARITHMETIC)                                                        \
  void row_values_##NAME(const TYPE *restrict z, const TYPE *restrict slopes, TYPE *restrict h, int64_t count,        \
                         int64_t length, int64_t channels, int threads) {                                             \
    EACH(r, (count + length - 1) / length) {                                                                          \
      const ARITHMETIC slope = READ(slopes[r % channels]);                                                            \
      const int64_t end = (r + 1) * length < count ? (r + 1) * length : count;                                        \
      _Pragma("omp simd") for (int64_t i = r * length; i < end; i++) VALUE(i, slope, READ, CHOOSE, ARITHMETIC)        \
    }                                                                                                                 \
  }                                                                                                                   \
  /* Blocks of `block` rows; `scratch` has room for the slopes. */                                                    \
  void column_values_##NAME(const TYPE *restrict z, const TYPE *restrict slopes, TYPE *restrict h, int64_t rows,      \
                            int64_t channels, int64_t block, ARITHMETIC *restrict scratch, int threads) {             \
    for (int64_t c = 0; c < channels; c++) scratch[c] = READ(slopes[c]);                                              \
    EACH(b, (rows + block - 1) / block) {                                                                             \
      const int64_t end = (b + 1) * block < rows ? (b + 1) * block : rows;                                            \
      for (int64_t r = b * block; r < end; r++) {                                                                     \
        _Pragma("omp simd") for (int64_t c = 0; c < channels; c++)                                                    \
            VALUE(r *channels + c, scratch[c], READ, CHOOSE, ARITHMETIC)                                              \
      }                                                                                                               \
    }                                                                                                                 \
  }                                                                                                                   \
  /* The sums of `rows` times `channels`, in order, and rounded once; some columns at a time, so that all of a cache  \
     line is used at once. */                                                                                         \
  static void add_up_##NAME(const double *restrict sums, int64_t rows, int64_t channels, TYPE *restrict dslopes) {    \
    for (int64_t first = 0; first < channels; first += COLUMNS) {                                                     \
      const int64_t some = channels - first < COLUMNS ? channels - first : COLUMNS;                                   \
      double totals[COLUMNS] = {0};                                                                                   \
      for (int64_t r = first; r < rows; r += channels)                                                                \
        for (int64_t c = 0; c < some; c++) totals[c] += sums[r + c];                                                  \
      for (int64_t c = 0; c < some; c++) dslopes[first + c] = ROUND((ARITHMETIC)totals[c]);                           \
    }                                                                                                                 \
  }                                                                                                                   \
  /* `sums` has room for one of each row. */                                                                          \
  void row_gradients_##NAME(const TYPE *restrict delta, const TYPE *restrict z, const TYPE *restrict slopes,           \
                            TYPE *restrict dz, TYPE *restrict dslopes, double *restrict sums, int64_t count,           \
                            int64_t length, int64_t channels, int threads) {                                          \
    const int64_t rows = (count + length - 1) / length;                                                               \
    EACH(r, rows) {                                                                                                   \
      const ARITHMETIC slope = READ(slopes[r % channels]);                                                            \
      const int64_t end = (r + 1) * length < count ? (r + 1) * length : count;                                        \
      double total = 0;                                                                                               \
      for (int64_t first = r * length; first < end; first += BLOCK) {                                                 \
        const int64_t last = first + BLOCK < end ? first + BLOCK : end;                                               \
        ARITHMETIC sum = 0;                                                                                           \
        _Pragma("omp simd reduction(+ : sum)") for (int64_t i = first; i < last; i++)                                 \
            GRADIENT(i, slope, sum, READ, CHOOSE, ARITHMETIC)                                                         \
        total += sum;                                                                                                 \
      }                                                                                                               \
      sums[r] = total;                                                                                                \
    }                                                                                                                 \
    add_up_##NAME(sums, rows, channels, dslopes);                                                                     \
  }                                                                                                                   \
  /* `sums` has room for each block's, `scratch` for the slopes and for each block's sums while they are added up. */ \
  void column_gradients_##NAME(const TYPE *restrict delta, const TYPE *restrict z, const TYPE *restrict slopes,        \
                               TYPE *restrict dz, TYPE *restrict dslopes, double *restrict sums, int64_t rows,         \
                               int64_t channels, int64_t block, ARITHMETIC *restrict scratch, int threads) {          \
    const int64_t blocks = (rows + block - 1) / block;                                                                \
    for (int64_t c = 0; c < channels; c++) scratch[c] = READ(slopes[c]);                                              \
    EACH(b, blocks) {                                                                                                 \
      const int64_t end = (b + 1) * block < rows ? (b + 1) * block : rows;                                            \
      ARITHMETIC *restrict own = scratch + (b + 1) * channels;                                                        \
      for (int64_t c = 0; c < channels; c++) own[c] = 0;                                                              \
      for (int64_t r = b * block; r < end; r++) {                                                                     \
        _Pragma("omp simd") for (int64_t c = 0; c < channels; c++)                                                    \
            GRADIENT(r *channels + c, scratch[c], own[c], READ, CHOOSE, ARITHMETIC)                                   \
      }                                                                                                               \
      for (int64_t c = 0; c < channels; c++) sums[b * channels + c] = own[c];                                         \
    }                                                                                                                 \
    add_up_##NAME(sums, blocks *channels, channels, dslopes);                                                         \
  }

FUNCTIONS(float32, float, SAME, EITHER, SAME, float)
FUNCTIONS(float64, double, SAME, EITHER, SAME, double)
FUNCTIONS(bfloat16, bfloat16, widen, choose, narrow, float)
