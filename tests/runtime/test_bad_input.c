/* bad input from outside: every command says what is wrong and ends with the exit code for it; no crash,
 * no hang, no half-written file. What single layers refuse is tested beside them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "tests/support/program.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define ARQ "'" CELLC_SOURCE_DIR "/examples/arq.cell' "
// a network that the interpreter trains in a second
#define TINY SMALL_NETWORK "--set train.warmup=50 "
#define FAST TINY "--env minatar/breakout --backend interp --quiet "

/* every command that reads a network refuses `file` with that message */
static void expect_refused(const char *file, const char *part) {
  static const char *const commands[] = {"check", "emit", "info", "bench update", "train"};
  for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
    CellText line = {0};
    cell_text_printf(&line, "cellc %s %s --env minatar/breakout", commands[i], file);
    expect_line(line.data, 1, part);
    cell_text_free(&line);
  }
}

static void test_files_that_are_no_network(void **state) {
  (void)state;
  expect_line("mkdir -p folder; : > empty; echo 'network x' > bare; printf 'network x\\0y' > nul",
              0, "");
  expect_line("head -c 104857600 /dev/zero > large; head -c 50000 /dev/urandom > noise", 0, "");
  // 10,000 brackets, and what nests without any
  expect_line("{ printf 'param a = '; head -c 10000 /dev/zero | tr '\\0' '('; echo 1; } > round", 0,
              "");
  expect_line("{ printf 'param a = '; head -c 10000 /dev/zero | tr '\\0' '['; echo 1; } > square",
              0, "");
  expect_line("{ printf 'param a = '; head -c 10000 /dev/zero | tr '\\0' '-'; echo 1; } > minus", 0,
              "");
  expect_refused("nowhere", "cannot read `nowhere`: No such file");
  expect_refused("folder", "cannot read `folder`: it is a folder");
  expect_refused("empty", "no stack");
  expect_refused("bare", "no stack");
  expect_refused("nul", "not UTF-8 text");
  expect_refused("large", "`large` is too large: 104857600 bytes");
  expect_refused("/dev/zero", "`/dev/zero` is too large");
  expect_refused("noise", "noise:");
  expect_refused("round", "nested more than 200 deep");
  expect_refused("square", "nested more than 200 deep");
  expect_refused("minus", "nested too deeply");
  expect_line("rm large", 0, "");
}

// a network of one cell with `body`
static void write_network(const char *definitions, const char *body) {
  CellText line = {0};
  cell_text_printf(&line,
                   "cat > net <<'END'\nnetwork net\n%s\ncell C(n)(below) {\n  %s\n"
                   "  goodness linear(below, actions)\n}\nstack { a = C(4) { below: obs } }\n"
                   "policy mean\nlearn td(gamma = 0.9)\nEND",
                   definitions, body);
  expect_line(line.data, 0, "");
  cell_text_free(&line);
}

static void test_networks_that_cannot_be(void **state) {
  (void)state;
  write_network("", "output linear(below, n)");
  expect_line("cellc check net", 0, "fine");
  write_network("", "output linear(below, 1000000000)");
  expect_refused("net", "too large");
  write_network("", "output linear(below, 60000 * 60000)");
  expect_refused("net", "too large");
  write_network("", "output linear(below, n) + linear(below, n + 1)");
  expect_refused("net", "cannot add [4] and [5]");
  write_network("", "output linear(belwo, n)");
  expect_refused("net", "did you mean `below`?");
  // each turn doubles: only what gives up at once ends
  write_network("def f(x) = g(x) + f(x)\ndef g(x) = f(x) * f(x)", "output f(linear(below, n))");
  expect_refused("net", "one may not call itself");
}

