/* The noise of docs/noise.md: the same numbers as Python's tf_deconv.generation.noise. Copy this file; link
 * with -lm. A number depends on seed, stream, picture and place alone, so any order will do. */

#ifndef TF_DECONV_NOISE_H
#define TF_DECONV_NOISE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* Threefry-2x32 with 20 rounds, Salmon et al. 2011: two words of one block. */
static inline void noise_words(uint32_t seed, uint32_t stream, uint32_t picture, uint32_t block,
                               uint32_t words[2]) {
  static const unsigned rotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t key[3] = {seed, stream, seed ^ stream ^ UINT32_C(0x1BD11BDA)};
  uint32_t x0 = picture + key[0], x1 = block + key[1];
  for (unsigned group = 0; group < 5; ++group) {
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned distance = rotations[group % 2][i];
      x0 += x1;
      x1 = ((x1 << distance) | (x1 >> (32 - distance))) ^ x0;
    }
    x0 += key[(group + 1) % 3];
    x1 += key[(group + 2) % 3] + group + 1;
  }
  words[0] = x0;
  words[1] = x1;
}

/* Writes the first `size` standard normal numbers of a picture to `out`. `seed` is at most
 * 2^31 - 1, `stream` 0 unless the model asks for more than one noise. */
static inline void noise_normal(uint32_t seed, uint32_t stream, uint32_t picture, size_t size,
                                float *out) {
  for (size_t i = 0; i < size; i += 2) {
    uint32_t words[2];
    noise_words(seed, stream, picture, (uint32_t)(i / 2), words);
    /* 24 bits of each word: u1 in (0, 1], so that its logarithm is finite, and u2 in [0, 1). */
    const double u1 = ((words[0] >> 8) + 1) / 16777216.0, u2 = (words[1] >> 8) / 16777216.0;
    const double radius = sqrt(-2 * log(u1)), angle = 6.283185307179586 * u2;
    out[i] = (float)(radius * cos(angle));
    if (i + 1 < size) out[i + 1] = (float)(radius * sin(angle));
  }
}

#endif
