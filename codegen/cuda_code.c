/* cuda_code.c - a plan as CUDA kernels: one a stage.
 *
 * A stage's launches become parts of one kernel: the blocks are handed out to them in order. Launches of one
 * plan kernel are one part with several bindings, chosen by the block's number. All arguments lie in one
 * struct, so that a launch has one parameter; a stage whose struct would be too large is cut in two. Stages
 * with the same parts are one kernel, compiled once: what differs is in the struct. */
#include "codegen/cuda.h"

#include <ctype.h>
#include <string.h>

// launches of one stage that run the same plan kernel
typedef struct {
  int kernel;
  const CellLaunch **launches;
  int count, capacity;
} Part;

typedef struct {
  CellCudaCode *code;
  const CellPlan *plan;
  CellPrecision precision;
  const CellDiag *sources;
} Make;

// ---- names ----

static bool is_taken(char *const *names, int count, const char *name) {
  for (int i = 0; i < count; i++)
    if (strcmp(names[i], name) == 0) return true;
  return false;
}

// words of C++ and of the text around
static bool is_word(const char *name) {
  static const char *const words[] = {
      "task",      "tile",   "rows",   "columns", "row",   "column", "down",    "across", "sum",
      "workspace", "block",  "which",  "m",       "n",     "k",      "x",       "y",      "e",
      "p",         "fold",   "best",   "where",   "int",   "float",  "if",      "for",    "const",
      "return",    "bool",   "true",   "false",   "void",  "this",   "new",     "class",  "struct",
      "double",    "do",     "long",   "short",   "char",  "auto",   "case",    "else",   "enum",
      "goto",      "static", "switch", "union",   "while", "break",  "default", "exp",    "log",
      "sin",       "cos",    "tanh",   "pow",     "floor", "sqrt",   "j0",      "j1",     "y0",
      "y1",        "jn",     "yn",     "gamma",   "and",   "or",     "not",     "xor",    "index"};
  for (size_t i = 0; i < sizeof words / sizeof *words; i++)
    if (strcmp(words[i], name) == 0) return true;
  // variables and values of bodies
  if (name[0] && strchr("vxspqwye", name[0]) && name[1] &&
      strspn(name + 1, "0123456789") == strlen(name + 1))
    return true;
  return strncmp(name, "kept", 4) == 0 || strncmp(name, "cell", 4) == 0 ||
         strncmp(name, "Cell", 4) == 0;
}

// a buffer's name as an identifier, unlike those before
static char *identifier(CellArena *arena, const char *name, char *const *taken, int count) {
  char text[64];
  size_t n = 0;
  // "%12 l1/z1" and "l1/z1" alike
  bool digits = !isalpha((unsigned char)name[0]);
  if (digits) text[n++] = 't';
  for (const char *s = name; *s && n < sizeof text - 12; s++) {
    bool fine = isalnum((unsigned char)*s);
    if (!fine && (n == 0 || text[n - 1] == '_' || (digits && n == 1))) continue;
    text[n++] = fine ? *s : '_';
  }
  while (n > 1 && text[n - 1] == '_') n--;
  text[n] = 0;
  char *result = cell_arena_strdup(arena, text);
  for (int i = 2; is_word(result) || is_taken(taken, count, result); i++)
    result = cell_arena_printf(arena, "%s_%d", text, i);
  return result;
}

// ---- one stage ----

static const char *type_of(CellDtype dtype, bool written) {
  if (dtype == CELL_BITS) return "const CellWord *";
  if (dtype == CELL_I) return written ? "int *" : "const int *";
  return written ? "float *" : "const float *";
}

static bool too_wide(const Make *make, const Part *part) {
  const CellKernel *k = make->plan->kernels[part->kernel];
  enum { WIDE = 1 << 30 };
  for (int l = 0; l < part->count; l++)
    for (int a = 0; a < k->arg_count; a++) {
      const CellBuffer *b = &make->plan->buffers[part->launches[l]->buffers[a]];
      if ((b->dtype == CELL_BITS ? 32 : 1) * b->count >= WIDE) return true;
    }
  for (int i = 0; i < k->scratch_count; i++)
    if (k->scratch[i].count >= WIDE) return true;
  return false;
}

const char *cell_cuda_place(CellArena *arena, const CellDiag *sources, CellSpan span) {
  int line, column;
  if (!sources || span.file < 0 || span.file >= sources->source_count) return NULL;
  cell_diag_position(sources, span, &line, &column);
  return cell_arena_printf(arena, "%s:%d", sources->sources[span.file].name, line);
}

static void origin(const Make *make, const CellKernel *k, CellText *out) {
  const char *place = cell_cuda_place(make->code->arena, make->sources, k->span);
  cell_text_printf(out, "// %s: %lld task%s%s%s\n", k->name, (long long)k->tasks,
                   k->tasks == 1 ? "" : "s", place ? "; " : "", place ? place : "");
}

