/* nearest.c - "did you mean": the nearest of some names by edit distance. */
#include "ir/support.h"

#include <ctype.h>
#include <string.h>

enum { LONGEST = 64 }; /* longer names are not compared: nobody mistypes those */

static bool same_letter(char a, char b) {
  return tolower((unsigned char)a) == tolower((unsigned char)b);
}

static int least(int a, int b) {
  return a < b ? a : b;
}

/* insertions, deletions, replacements and swaps of neighbours, each 1; case does not count */
static int distance(const char *a, int m, const char *b, int n) {
  int rows[3][LONGEST + 1];
  for (int j = 0; j <= n; j++) rows[0][j] = j;
  for (int i = 1; i <= m; i++) {
    int *before = rows[(i + 1) % 3], *last = rows[(i + 2) % 3], *row = rows[i % 3];
    row[0] = i;
    for (int j = 1; j <= n; j++) {
      int best = least(last[j], row[j - 1]) + 1;
      best = least(best, last[j - 1] + (same_letter(a[i - 1], b[j - 1]) ? 0 : 1));
      if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
        best = least(best, before[j - 2] + 1);
      row[j] = best;
    }
  }
  return rows[m % 3][n];
}

const char *cell_nearest(const char *name, const char *const *names, int count) {
  size_t length = strlen(name);
  if (length == 0 || length > LONGEST) return NULL;
  const char *nearest = NULL;
  int nearest_distance = 0;
  for (int i = 0; i < count; i++) {
    size_t other = names[i] ? strlen(names[i]) : 0;
    if (other == 0 || other > LONGEST) continue;
    // near is one error in three letters, at least one, and never every letter
    int longer = (int)(length > other ? length : other);
    int allowed = longer < 6 ? 1 + (longer > 3) : longer / 3;
    int d = distance(name, (int)length, names[i], (int)other);
    if (d > allowed || d >= longer) continue;
    if (!nearest || d < nearest_distance) {
      nearest = names[i];
      nearest_distance = d;
    }
  }
  return nearest;
}
