/* print.c - the text form of a graph (see ir.h for an example). parse_ir.c reads it back; print,
 * parse, print gives the same bytes. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "ir/internal.h"

static const char *const dtype_names[] = {"f", "i", "bits"};
static const char *const reduce_names[] = {"sum", "max", "argmax"};

/* one of a list, or ? where a broken graph is printed */
#define NAME_OF(names, i) ((size_t)(i) < sizeof(names) / sizeof *(names) ? (names)[i] : "?")

/* names: in quotes, with \" \\ and \xNN for what is not printable ASCII */
static void print_quoted(const char *name, CellText *out) {
  cell_text_printf(out, "\"");
  for (const unsigned char *p = (const unsigned char *)name; *p; p++) {
    if (*p == '"' || *p == '\\')
      cell_text_printf(out, "\\%c", *p);
    else if (*p < 0x20 || *p >= 0x7f)
      cell_text_printf(out, "\\x%02x", *p);
    else
      cell_text_printf(out, "%c", *p);
  }
  cell_text_printf(out, "\"");
}

/* a word stands bare, anything else in quotes */
void cell_print_name(const char *name, CellText *out) {
  static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
  bool word = *name && strchr(letters, *name) != NULL;
  for (const char *p = name; *p && word; p++)
    word = strchr(letters, *p) != NULL || (*p >= '0' && *p <= '9');
  if (word)
    cell_text_printf(out, "%s", name);
  else
    print_quoted(name, out);
}

/* the shortest of %.15g, %.16g and %.17g that reads back as the same number */
static void print_number(double x, CellText *out) {
  char text[40];
  if (isnan(x)) {
    cell_text_printf(out, "nan");
    return;
  }
  for (int digits = 15; digits <= 17; digits++) {
    snprintf(text, sizeof text, "%.*g", digits, x);
    if (strtod(text, NULL) == x) break;
  }
  cell_text_printf(out, "%s", text);
}

/* {batch, candidate}: words with commas between */
static void print_axes(const CellGraph *g, uint32_t axes, CellText *out) {
  const char *between = "";
  cell_text_printf(out, "{");
  for (int i = 0; i < g->axis_count; i++) {
    if (!(axes & CELL_AXIS(i))) continue;
    cell_text_printf(out, "%s", between);
    cell_print_name(g->axes[i].name, out);
    between = ", ";
  }
  cell_text_printf(out, "}");
}

void cell_print_type(const CellGraph *g, const CellNode *n, CellText *out) {
  cell_text_printf(out, "%s", NAME_OF(dtype_names, n->dtype));
  for (int i = 0; i < n->rank && i < CELL_MAX_RANK; i++)
    cell_text_printf(out, i ? ",%d" : "[%d", (int)n->shape[i]);
  cell_text_printf(out, n->rank > 0 ? "] " : " ");
  print_axes(g, n->axes, out);
}

static void print_values(const CellValue *values, int count, CellText *out) {
  for (int i = 0; i < count; i++) cell_text_printf(out, "%s%%%d", i ? ", " : "", (int)values[i]);
}

static void print_list(const int8_t *list, int count, CellText *out) {
  cell_text_printf(out, "[");
  for (int i = 0; i < count; i++) cell_text_printf(out, "%s%d", i ? "," : "", list[i]);
  cell_text_printf(out, "]");
}

/* what stands behind the op's name: operands and attributes */
static void print_operands(const CellGraph *g, const CellNode *n, CellText *out) {
  const CellValue *a = n->args;
  switch ((int)n->op) {
  case CELL_OP_INPUT:
    cell_text_printf(out, " ");
    print_quoted(n->name ? n->name : "", out);
    return;
  case CELL_OP_CONST:
    cell_text_printf(out, " ");
    print_number(n->number, out);
    return;
  case CELL_OP_AXIS_INDEX:
    cell_text_printf(out, " ");
    cell_print_name(n->axis >= 0 && n->axis < g->axis_count ? g->axes[n->axis].name : "?", out);
    return;
  case CELL_OP_REDUCE: {
    int8_t dims[8];
    int count = 0;
    for (int8_t i = 0; i < 8; i++)
      if (n->dims & (1u << i)) dims[count++] = i;
    cell_text_printf(out, " %s ", NAME_OF(reduce_names, n->reduce));
    print_values(a, n->arg_count, out);
    if (count) {
      cell_text_printf(out, " dims ");
      print_list(dims, count, out);
    }
    break;
  }
  case CELL_OP_CONTRACT:
    cell_text_printf(out, " ");
    print_values(a, n->arg_count, out);
    cell_text_printf(out, " \"%.4s,%.4s->%.4s\"", n->labels[0], n->labels[1], n->labels[2]);
    break;
  case CELL_OP_TAKE:
    cell_text_printf(out, " ");
    print_values(a, n->arg_count > 0, out);
    if (n->dim >= 0) {
      cell_text_printf(out, " dim %d", n->dim);
    } else {
      cell_text_printf(out, " axis ");
      cell_print_name(n->axis >= 0 && n->axis < g->axis_count ? g->axes[n->axis].name : "?", out);
    }
    for (int i = 1; i < n->arg_count; i++) cell_text_printf(out, ", %%%d", (int)a[i]);
    return;
  case CELL_OP_RESULT:
    cell_text_printf(out, " %d ", (int)n->begin);
    print_values(a, n->arg_count, out);
    return;
  default:
    if (n->arg_count) cell_text_printf(out, " ");
    print_values(a, n->arg_count, out);
    if (n->op == CELL_OP_SLICE)
      cell_text_printf(out, " dim %d [%d:%d]", n->dim, (int)n->begin, (int)n->end);
    if (n->op == CELL_OP_PAD)
      cell_text_printf(out, " dim %d (%d, %d)", n->dim, (int)n->begin, (int)n->end);
    if (n->op == CELL_OP_CONCAT) cell_text_printf(out, " dim %d", n->dim);
    if (n->op == CELL_OP_TRANSPOSE || n->op == CELL_OP_BROADCAST) {
      bool known = n->arg_count > 0 && a[0] >= 0 && a[0] < g->node_count;
      cell_text_printf(out, " map ");
      print_list(n->map, known ? cell_node(g, a[0])->rank : 0, out);
    }
    return;
  }
  if (n->over) {
    cell_text_printf(out, " over ");
    print_axes(g, n->over, out);
  }
}