static void test_settings(void **state) {
  (void)state;
  expect_line("cellc check " ARQ "--set train.batch=0", 1, "`batch` lies between 1 and 65536");
  expect_line("cellc check " ARQ "--set train.batch=-1", 1, "`batch` lies between 1 and 65536");
  expect_line("cellc check " ARQ "--set train.batch=1/0", 1, "this is inf");
  expect_line("cellc check " ARQ "--set train.batch=0/0", 1, "`batch` is a whole number");
  expect_line("cellc check " ARQ "--set train.batch=nan", 1, "unknown name `nan`");
  expect_line("cellc check " ARQ "--set train.epsilon=2", 1, "`epsilon` lies between 0 and 1");
  expect_line("cellc check " ARQ "--set 'train.optimizer=adam(lr=inf)'", 1, "`lr` lies between");
  expect_line("cellc check " ARQ "--set 'train.optimizer=adam(lr=0/0)'", 1, "`lr` lies between");
  expect_line("cellc check " ARQ "--set 'train.optimizer=adem()'", 1, "an optimiser is wanted");
  expect_line("cellc check " ARQ "--set l1.n=1e300", 1, "too large");
  expect_line("cellc check " ARQ "--set l9.n=3", 1, "did you mean `l1.n`?");
  expect_line("cellc check " ARQ "--set 'l1.n=1 } stack {'", 1, "`}` closes nothing");
  expect_line("cellc check " ARQ "--set l1.n", 2, "wants PATH=VALUE");
  expect_line("cellc check " ARQ "--set @nowhere", 2, "cannot read `nowhere`");
  expect_line("cellc check " ARQ "--set @/dev/zero", 2, "too large");
  expect_line("cellc check " ARQ "--variant smal", 1, "no variant `smal`");
  expect_line("cellc check " ARQ "--obs 0", 1, "`0` is no shape");
  expect_line("cellc check " ARQ "--obs 99999999999999999999", 1, "is no shape");
  expect_line("cellc check " ARQ "--actions 1e9", 1, "`1e9` is no number of actions");
  expect_line("cellc info " ARQ "--obs 1048576 --actions 65536", 1, "too large");
  expect_line("cellc check " ARQ "--env minatar/pong", 1, "`cellc env ls` lists them");
  expect_line("cellc info " ARQ "--threads 0", 2, "no number from 1 to 1024");
  expect_line("cellc info " ARQ "--threads 99999999999999999999", 2, "no number from 1 to 1024");
  expect_line("cellc train " FAST "--seed 99999999999999999999", 2, "no whole number");
  expect_line("cellc train " FAST "--steps nan", 2, "no whole number");
  expect_line("cellc train " FAST "--set train.context=0", 1, "the context is 0");
}

static void test_settings_that_fit_badly(void **state) {
  (void)state;
  // a replay smaller than a batch or a context, and a run shorter than its warm-up
  expect_line("cellc train " FAST "--steps 60 --set train.replay=1", 0, "runs/");
  expect_line("cellc train " FAST "--steps 60 --set train.replay=3 --set train.context=9", 0,
              "runs/");
  expect_line("cellc train " FAST "--steps 60 --set train.warmup=1e6", 0, "runs/");
  expect_line("cellc train " FAST "--steps 60 --set train.warmup=0", 0, "runs/");
}

static void test_disks(void **state) {
  (void)state;
  expect_line("(ulimit -f 2; cellc train " FAST "--steps 60 --runs full)", 1, "File too large");
  expect_line("(ulimit -f 0; cellc train " FAST "--steps 60 --runs full0)", 1, "File too large");
  // what was begun is not left behind, and parameters are whole or not there
  expect_line("find full full0 -name '*.tmp' -o -name 'params*' | grep . || echo none", 0, "none");
  expect_line("echo > file; cellc train " FAST "--steps 60 --runs file", 1, "cannot make `file`");
  expect_line("cellc train " FAST "--steps 60 --runs file/runs", 1, "cannot make `file/runs`");
  expect_line("cellc info " TINY "--no-measure --env minatar/breakout > /dev/full", 1,
              "cannot write to standard output");
  expect_line("cellc emit " TINY "> /dev/full", 1, "cannot write to standard output");
  expect_line("cellc emit " TINY ">&-", 1, "cannot write to standard output");
}

