/* cmd_info.c - `cellc info`: what a network is made of and what an update of it costs. */
#include "runtime/bench.h"
#include "runtime/cli/info_plan.h"
#include "runtime/cli/network_args.h"
#include "runtime/init.h"
#include "runtime/json.h"
#include "runtime/progress.h"
#include "runtime/trainer.h"

#include <stdlib.h>
#include <string.h>

enum { LARGEST = 12 };

typedef struct {
  CellNetworkOptions network;
  const CellEnvKind *env;
  int no_measure, rewrites;
} Options;

static const char *const init_names[] = {"zeros",      "ones",   "lecun",  "torch",
                                         "orthogonal", "normal", "uniform"};

/* what is counted of one update */
typedef struct {
  bool has_written, measured;
  CellCounts written, graph;
  double plan_flops, plan_bytes, bit_flops, sparse_flops;
  int64_t arena,
      kinds[4]; /* bytes by CellBufferKind; TEMP: the room that they share, and constants */
  int64_t replay, parameters;
  double update_seconds, act_seconds, run_seconds;
} Figures;

static const char *const kind_names[] = {"states", "inputs", "outputs", "temporaries"};

/* ---- counting ---- */

static void count_plan(const CellNetwork *n, Figures *f) {
  const CellPlan *plan = n->plan;
  f->arena = plan->arena_bytes;
  for (int i = 0; i < plan->buffer_count; i++) {
    const CellBuffer *b = &plan->buffers[i];
    if (b->kind < CELL_BUFFER_TEMP) f->kinds[b->kind] += 4 * b->count;
  }
  f->kinds[CELL_BUFFER_TEMP] = f->arena - f->kinds[CELL_BUFFER_STATE] -
                               f->kinds[CELL_BUFFER_INPUT] - f->kinds[CELL_BUFFER_OUTPUT];
  for (int p = 0; p < plan->program_count; p++) {
    if (strcmp(plan->programs[p].name, "update") != 0) continue;
    for (int l = 0; l < plan->programs[p].launch_count; l++) {
      CellKernelCounts counts =
          cell_kernel_counts(plan->kernels[plan->programs[p].launches[l].kernel]);
      f->plan_flops += counts.contract_flops, f->plan_bytes += counts.bytes;
      f->bit_flops += counts.bit_flops, f->sparse_flops += counts.sparse_flops;
    }
  }
}

static void count(const Options *o, const CellNetwork *n, Figures *f) {
  const CellTrain *train = cell_spec_train(n->spec);
  const CellGraph *update = cell_program(n->module, "update");
  f->has_written = cell_network_written_counts(&o->network, n, &f->written);
  if (update) f->graph = cell_counts(update);
  if (n->plan) count_plan(n, f);
  int32_t observation = 1;
  for (int i = 0; i < n->shapes.obs_rank; i++) observation *= n->shapes.obs_shape[i];
  CellReplayOptions replay = {.capacity = train->replay,
                              .envs = 1,
                              .context = train->context,
                              .observation = observation,
                              .actions = n->shapes.actions,
                              .bits = n->shapes.obs_bits};
  f->replay = cell_replay_bytes(&replay);
  f->parameters = cell_network_param_count(n);
}

static void measure(const Options *o, CellNetwork *n, Figures *f) {
  CellDiag *diag = cell_diag_create();
  const CellTrain *train = cell_spec_train(n->spec);
  f->measured = cell_bench_expect(n, o->env, &f->update_seconds, &f->act_seconds, diag);
  f->run_seconds = f->update_seconds * (double)cell_trainer_updates(train) +
                   f->act_seconds * (double)train->steps;
  cell_diag_destroy(diag);
}

/* ---- text ---- */

static const char *shape_text(int rank, const int32_t *shape, char *out, size_t size) {
  size_t length = (size_t)snprintf(out, size, "[");
  for (int i = 0; i < rank; i++) {
    length += (size_t)snprintf(out + length, size - length, "%s%d", i ? ", " : "", (int)shape[i]);
  }
  snprintf(out + length, size - length, "]");
  return out;
}