static void print_position(const CellDiag *sources, CellSpan span, CellText *out) {
  if (!sources || span.file < 0 || span.file >= sources->source_count) return;
  int line, column;
  cell_diag_position(sources, span, &line, &column);
  cell_text_printf(out, "  ; %s:%d", sources->sources[span.file].name, line);
}

static void print_optimizer(const CellOptimizer *o, CellText *out) {
  static const char *const kinds[] = {"adam", "rmsprop", "sgd"};
  const struct {
    const char *name;
    double number;
  } settings[] = {{"lr", o->lr},   {"b1", o->b1},     {"b2", o->b2},
                  {"eps", o->eps}, {"clip", o->clip}, {"decay", o->decay}};
  cell_text_printf(out, " %s(", kinds[o->kind]);
  for (size_t i = 0; i < sizeof settings / sizeof *settings; i++) {
    cell_text_printf(out, "%s%s = ", i ? ", " : "", settings[i].name);
    print_number(settings[i].number, out);
  }
  cell_text_printf(out, ")");
}

typedef struct {
  const CellDiag *sources;
  CellText *out;
  CellPrintHook hook;
  void *context;
} Printer;

static void print_nodes(const Printer *p, const CellGraph *g, int indent) {
  CellText *out = p->out;
  for (CellValue v = 0; v < g->node_count; v++) {
    const CellNode *n = cell_node(g, v);
    cell_text_printf(out, "%*s%%%d = %s", indent, "", (int)v,
                     (unsigned)n->op < CELL_OP_COUNT ? cell_op_info[n->op].name : "?");
    if (n->op == CELL_OP_SCAN) {
      int axis = 0;
      while (axis < g->axis_count - 1 && !(n->over & CELL_AXIS(axis))) axis++;
      cell_text_printf(out, " over ");
      cell_print_name(g->axes[axis].name, out);
      cell_text_printf(out, " carries (");
      int carries = n->carry_count < n->arg_count ? n->carry_count : n->arg_count;
      print_values(n->args, carries, out);
      cell_text_printf(out, ") inputs (");
      print_values(n->args + carries, n->arg_count - carries, out);
      cell_text_printf(out, ") {");
      print_position(p->sources, n->span, out);
      cell_text_printf(out, "\n");
      if (n->body) print_nodes(p, n->body, indent + 2);
      cell_text_printf(out, "%*s}\n", indent, "");
    } else {
      print_operands(g, n, out);
      cell_text_printf(out, " : ");
      cell_print_type(g, n, out);
      print_position(p->sources, n->span, out);
      cell_text_printf(out, "\n");
    }
    if (p->hook) p->hook(g, v, out, p->context);
  }
  for (int i = 0; i < g->output_count; i++) {
    cell_text_printf(out, "%*soutput ", indent, "");
    print_quoted(g->outputs[i].name, out);
    cell_text_printf(out, " %%%d\n", (int)g->outputs[i].value);
  }
  for (int i = 0; i < g->minimize_count; i++) {
    cell_text_printf(out, "%*sminimize %%%d over ", indent, "", (int)g->minimize[i].loss);
    print_quoted(g->minimize[i].group, out);
    print_optimizer(&g->minimize[i].optimizer, out);
    print_position(p->sources, g->minimize[i].span, out);
    cell_text_printf(out, "\n");
  }
  for (int i = 0; i < g->wanted_count; i++) {
    cell_text_printf(out, "%*swanted ", indent, "");
    print_quoted(g->wanted[i], out);
    cell_text_printf(out, "\n");
  }
  if (p->hook) p->hook(g, CELL_NONE, out, p->context);
}

void cell_print_with(const CellGraph *g, const CellDiag *sources, CellText *out, CellPrintHook hook,
                     void *context) {
  Printer printer = {sources, out, hook, context};
  cell_text_printf(out, "graph ");
  cell_print_name(g->name, out);
  cell_text_printf(out, "\n");
  for (int i = 0; i < g->axis_count; i++) {
    cell_text_printf(out, "axis ");
    cell_print_name(g->axes[i].name, out);
    cell_text_printf(out, " %d\n", (int)g->axes[i].extent);
  }
  print_nodes(&printer, g, 0);
}

void cell_print(const CellGraph *g, const CellDiag *sources, CellText *out) {
  cell_print_with(g, sources, out, NULL, NULL);
}