// the kernel's text, and what it takes
static void emit_unit(Make *make, CellCudaUnit *unit, const Part *parts, int part_count) {
  CellArena *arena = make->code->arena;
  const CellPlan *plan = make->plan;
  CellText functions = {0}, fields = {0}, calls = {0};
  char **names = NULL;
  int name_count = 0, name_capacity = 0;
  int64_t grid = 0, workspace_words = 0;
  for (int i = 0; i < part_count; i++) {
    const Part *part = &parts[i];
    const CellKernel *k = plan->kernels[part->kernel];
    // the function names its arguments after the first binding's buffers
    char **args = CELL_NEW_ARRAY(arena, char *, (size_t)k->arg_count + 1);
    for (int a = 0; a < k->arg_count; a++)
      args[a] = identifier(arena, plan->buffers[part->launches[0]->buffers[a]].name, args, a);
    origin(make, k, &functions);
    CellCudaProduct product = cell_cuda_product(k);
    const char *function = cell_arena_printf(arena, "part%d", i);
    int64_t blocks = k->tasks, words = 0;
    CellCudaSchedule *c = cell_cuda_schedule(arena, k);
    c->wide = too_wide(make, part), c->sources = make->sources;
    if (product.product) {
      blocks *= product.down * product.across;
      cell_cuda_product_body(c, &product, function, (const char *const *)args, make->precision,
                             &functions);
      if (product.shared_bytes > unit->shared_bytes) unit->shared_bytes = product.shared_bytes;
    } else {
      cell_cuda_body(c, function, (const char *const *)args, &functions);
      if (c->shared_bytes > unit->shared_bytes) unit->shared_bytes = c->shared_bytes;
      words = c->workspace_words;
    }

    // the struct's fields: all arguments of every binding
    const char ***bound = CELL_NEW_ARRAY(arena, const char **, (size_t)part->count + 1);
    for (int l = 0; l < part->count; l++) {
      bound[l] = CELL_NEW_ARRAY(arena, const char *, (size_t)k->arg_count + 1);
      for (int a = 0; a < k->arg_count; a++) {
        const CellBuffer *b = &plan->buffers[part->launches[l]->buffers[a]];
        char *field = identifier(arena, b->name, names, name_count);
        CELL_PUSH(arena, names, name_count, name_capacity, field);
        cell_text_printf(&fields, "  %s%s;\n", type_of(k->args[a], k->written[a]), field);
        bound[l][a] = field;
      }
    }

    // the call, for the part's blocks
    const char *indent = "  ";
    cell_text_printf(&calls, "  if (block < %lld) {\n", (long long)(blocks * part->count));
    const char *task = "block";
    if (part->count > 1) {
      cell_text_printf(&calls, "%s  const int which = block / %lld;\n", indent, (long long)blocks);
      task = cell_arena_printf(arena, "block %% %lld", (long long)blocks);
    }
    if (product.product)
      cell_text_printf(&calls, "%s  %s((%s) / %lld, (%s) %% %lld", indent, function, task,
                       (long long)(product.down * product.across), task,
                       (long long)(product.down * product.across));
    else
      cell_text_printf(&calls, "%s  %s(%s", indent, function, task);
    if (words > 0) {
      cell_text_printf(&calls, ", p.workspace + %lldLL", (long long)workspace_words);
      if (part->count > 1)
        cell_text_printf(&calls, " + which * %lldLL", (long long)(words * k->tasks));
      workspace_words += words * k->tasks * part->count;
    }
    for (int a = 0; a < k->arg_count; a++) {
      // the smallest of the bindings' sizes: an index that is right for all is below it
      int64_t count = INT64_MAX;
      for (int l = 0; l < part->count; l++) {
        int64_t n = plan->buffers[part->launches[l]->buffers[a]].count;
        if (n < count) count = n;
      }
      cell_text_printf(&calls, ",\n%s      %s(", indent, k->written[a] ? "cell_out" : "cell_in");
      for (int l = 0; l + 1 < part->count; l++)
        cell_text_printf(&calls, "which == %d ? p.%s : ", l, bound[l][a]);
      cell_text_printf(&calls, "p.%s, %lldLL)", bound[part->count - 1][a], (long long)count);
    }
    cell_text_printf(&calls, ");\n%s  return;\n  }\n", indent);
    if (i + 1 < part_count)
      cell_text_printf(&calls, "  block -= %lld;\n", (long long)(blocks * part->count));
    grid += blocks * part->count;
  }
  if (workspace_words > 0) cell_text_printf(&fields, "  float *workspace;\n");

  CellText text = {0};
  cell_text_printf(&text, "#include \"cell_prelude.h\"\n\n%s", functions.data);
  cell_text_printf(&text, "struct %s_arguments {\n%s};\n\n", unit->symbol, fields.data);
  cell_text_printf(&text, "CELL_KERNEL(%s, %s_arguments) {\n  int block = cell_block();\n%s}\n",
                   unit->symbol, unit->symbol, calls.data);
  unit->source = cell_arena_strdup(arena, text.data);
  unit->length = text.length;
  unit->grid = grid;
  unit->workspace_bytes = 4 * workspace_words;
  cell_text_free(&functions);
  cell_text_free(&fields);
  cell_text_free(&calls);
  cell_text_free(&text);
}