static void print_parameters(const CellNetwork *n, const Figures *f) {
  char shape[64], total[16];
  cell_format_count((double)f->parameters, total);
  printf("parameters: %lld (%s)\n", (long long)f->parameters, total);
  for (int i = 0; i < n->module->param_count; i++) {
    const CellParam *p = &n->module->params[i];
    printf("  %-34s %-16s %10lld  %s", p->name, shape_text(p->rank, p->shape, shape, sizeof shape),
           (long long)cell_param_count(p), init_names[p->init]);
    for (int k = 0; k < p->part_count; k++) {
      printf("%s%d:%d", k ? " " : "  columns ", (int)p->parts[k].begin, (int)p->parts[k].end);
    }
    printf("\n");
  }
}

static bool is_local(const CellCertificate *c) {
  return c->crossed_count == 0 && c->loss_count == 1 && strcmp(c->losses[0], c->group) == 0;
}

static void print_certificates(const CellNetwork *n) {
  printf("\nlosses that reach the parameters\n");
  for (int i = 0; i < n->module->certificate_count; i++) {
    const CellCertificate *c = &n->module->certificates[i];
    printf("  %-12s ", c->group);
    if (is_local(c))
      printf("its own cell only");
    else {
      for (int k = 0; k < c->loss_count; k++) printf("%s%s", k ? ", " : "", c->losses[k]);
      for (int k = 0; k < c->crossed_count; k++) {
        printf("%s%s", k ? ", " : "; the gradient crosses ", c->crossed[k]);
      }
    }
    printf("\n");
  }
}

static void print_work(const CellNetwork *n, const Figures *f) {
  printf("\nan update of %d samples, products with parameters and their gradients\n",
         (int)cell_spec_train(n->spec)->batch);
  if (f->has_written) {
    printf("  %-34s %10.3f GFLOP\n", "as written, all candidates", f->written.shared_flops / 1e9);
  }
  printf("  %-34s %10.3f GFLOP\n", "after rewriting", f->graph.shared_flops / 1e9);
  if (n->plan) {
    printf("  %-34s %10.3f GFLOP\n", "in contract statements of the plan", f->plan_flops / 1e9);
    if (f->bit_flops > 0)
      printf("  %-34s %10.3f GFLOP, if all were set\n", "  of which bits select from",
             f->bit_flops / 1e9);
    if (f->sparse_flops > 0)
      printf("  %-34s %10.3f GFLOP, if there were none\n", "  of which leave out zeros",
             f->sparse_flops / 1e9);
    printf("  %-34s %10.3f GB\n", "bytes moved, as planned", f->plan_bytes / 1e9);
  }
}

static int by_count(const void *a, const void *b) {
  const CellBuffer *x = *(const CellBuffer *const *)a, *y = *(const CellBuffer *const *)b;
  if (x->count != y->count) return x->count < y->count ? 1 : -1;
  return x->offset < y->offset ? -1 : x->offset > y->offset;
}

/* each kernel's scratch, and the largest thing in it */
static void print_scratch(const CellPlan *plan) {
  printf("\nscratch of a thread, entries: in all, and the largest\n");
  for (int k = 0; k < plan->kernel_count; k++) {
    const CellKernel *kernel = plan->kernels[k];
    const CellScratch *largest = NULL;
    int64_t sum = 0;
    for (int i = 0; i < kernel->scratch_count; i++) {
      const CellScratch *s = &kernel->scratch[i];
      sum += s->count;
      if (!largest || s->count > largest->count) largest = s;
    }
    if (!largest) continue;
    printf("  %-16s %12lld in %3d %12lld  %s\n", kernel->name, (long long)sum,
           kernel->scratch_count, (long long)largest->count, largest->name ? largest->name : "");
  }
}

static void print_memory(const CellNetwork *n, const Figures *f) {
  char bytes[16];
  printf("\nmemory\n");
  const CellPlan *plan = n->plan;
  if (plan) {
    cell_format_count((double)f->arena, bytes);
    printf("  %-34s %8sB\n", "arena", bytes);
    for (int i = 0; i < 4; i++) {
      cell_format_count((double)f->kinds[i], bytes);
      printf("    %-32s %8sB\n", kind_names[i], bytes);
    }
    cell_format_count((double)plan->scratch_bytes, bytes);
    printf("  %-34s %8sB\n", "scratch of each thread", bytes);
  }
  cell_format_count((double)f->replay, bytes);
  printf("  %-34s %8sB\n", "replay when full", bytes);
  if (!plan) return;

  const CellBuffer **temps = cell_malloc((size_t)plan->buffer_count * sizeof *temps + 1);
  int count = 0;
  for (int i = 0; i < plan->buffer_count; i++) {
    if (plan->buffers[i].kind == CELL_BUFFER_TEMP) temps[count++] = &plan->buffers[i];
  }
  qsort(temps, (size_t)count, sizeof *temps, by_count);
  printf("\nlargest of %d stored temporaries, entries\n", count);
  for (int i = 0; i < count && i < LARGEST; i++) {
    printf("  %-44s %12lld  of %s\n", temps[i]->name, (long long)temps[i]->count,
           plan->programs[temps[i]->program].name);
  }
  free(temps);
  print_scratch(plan);
}