static void test_broken_runs(void **state) {
  (void)state;
  expect_line("cellc train " FAST "--steps 200 --runs good && cp -r good/* bad", 0, "good/");
#define EVAL "cellc eval bad --episodes 1 --max-steps 5 --backend interp"
#define FROM(how) how " good/*/params.safetensors > bad/params.safetensors; " EVAL
  expect_line(EVAL, 0, "policy");
  expect_line(FROM("head -c 100"), 1, "truncated");
  expect_line(FROM("head -c -100"), 1, "truncated");
  expect_line(FROM("head -c 7"), 1, "only 7 bytes");
  expect_line(FROM("sed s/F32/F64/"), 1, "its shape and dtype take");
  expect_line(FROM("sed 's/data_offsets\":.0,/data_offsets\":[4,/'"), 1, "its data has");
  expect_line(FROM("sed s/l1/l9/"), 1, "it holds no tensor");
  expect_line(FROM("printf '\\377\\377\\377\\377\\377\\377\\377\\177' | cat -"), 1,
              "no safetensors file");
  expect_line(FROM("head -c 9999 /dev/urandom | cat - "), 1, "no safetensors file");
  expect_line(
      "rm -r bad; cp -r good/* bad; head -c 999999 /dev/zero | tr '\\0' '[' > bad/run.json; " EVAL,
      1, "`bad/run.json` is broken");
  expect_line("echo '{}' > bad/run.json; cellc plot curve bad", 1, "not of the kind");
  expect_line(
      "cp good/*/run.json bad; printf 'step\\n1,x\\n' > bad/episodes.csv; cellc plot curve bad", 1,
      "bad/episodes.csv");
  expect_line("cellc plot curve good/* --window 0", 2, "--window 0");
  expect_line("cellc plot curve good/* -o /nowhere/x.png", 1, "/nowhere/x");
}

static void test_without_a_compiler_of_kernels(void **state) {
  (void)state;
#define WITHOUT "mkdir -p none; export CELLC_PROVIDER=$PWD/none; "
  expect_line(WITHOUT "cellc check " ARQ, 0, "fine");
  expect_line(WITHOUT "cellc train " TINY "--env minatar/breakout", 3, "--backend interp");
  expect_line(WITHOUT "ls runs-none 2>/dev/null | wc -l", 0, "0");
  expect_line(WITHOUT "cellc bench update " TINY, 3, "--backend interp");
  expect_line(WITHOUT "echo x > none/cell_llvm.so; cellc train " TINY "--env minatar/breakout", 3,
              "could not open the compiler of kernels");
}

// compiled kernels are kept between runs; a folder that cannot hold them is no error
static void test_caches(void **state) {
  (void)state;
#define TRAIN "cellc train " TINY "--env minatar/breakout --quiet --steps 60"
#define WHERE "export XDG_CACHE_HOME=$PWD/cache; "
  expect_line(WHERE TRAIN " && ls cache/cellc | head -n 1", 0, ".o");
  expect_line(WHERE "for f in cache/cellc/*; do head -c 99 /dev/urandom > $f; done; " TRAIN, 0,
              "runs/");
  expect_line(WHERE "rm -r cache; echo text > cache; " TRAIN " && cat cache", 0, "text");
  expect_line("unset HOME XDG_CACHE_HOME; " TRAIN, 0, "runs/");
}

static int prepare(void **state) {
  signal(SIGXFSZ, SIG_DFL); // some callers have it ignored, and children inherit that
  return make_folder(state);
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(test_files_that_are_no_network),
      cmocka_unit_test(test_networks_that_cannot_be),
      cmocka_unit_test(test_settings),
      cmocka_unit_test(test_settings_that_fit_badly),
      cmocka_unit_test(test_disks),
      cmocka_unit_test(test_broken_runs),
      cmocka_unit_test(test_without_a_compiler_of_kernels),
      cmocka_unit_test(test_caches),
  };
  return cmocka_run_group_tests(tests, prepare, remove_folder);
}
