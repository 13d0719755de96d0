/* Prints the noise that a generator starts from: docs/noise.md, and noise.h to copy from.
 *
 *   ./noise SEED FIRST COUNT SIZE [STREAM]
 *
 * One line for each of the pictures FIRST to FIRST + COUNT - 1, with SIZE standard normal numbers:
 * those of Python's tf_deconv.generation.noise.normal(SEED, COUNT, SIZE, first=FIRST, stream=STREAM).
 *
 * Exit code 0, 1 with one line on stderr when it did not work, 2 when it was called wrongly.
 */

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "noise.h"

enum { FAILED = 1, USAGE = 2 };

#define LARGEST_SEED UINT64_C(0x7FFFFFFF)
#define LARGEST_SIZE UINT64_C(0x7FFFFFFF) /* A size_t of 32 bits holds it. */
#define LARGEST_WORD UINT64_C(0xFFFFFFFF)

/* Reads a whole number from 0 to `largest`: digits and nothing else. */
static bool read_number(const char *text, uint64_t largest, uint64_t *number) {
  if (text[0] < '0' || text[0] > '9') return false; /* strtoull would take a sign or a space. */
  char *end;
  errno = 0;
  *number = strtoull(text, &end, 10);
  return errno == 0 && *end == '\0' && *number <= largest;
}

static int usage(void) {
  fputs("usage: noise SEED FIRST COUNT SIZE [STREAM]\n"
        "SEED, SIZE: 0 to 2147483647; FIRST, STREAM: 0 to 4294967295; COUNT: 0 to 4294967296 - "
        "FIRST\n",
        stderr);
  return USAGE;
}

int main(int count_of_arguments, char **arguments) {
  uint64_t seed, first, count, size, stream = 0;
  if (count_of_arguments != 5 && count_of_arguments != 6) return usage();
  if (!read_number(arguments[1], LARGEST_SEED, &seed) ||
      !read_number(arguments[2], LARGEST_WORD, &first) ||
      !read_number(arguments[3], LARGEST_WORD + 1 - first, &count) ||
      !read_number(arguments[4], LARGEST_SIZE, &size) ||
      (count_of_arguments == 6 && !read_number(arguments[5], LARGEST_WORD, &stream)))
    return usage();
  float *numbers = calloc((size_t)size + 1, sizeof *numbers);
  if (!numbers) {
    fputs("noise: not enough memory for SIZE numbers\n", stderr);
    return FAILED;
  }
  for (uint64_t i = 0; i < count; ++i) {
    noise_normal((uint32_t)seed, (uint32_t)stream, (uint32_t)(first + i), (size_t)size, numbers);
    /* Nine digits tell every float32 from its neighbours. */
    for (uint64_t j = 0; j < size; ++j) printf("%s%.9g", j ? " " : "", (double)numbers[j]);
    putchar('\n');
  }
  free(numbers);
  if (fflush(stdout) != 0 || ferror(stdout)) {
    fputs("noise: cannot write to the output\n", stderr);
    return FAILED;
  }
  return 0;
}