static void print_time(const CellNetwork *n, const Figures *f) {
  if (!f->measured) return;
  char time[32];
  cell_format_seconds(f->run_seconds, time);
  printf(
      "\non this machine: an update %.4f s, a step of acting %.6f s; %lld steps with %lld updates "
      "in about %s\n",
      f->update_seconds, f->act_seconds, (long long)cell_spec_train(n->spec)->steps,
      (long long)cell_trainer_updates(cell_spec_train(n->spec)), time);
}

static void print_text(const Options *o, const CellNetwork *n, const Figures *f) {
  char shape[64];
  printf("%s: observation %s%s, %d actions%s%s\n", cell_spec_name(n->spec),
         shape_text(n->shapes.obs_rank, n->shapes.obs_shape, shape, sizeof shape),
         n->shapes.obs_bits ? " of bits" : "", (int)n->shapes.actions, o->env ? ", as in " : "",
         o->env              ? o->env->name
         : n->shapes.assumed ? " (assumed: give --env, or --obs and --actions)"
                             : "");
  print_parameters(n, f);
  print_certificates(n);
  print_work(n, f);
  if (n->plan) cell_info_print_kernels(n);
  if (o->rewrites) cell_info_print_rewrites(&o->network);
  print_memory(n, f);
  print_time(n, f);
}

/* ---- JSON ---- */

static json_t *parameters_json(const CellNetwork *n) {
  json_t *all = json_array();
  for (int i = 0; i < n->module->param_count; i++) {
    const CellParam *p = &n->module->params[i];
    json_t *shape = json_array(), *parts = json_array();
    for (int d = 0; d < p->rank; d++) json_array_append_new(shape, json_integer(p->shape[d]));
    for (int k = 0; k < p->part_count; k++) {
      json_array_append_new(parts, json_pack("[i, i]", p->parts[k].begin, p->parts[k].end));
    }
    json_array_append_new(all, json_pack("{s:s, s:s, s:o, s:I, s:s, s:o}", "name", p->name, "group",
                                         p->group, "shape", shape, "count",
                                         (json_int_t)cell_param_count(p), "init",
                                         init_names[p->init], "parts", parts));
  }
  return all;
}

static json_t *names_json(const char **names, int count) {
  json_t *all = json_array();
  for (int i = 0; i < count; i++) json_array_append_new(all, json_string(names[i]));
  return all;
}

static json_t *certificates_json(const CellNetwork *n) {
  json_t *all = json_array();
  for (int i = 0; i < n->module->certificate_count; i++) {
    const CellCertificate *c = &n->module->certificates[i];
    json_array_append_new(all,
                          json_pack("{s:s, s:b, s:o, s:o}", "group", c->group, "local", is_local(c),
                                    "losses", names_json(c->losses, c->loss_count), "crossed",
                                    names_json(c->crossed, c->crossed_count)));
  }
  return all;
}

static json_t *memory_json(const CellNetwork *n, const Figures *f) {
  json_t *memory = json_pack("{s:I}", "replay", (json_int_t)f->replay);
  if (!n->plan) return memory;
  json_object_set_new(memory, "arena", json_integer(f->arena));
  for (int i = 0; i < 4; i++) json_object_set_new(memory, kind_names[i], json_integer(f->kinds[i]));
  json_object_set_new(memory, "thread_scratch", json_integer(n->plan->scratch_bytes));
  json_t *stored = json_array(), *scratch = json_array();
  for (int i = 0; i < n->plan->buffer_count; i++) {
    const CellBuffer *b = &n->plan->buffers[i];
    if (b->kind != CELL_BUFFER_TEMP) continue;
    json_array_append_new(stored, json_pack("{s:s, s:s, s:I}", "name", b->name, "program",
                                            n->plan->programs[b->program].name, "entries",
                                            (json_int_t)b->count));
  }
  for (int k = 0; k < n->plan->kernel_count; k++) {
    const CellKernel *kernel = n->plan->kernels[k];
    for (int i = 0; i < kernel->scratch_count; i++) {
      const char *name = kernel->scratch[i].name;
      json_array_append_new(scratch, json_pack("{s:s, s:s, s:I}", "kernel", kernel->name, "name",
                                               name ? name : "", "entries",
                                               (json_int_t)kernel->scratch[i].count));
    }
  }
  json_object_set_new(memory, "stored", stored);
  json_object_set_new(memory, "scratch", scratch);
  return memory;
}