static bool same_parts(const CellCudaUnit *unit, const Part *parts, int count) {
  int at = 0;
  for (int i = 0; i < count; i++)
    for (int l = 0; l < parts[i].count; l++, at++)
      if (at >= unit->kernel_count || unit->kernels[at] != parts[i].kernel) return false;
  return at == unit->kernel_count;
}

// sizes of buffers are in the text, for the host's checks: bindings of other sizes are another kernel
static bool same_sizes(const Make *make, const CellCudaProgram *programs, int unit,
                       const int *buffers, int count) {
  for (int p = 0; p < make->code->program_count; p++)
    for (int l = 0; l < programs[p].launch_count; l++) {
      if (programs[p].launches[l].unit != unit) continue;
      for (int i = 0; i < count; i++)
        if (make->plan->buffers[programs[p].launches[l].buffers[i]].count !=
            make->plan->buffers[buffers[i]].count)
          return false;
      return true;
    }
  return true;
}

static void add_launch(Make *make, CellCudaProgram *program, const Part *parts, int part_count,
                       int stage) {
  CellCudaCode *code = make->code;
  int *buffers = NULL, count = 0, capacity = 0;
  for (int i = 0; i < part_count; i++)
    for (int l = 0; l < parts[i].count; l++)
      for (int a = 0; a < make->plan->kernels[parts[i].kernel]->arg_count; a++)
        CELL_PUSH(code->arena, buffers, count, capacity, parts[i].launches[l]->buffers[a]);
  int number = -1;
  for (int u = 0; u < code->unit_count && number < 0; u++)
    if (same_parts(&code->units[u], parts, part_count) &&
        same_sizes(make, code->programs, u, buffers, count))
      number = u;
  if (number < 0) {
    CellCudaUnit unit = {.buffer_count = count};
    unit.symbol = cell_arena_printf(code->arena, "%s_%d", program->name, program->launch_count);
    emit_unit(make, &unit, parts, part_count);
    for (int i = 0; i < part_count; i++)
      for (int l = 0; l < parts[i].count; l++)
        CELL_PUSH(code->arena, unit.kernels, unit.kernel_count, unit.kernel_capacity,
                  parts[i].kernel);
    if (unit.workspace_bytes > code->workspace_bytes) code->workspace_bytes = unit.workspace_bytes;
    number = code->unit_count;
    CELL_PUSH(code->arena, code->units, code->unit_count, code->unit_capacity, unit);
  }
  CellCudaLaunch launch = {number, buffers, stage};
  CELL_PUSH(code->arena, program->launches, program->launch_count, program->launch_capacity,
            launch);
}

static void add_program(Make *make, const CellPlanProgram *from, CellCudaProgram *to) {
  CellArena *arena = make->code->arena;
  to->name = from->name;
  for (int i = 0; i < from->launch_count;) {
    // the stage's launches, by kernel in the plan's order
    int end = i, most = -1;
    while (end < from->launch_count && from->launches[end].stage == from->launches[i].stage) {
      if (from->launches[end].kernel > most) most = from->launches[end].kernel;
      end++;
    }
    Part *parts = NULL;
    int count = 0, capacity = 0, bytes = 0;
    for (int k = 0; k <= most; k++) {
      Part part = {.kernel = k};
      int size = 8 * make->plan->kernels[k]->arg_count;
      for (int l = i; l < end; l++) {
        if (from->launches[l].kernel != k) continue;
        if (bytes + size > CELL_CUDA_PARAMETERS) {
          if (part.count) CELL_PUSH(arena, parts, count, capacity, part);
          add_launch(make, to, parts, count, from->launches[i].stage);
          parts = NULL, count = capacity = bytes = 0;
          part = (Part){.kernel = k};
        }
        CELL_PUSH(arena, part.launches, part.count, part.capacity, &from->launches[l]);
        bytes += size;
      }
      if (part.count) CELL_PUSH(arena, parts, count, capacity, part);
    }
    add_launch(make, to, parts, count, from->launches[i].stage);
    i = end;
  }
}

CellCudaCode *cell_cuda_code(CellArena *arena, const CellPlan *plan, CellPrecision precision,
                             const CellDiag *sources) {
  CellCudaCode *code = CELL_NEW(arena, CellCudaCode);
  code->arena = arena;
  code->program_count = plan->program_count;
  code->programs = CELL_NEW_ARRAY(arena, CellCudaProgram, (size_t)plan->program_count + 1);
  Make make = {code, plan, precision, sources};
  for (int p = 0; p < plan->program_count; p++)
    add_program(&make, &plan->programs[p], &code->programs[p]);
  return code;
}
