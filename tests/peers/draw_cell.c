/* draw_cell.c - prints the random generator's network of a seed, with the shapes that it is for:
 * `draw_cell 20261125`. For comparisons with other programs: a network that nobody chose. */
#include "tests/support/random_cell.h"

#include <errno.h>
#include <stdlib.h>

int main(int argc, char **argv) {
  char *end = NULL;
  errno = 0;
  unsigned long long seed = argc == 2 ? strtoull(argv[1], &end, 10) : 0;
  if (argc != 2 || end == argv[1] || *end || errno != 0) {
    fprintf(stderr, "usage: draw_cell SEED, a whole number\n");
    return 2;
  }
  CellText text = {0};
  CellShapes shapes;
  cell_random_cell(seed, &text, &shapes);
  printf("# --obs ");
  for (int i = 0; i < shapes.obs_rank; i++) printf("%s%d", i ? "x" : "", (int)shapes.obs_shape[i]);
  printf("%s --actions %d%s\n", shapes.obs_bits ? ":bits" : "", (int)shapes.actions,
         shapes.code == CELL_ACTION_BITS ? ":bits" : "");
  fwrite(text.data, 1, text.length, stdout);
  cell_text_free(&text);
  return ferror(stdout) || fflush(stdout) ? 1 : 0;
}