static void print_json(const Options *o, const CellNetwork *n, const Figures *f) {
  json_t *flops = json_pack("{s:o, s:f, s:o}", "as_written",
                            f->has_written ? json_real(f->written.shared_flops) : json_null(),
                            "after_rewriting", f->graph.shared_flops, "as_planned",
                            n->plan ? json_real(f->plan_flops) : json_null());
  if (n->plan) {
    json_object_set_new(flops, "of_bits", json_real(f->bit_flops));
    json_object_set_new(flops, "without_zeros", json_real(f->sparse_flops));
  }
  json_t *seconds = f->measured ? json_pack("{s:f, s:f, s:f}", "update", f->update_seconds, "act",
                                            f->act_seconds, "run", f->run_seconds)
                                : json_null();
  cell_json_print(json_pack("{s:s, s:s, s:I, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "schema",
                            "cellc.info.1", "network", cell_spec_name(n->spec), "parameter_count",
                            (json_int_t)f->parameters, "parameters", parameters_json(n),
                            "certificates", certificates_json(n), "product_flops", flops, "memory",
                            memory_json(n, f), "seconds", seconds, "kernels",
                            n->plan ? cell_info_kernels(n) : json_null(), "rewrites",
                            o->rewrites ? cell_info_rewrites(&o->network) : json_null()),
                  stdout);
}

/* ---- the command ---- */

int cell_cmd_info(int argc, const char **argv) {
  const char *threads = NULL, *backend = NULL, *precision = NULL;
  Options o = {0};
  struct poptOption table[] = {
      {"no-measure", 0, POPT_ARG_NONE, &o.no_measure, 0, "count only, run nothing", NULL},
      {"rewrites", 0, POPT_ARG_NONE, &o.rewrites, 0,
       "plan the update again without each rewrite: what it saves", NULL},
      {"threads", 0, POPT_ARG_STRING, &threads, 0, "threads of what is measured (all cores)", "N"},
      CELL_CLI_BACKEND_ROWS(backend, precision),
      POPT_TABLEEND};
  const CellCommand command = {
      .usage = "FILE [--env NAME]",
      .about =
          "Shows the parameters of a network, which losses reach them, the arithmetic of an "
          "update as written and as planned, the memory it takes, and how long a run would be.",
      .options = table,
      .common = CELL_WITH_JSON | CELL_WITH_NETWORK,
      .least = 1,
      .most = 1};
  CellCli cli;
  int code = cell_cli_begin(&cli, &command, argc, argv);
  if (code >= 0) return code;
  threads = cell_cli_string(&cli, threads), backend = cell_cli_string(&cli, backend);
  precision = cell_cli_string(&cli, precision);
  code = cell_cli_backend(&cli, backend, threads, precision, &o.network);
  if (code >= 0) return code;
  code = cell_cli_network(&cli, cli.words[0], &o.network, &o.env);
  if (code >= 0) return code;
  o.network.envs = 1, o.network.learn = true;
  o.network.plan_only = o.no_measure || o.network.backend != CELL_BACKEND_CPU;
  CellDiag *diag = cell_diag_create();
  CellNetwork *network = cell_network_open(&o.network, diag);
  if (network) {
    Figures figures = {0};
    count(&o, network, &figures);
    if (network->engine) measure(&o, network, &figures);
    if (cli.json)
      print_json(&o, network, &figures);
    else
      print_text(&o, network, &figures);
  }
  code = cell_cli_report(&cli, diag);
  if (!network && code == CELL_EXIT_OK) code = CELL_EXIT_FAILED;
  cell_network_close(network);
  cell_diag_destroy(diag);
  free((void *)(uintptr_t)o.network.text);
  return cell_cli_end(&cli, code);
}
