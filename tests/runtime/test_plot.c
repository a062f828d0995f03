/* curves: windows, several runs, and what gnuplot is given */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "runtime/files.h"
#include "runtime/plot.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void test_a_window_of_episodes(void **state) {
  (void)state;
  // returns 0, 1, 2 ... of episodes of ten steps
  CellRunEpisode episodes[10];
  for (int i = 0; i < 10; i++) episodes[i] = (CellRunEpisode){10 * (i + 1), 10, i};
  const CellRunEpisode *runs[] = {episodes};
  const int counts[] = {10};
  CellPlotPoint points[20];
  cell_plot_curve(runs, counts, 1, 3, 20, points);
  assert_true(points[19].step == 100 && points[19].mean == 8);
  assert_true(points[0].step == 5 && isnan(points[0].mean));
  assert_true(points[1].mean == 0);   // one episode
  assert_true(points[3].mean == 0.5); // two
  assert_true(points[4].mean == 0.5); // half a step on
  assert_true(points[6].mean == 1.0 && points[7].mean == 2.0);
  assert_true(isnan(points[19].deviation));
}

static void test_several_runs(void **state) {
  (void)state;
  CellRunEpisode a[] = {{50, 50, 1}, {100, 50, 3}}, b[] = {{60, 60, 2}, {200, 140, 9}},
                 c[] = {{90, 90, 6}};
  const CellRunEpisode *runs[] = {a, b, c};
  const int counts[] = {2, 2, 1};
  CellPlotPoint points[9];
  cell_plot_curve(runs, counts, 3, 100, 9, points);
  // up to the shortest run; only where every run has an episode
  assert_true(points[8].step == 90);
  assert_true(isnan(points[7].mean));
  assert_true(points[8].mean == 3);
  assert_true(fabs(points[8].deviation - sqrt(7)) < 1e-12);
}

static void make_run(const char *folder, const char *name, int seed) {
  CellDiag *diag = cell_diag_create();
  char path[512], text[512];
  assert_int_equal(mkdir(folder, 0777), 0);
  snprintf(path, sizeof path, "%s/run.json", folder);
  snprintf(text, sizeof text,
           "{\"schema\": \"cellc.run.1\", \"name\": \"%s\", \"env\": \"minatar/breakout\", "
           "\"variant\": \"it's \\\"quoted\\\"\", \"seed\": %d, \"spec_hash\": \"x\", \"sets\": "
           "[\"a.b=1\"]}",
           name, seed);
  assert_true(cell_write_file(path, text, strlen(text), diag));
  snprintf(path, sizeof path, "%s/episodes.csv", folder);
  // the last row is still being written
  snprintf(text, sizeof text, "step,return,length,seconds\n10,1,10,0.1\n30,%d,20,0.2\n40,1", seed);
  assert_true(cell_write_file(path, text, strlen(text), diag));
  cell_diag_destroy(diag);
}

static void test_gnuplot(void **state) {
  (void)state;
  char root[] = "/tmp/cellc-test-plot-XXXXXX", folders[5][64], figure[64], path[64];
  assert_non_null(mkdtemp(root));
  const char *list[5];
  for (int i = 0; i < 5; i++) {
    snprintf(folders[i], sizeof folders[i], "%s/%d", root, i);
    make_run(folders[i], i < 3 ? "net" : "other", i);
    list[i] = folders[i];
  }
  CellDiag *diag = cell_diag_create();
  bool missing;
  snprintf(figure, sizeof figure, "%s/fig.svg", root);
  CellPlotOptions options = {.figure = figure, .window = 100};
  bool drawn = cell_plot_runs(list, 5, &options, &missing, diag);
  if (missing) skip();
  assert_true(drawn);
  // three seeds are one curve with its band, two are two curves
  size_t length;
  snprintf(path, sizeof path, "%s/fig.gp", root);
  char *script = cell_read_file(path, 1 << 20, &length, diag);
  assert_non_null(strstr(script, "index 0 using 1:3:4 with filledcurves"));
  assert_non_null(strstr(script, "title \"net breakout it's \\\"quoted\\\" a.b=1 (3 seeds)\""));
  assert_non_null(strstr(script, "title \"other breakout it's \\\"quoted\\\" a.b=1 s4\""));
  assert_null(strstr(script, "index 1 using 1:3:4"));
  free(script);
  char *svg = cell_read_file(figure, 1 << 24, &length, diag);
  assert_non_null(strstr(svg, "<svg"));
  free(svg);
  // as text
  FILE *out = tmpfile();
  options = (CellPlotOptions){.out = out, .window = 100, .columns = 60, .rows = 20};
  assert_true(cell_plot_runs(list, 1, &options, &missing, diag));
  char text[8192];
  rewind(out);
  text[fread(text, 1, sizeof text - 1, out)] = 0;
  assert_non_null(strstr(text, "net breakout"));
  fclose(out);
  // what cannot be drawn
  assert_int_equal(diag->error_count, 0);
  options = (CellPlotOptions){.figure = "fig.doc", .window = 100};
  assert_false(cell_plot_runs(list, 1, &options, &missing, diag));
  assert_int_equal(diag->error_count, 1);
  snprintf(text, sizeof text, "rm -rf %s", root);
  assert_int_equal(system(text), 0);
  cell_diag_destroy(diag);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_a_window_of_episodes),
      cmocka_unit_test(test_several_runs),
      cmocka_unit_test(test_gnuplot),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
