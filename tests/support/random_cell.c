/* random_cell.c - the text of a random network. */
#include "tests/support/random_cell.h"

#include "tests/support/random_graph.h"

#include <string.h>

enum { MAX_VALUES = 64, MAX_CELLS = 4, MAX_ENTRIES = 400 };

typedef struct {
  int rank, shape[3];
  bool varies; /* some entry does, over the action */
  bool all;    /* every entry does; false also where that is not known */
} Shape;

typedef struct {
  int value, width; /* l.vN, a vector that does not vary */
} Shown;

typedef struct {
  uint64_t state;
  CellText *out;
  Shape values[MAX_VALUES]; /* of the body that is being written: v0, v1, ... */
  int count;
  bool smooth;
  int cells;
  Shown shown[MAX_CELLS];
  int deepest; /* k of prev(l, k) */
} Writer;

static int pick(Writer *w, int n) {
  return (int)(cell_random_bits(&w->state) >> 33) % n;
}

#define PICK(w, list) ((list)[pick((w), (int)(sizeof(list) / sizeof *(list)))])

static int entries(const Shape *s) {
  int n = 1;
  for (int i = 0; i < s->rank; i++) n *= s->shape[i];
  return n;
}

static Shape shape_of(int rank, int a, int b, int c, bool varies) {
  return (Shape){rank, {a, b, c}, varies, varies};
}

/* ---- statements ---- */

/* begins `vN = `; the caller writes the expression */
static void bind(Writer *w, Shape s) {
  cell_text_printf(w->out, "  v%d = ", w->count);
  w->values[w->count++] = s;
}

/* the same of a value whose entries each read some of another's, those of `s` */
static void bind_like(Writer *w, Shape r, const Shape *s) {
  r.varies = s->varies, r.all = s->all;
  bind(w, r);
}

static bool same(const Shape *a, const Shape *b) {
  if (a->rank != b->rank) return false;
  for (int i = 0; i < a->rank; i++)
    if (a->shape[i] != b->shape[i]) return false;
  return true;
}

/* another value of the same shape, or -1 */
static int twin(Writer *w, int v) {
  int from = pick(w, w->count);
  for (int i = 0; i < w->count; i++) {
    int u = (from + i) % w->count;
    if (u != v && same(&w->values[u], &w->values[v])) return u;
  }
  return -1;
}

static int width(Writer *w) {
  static const int widths[] = {1, 2, 3, 4, 5, 7, 8, 12, 16, 17, 33};
  return PICK(w, widths);
}

static void elementwise(Writer *w, int v) {
  static const char *const forms[] = {"relu(v%d)",
                                      "tanh(v%d)",
                                      "sigmoid(v%d)",
                                      "silu(v%d)",
                                      "gelu(v%d)",
                                      "elu(v%d)",
                                      "softplus(v%d)",
                                      "sin(2 * v%d)",
                                      "cos(v%d)",
                                      "abs(v%d)",
                                      "tanh(v%d)^2",
                                      "exp(-v%d^2)",
                                      "-v%d",
                                      "clip(v%d, -1, 1)",
                                      "v%d / 3 + 0.25",
                                      "leaky_relu(v%d, slope = 0.2)",
                                      "1 / (1 + v%d^2)",
                                      "log(1 + v%d^2)",
                                      "sqrt(v%d^2 + 0.5)",
                                      "tanh(v%d)^3",
                                      "soft(v%d)",
                                      "apply(v%d, tanh)",
                                      "where(v%d > 0.1, 1.5, 0.5)",
                                      "floor(4 * v%d) / 4",
                                      "where(v%d >= 0, 0.3, -0.2)",
                                      "sign(v%d)"};
  bind(w, w->values[v]);
  cell_text_printf(w->out, PICK(w, forms), v);
}

static void normalised(Writer *w, int v) {
  static const char *const forms[] = {"layer_norm(v%d)", "standardize(v%d)", "l2_normalize(v%d)",
                                      "softmax(v%d)",    "log_softmax(v%d)", "softmax(2 * v%d)"};
  static const char *const along[] = {"standardize(v%d, axis = 0)", "softmax(v%d, axis = 0)",
                                      "v%d - mean(v%d, axis = 0, keep = true)",
                                      "v%d / (1 + rms(v%d, axis = 0, keep = true))",
                                      "v%d - max(v%d, axis = 0, keep = true)"};
  bind(w, w->values[v]);
  cell_text_printf(w->out, pick(w, 3) ? PICK(w, forms) : PICK(w, along), v, v);
}

static void binary(Writer *w, int v) {
  static const char *const forms[] = {
      "v%d + v%d",     "v%d - v%d",         "tanh(v%d) * v%d",          "max(v%d, v%d)",
      "min(v%d, v%d)", "v%d / (1 + v%d^2)", "where(v%d > 0, v%d, 0.5)", "0.5 * (v%d + v%d)",
      "mix(v%d, v%d)"};
  int u = twin(w, v);
  if (u < 0) {
    /* a parameter of the shape */
    Shape s = w->values[v];
    bind(w, s);
    cell_text_printf(w->out, "v%d * parameter([", v);
    for (int i = 0; i < s.rank; i++) cell_text_printf(w->out, i ? ", %d" : "%d", s.shape[i]);
    cell_text_printf(w->out, pick(w, 2) ? "], normal(0.7))" : "], uniform(1.5))");
    return;
  }
  Shape s = w->values[v];
  s.varies |= w->values[u].varies, s.all |= w->values[u].all;
  bind(w, s);
  cell_text_printf(w->out, PICK(w, forms), v, u);
}

static void linear(Writer *w, int v) {
  static const char *const options[] = {"", ", bias = false", ", init = orthogonal(1)",
                                        ", init = torch", ", bias_init = uniform(0.3)"};
  const Shape *s = &w->values[v];
  int n = width(w);
  if (s->rank >= 2 && pick(w, 2) && entries(s) / s->shape[s->rank - 1] * n <= MAX_ENTRIES) {
    Shape r = *s;
    r.shape[r.rank - 1] = n;
    bind(w, r);
    cell_text_printf(w->out, "linear(v%d, %d, axis = -1%s)", v, n, PICK(w, options));
    return;
  }
  bind(w, shape_of(1, n, 0, 0, s->varies));
  cell_text_printf(w->out, "linear(v%d, %d%s)", v, n, PICK(w, options));
}

static void reduction(Writer *w, int v) {
  static const char *const fns[] = {"sum", "mean", "max", "min", "std", "rms", "ms", "var", "ss"};
  Shape s = w->values[v];
  int axis = pick(w, s.rank);
  bool keep = pick(w, 3) == 0;
  if (keep) {
    bind(w, s);
    cell_text_printf(w->out, "v%d * tanh(%s(v%d, axis = %d, keep = true))", v, PICK(w, fns), v,
                     axis);
    return;
  }
  for (int i = axis; i + 1 < s.rank; i++) s.shape[i] = s.shape[i + 1];
  s.rank--;
  bind(w, s);
  cell_text_printf(w->out, "tanh(%s(v%d, axis = %d))", PICK(w, fns), v, axis);
}

static void reshaped(Writer *w, int v) {
  Shape s = w->values[v];
  int n = entries(&s), k = 1 + pick(w, 6);
  if (s.rank >= 2 && pick(w, 3) == 0) {
    int last = s.shape[s.rank - 1];
    s.shape[s.rank - 1] = s.shape[s.rank - 2], s.shape[s.rank - 2] = last;
    bind(w, s);
    cell_text_printf(w->out, "v%d.T", v);
  } else if (n % k == 0 && n > 1 && pick(w, 4)) {
    int j = 1 + pick(w, 3);
    if (n / k % j == 0 && pick(w, 3) == 0) {
      bind_like(w, shape_of(3, k, j, n / k / j, false), &s);
      cell_text_printf(w->out, "reshape(v%d, [%d, %d, %d])", v, k, j, n / k / j);
    } else {
      bind_like(w, shape_of(2, k, n / k, 0, false), &s);
      cell_text_printf(w->out, "reshape(v%d, [%d, %d])", v, k, n / k);
    }
  } else {
    bind_like(w, shape_of(1, n, 0, 0, false), &s);
    cell_text_printf(w->out, "flatten(v%d)", v);
  }
}

static void sliced(Writer *w, int v) {
  Shape s = w->values[v];
  int dim = pick(w, s.rank), n = s.shape[dim], a = pick(w, n), b = a + 1 + pick(w, n - a);
  bool one = s.rank > 1 && pick(w, 3) == 0;
  Shape r = s;
  r.shape[dim] = b - a;
  if (one) {
    for (int i = dim; i + 1 < r.rank; i++) r.shape[i] = r.shape[i + 1];
    r.rank--;
  }
  /* of a value that varies in part it may be the other part */
  r.varies = s.all;
  bind(w, r);
  cell_text_printf(w->out, "v%d[", v);
  for (int i = 0; i < dim; i++) cell_text_printf(w->out, ":, ");
  if (one)
    cell_text_printf(w->out, "%d]", a);
  else
    cell_text_printf(w->out, "%d:%d]", a, b);
}

static void joined(Writer *w, int v) {
  int u = pick(w, w->count);
  Shape s = w->values[v], t = w->values[u];
  Shape both = {.varies = s.varies || t.varies, .all = s.all && t.all};
  int axis = s.rank ? pick(w, s.rank) : 0;
  Shape other = t;
  if (s.rank && s.rank == t.rank) {
    other.shape[axis] = s.shape[axis];
    if (same(&other, &s) && entries(&s) + entries(&t) <= MAX_ENTRIES) {
      s.shape[axis] += t.shape[axis];
      bind_like(w, s, &both);
      cell_text_printf(w->out, "concat(v%d, v%d, axis = %d)", v, u, axis);
      return;
    }
  }
  if (entries(&s) + entries(&t) > MAX_ENTRIES) {
    elementwise(w, v);
    return;
  }
  bind_like(w, shape_of(1, entries(&s) + entries(&t), 0, 0, false), &both);
  cell_text_printf(w->out, "concat(v%d, v%d)", v, u);
}

/* a product with a value that fits, or with a transposed one of the same shape */
static void product(Writer *w, int v) {
  Shape s = w->values[v];
  int from = pick(w, w->count);
  for (int i = 0; i < w->count; i++) {
    int u = (from + i) % w->count;
    Shape t = w->values[u];
    Shape either = {.varies = s.varies || t.varies, .all = s.all || t.all};
    if (s.rank == 2 && t.rank == 1 && s.shape[1] == t.shape[0]) {
      bind_like(w, shape_of(1, s.shape[0], 0, 0, false), &either);
      cell_text_printf(w->out, "v%d @ v%d / %d", v, u, 1 + t.shape[0] / 4);
      return;
    }
    if (s.rank == 1 && t.rank == 2 && s.shape[0] == t.shape[0] && t.shape[1] > 0) {
      bind_like(w, shape_of(1, t.shape[1], 0, 0, false), &either);
      cell_text_printf(w->out, "v%d @ v%d / %d", v, u, 1 + t.shape[0] / 4);
      return;
    }
    if (s.rank == 1 && t.rank == 1 && s.shape[0] == t.shape[0] && u != v) {
      bind(w, shape_of(0, 0, 0, 0, either.varies));
      cell_text_printf(w->out, "tanh(v%d @ v%d)", v, u);
      return;
    }
    if (s.rank == 2 && t.rank == 2 && s.shape[1] == t.shape[0] &&
        s.shape[0] * t.shape[1] <= MAX_ENTRIES) {
      bind_like(w, shape_of(2, s.shape[0], t.shape[1], 0, false), &either);
      cell_text_printf(w->out, "v%d @ v%d / %d", v, u, 1 + t.shape[0] / 4);
      return;
    }
    if (s.rank >= 2 && same(&s, &t)) {
      int last = s.shape[s.rank - 1], other = s.shape[s.rank - 2];
      bool turn = pick(w, 2);
      Shape r = s;
      r.shape[r.rank - 1] = r.shape[r.rank - 2] = turn ? last : other;
      if (entries(&r) > MAX_ENTRIES) continue;
      bind_like(w, r, &either);
      cell_text_printf(w->out, turn ? "v%d.T @ v%d / %d" : "v%d @ v%d.T / %d", v, u,
                       1 + (turn ? other : last) / 4);
      return;
    }
  }
  if (s.rank == 1) {
    int u = pick(w, w->count);
    Shape t = w->values[u];
    if (t.rank == 1 && s.shape[0] * t.shape[0] <= MAX_ENTRIES) {
      Shape either = {.varies = s.varies || t.varies, .all = s.all || t.all};
      bind_like(w, shape_of(2, s.shape[0], t.shape[0], 0, false), &either);
      cell_text_printf(w->out, "outer(v%d, v%d)", v, u);
      return;
    }
  }
  elementwise(w, v);
}

static void chosen(Writer *w, int v) {
  Shape s = w->values[v];
  int n = s.shape[0];
  switch (pick(w, 4)) {
  case 0:
    bind(w, s);
    cell_text_printf(w->out, "v%d * (1 + one_hot(argmax(v%d), %d))", v, v, n);
    return;
  case 1:
    bind(w, shape_of(0, 0, 0, 0, s.varies));
    cell_text_printf(w->out, "tanh(v%d)[argmax(v%d)]", v, v);
    return;
  case 2:
    bind(w, s);
    cell_text_printf(w->out, "v%d + range(%d) / %d", v, n, n);
    return;
  default:
    bind(w, s);
    cell_text_printf(w->out, "v%d + stop_gradient(tanh(v%d))", v, v);
    w->smooth = false;
  }
}

static void statement(Writer *w) {
  /* the newer ones are read more often */
  int v = pick(w, 2) ? w->count - 1 - pick(w, w->count < 4 ? w->count : 4) : pick(w, w->count);
  const Shape s = w->values[v];
  int kind = pick(w, 16);
  if (kind < 3)
    elementwise(w, v);
  else if (kind < 4 && s.rank > 0)
    normalised(w, v);
  else if (kind < 6 && s.rank > 0)
    binary(w, v);
  else if (kind < 8)
    linear(w, v);
  else if (kind < 9 && s.rank > 0)
    reduction(w, v);
  else if (kind < 11)
    reshaped(w, v);
  else if (kind < 12 && s.rank > 0)
    sliced(w, v);
  else if (kind < 13)
    joined(w, v);
  else if (kind < 15 && s.rank > 0)
    product(w, v);
  else if (s.rank == 1)
    chosen(w, v);
  else
    elementwise(w, v);
  cell_text_printf(w->out, "\n");
}

/* ---- a cell type ---- */

/* its shown value is a vector that does not vary and stands behind a linear */
static void body(Writer *w, int cell, bool with_action) {
  w->count = 0;
  cell_text_printf(w->out, "cell C%d(n = 3)(below, skip?, self?, top?) {\n", cell);
  cell_text_printf(w->out, "  x  = concat(below, skip, self, top)\n");
  int n = width(w);
  bind(w, shape_of(1, n, 0, 0, false));
  cell_text_printf(w->out, "tanh(linear(x, %d))\n", n);
  bind(w, shape_of(1, n, 0, 0, false));
  cell_text_printf(w->out, "sigmoid(linear(x, %d))\n", n);
  for (int i = 2 + pick(w, 6); i > 0; i--) statement(w);
  int show = 0;
  for (int i = 0; i < w->count; i++)
    if (w->values[i].rank == 1 && pick(w, 2)) show = i;
  w->shown[cell] = (Shown){show, w->values[show].shape[0]};
  if (with_action) {
    int m = width(w), from = pick(w, w->count);
    bind(w, shape_of(1, m, 0, 0, true));
    cell_text_printf(w->out, "linear(concat(v%d, action), %d)\n", from, m);
    for (int i = 1 + pick(w, 8); i > 0; i--) statement(w);
  }
  /* the last value that has what a goodness needs */
  int best = 0;
  for (int i = 0; i < w->count; i++)
    if (w->values[i].varies == with_action) best = i;
  cell_text_printf(w->out, "  output v%d\n", show);
  static const char *const scalars[] = {"rms", "ms", "mean", "ss", "std", "sum", "max", "var"};
  if (with_action) {
    const Shape *s = &w->values[best];
    if (s->rank == 0 || pick(w, 3) == 0)
      cell_text_printf(w->out, "  goodness linear(v%d, 1)\n}\n", best);
    else
      cell_text_printf(w->out, "  goodness %s(flatten(v%d))\n}\n", PICK(w, scalars), best);
  } else {
    cell_text_printf(w->out, "  goodness linear(v%d, actions)\n}\n", best);
  }
}

/* ---- the stack ---- */

/* something carried, of cell `c` */
static void carried(Writer *w, int c) {
  switch (pick(w, 5)) {
  case 0: cell_text_printf(w->out, "prev(l%d.v%d)", c, w->shown[c].value); break;
  case 1: cell_text_printf(w->out, "0.5 * prev(l%d)", c); break;
  case 2:
    cell_text_printf(w->out, "prev(l%d, 2)", c);
    w->deepest = w->deepest > 2 ? w->deepest : 2;
    break;
  case 3: cell_text_printf(w->out, "concat(prev(l%d), prev(obs))", c); break;
  default: cell_text_printf(w->out, "prev(l%d)", c);
  }
  if (w->deepest < 1) w->deepest = 1;
}

static void links(Writer *w, int c, bool memory) {
  cell_text_printf(w->out, "  l%d = C%d { below: ", c, c);
  if (c == 0)
    cell_text_printf(w->out, pick(w, 3) ? "obs" : "2 * flatten(obs)");
  else if (pick(w, 3))
    cell_text_printf(w->out, "l%d", pick(w, 3) ? c - 1 : pick(w, c));
  else
    cell_text_printf(w->out, "concat(l%d, tanh(l%d.v0))", c - 1, c - 1);
  if (c > 0 && pick(w, 2)) cell_text_printf(w->out, ", skip: obs");
  if (memory && pick(w, 2)) {
    cell_text_printf(w->out, ", self: ");
    carried(w, c);
  }
  if (memory && pick(w, 3) == 0) {
    cell_text_printf(w->out, ", top: ");
    carried(w, pick(w, w->cells));
  }
  cell_text_printf(w->out, " }\n");
}

static void policy(Writer *w) {
  static const char *const names[] = {"mean", "sum", "last", "vote"};
  cell_text_printf(w->out, "policy %s", PICK(w, names));
  if (pick(w, 3) == 0)
    cell_text_printf(w->out, "(l%d%s)", 0, w->cells > 1 && pick(w, 2) ? ", l1" : "");
  static const char *const losses[] = {"squared", "huber", "squared"};
  cell_text_printf(w->out, "\nlearn td(gamma = 0.9%d, double = %s, loss = %s)\n", pick(w, 10),
                   pick(w, 2) ? "true" : "false", PICK(w, losses));
}

static void settings(Writer *w) {
  static const char *const optimizers[] = {"adam(lr = 1e-3, clip = 1)",
                                           "adam(lr = 1e-3, b1 = 0.5)",
                                           "rmsprop(lr = 1e-3)",
                                           "rmsprop(lr = 1e-3, decay = 0.9, clip = 0.5)",
                                           "sgd(lr = 1e-2)",
                                           "sgd(lr = 1e-2, momentum = 0.9, clip = 2)"};
  static const int batches[] = {1, 2, 3, 5, 8, 13};
  cell_text_printf(w->out, "train { batch = %d  optimizer = %s", PICK(w, batches),
                   PICK(w, optimizers));
  if (w->deepest > 0) cell_text_printf(w->out, "  context = %d", w->deepest + pick(w, 4));
  if (w->deepest > 0 && pick(w, 3) == 0) cell_text_printf(w->out, "  context_alpha = 0.3");
  if (pick(w, 3) == 0) cell_text_printf(w->out, "  target_tau = 0.05");
  cell_text_printf(w->out, " }\n");
}

static void environment(Writer *w, CellShapes *shapes) {
  static const int channels[] = {4, 6, 7, 10};
  *shapes = (CellShapes){.obs_rank = 1, .code = CELL_ACTION_ONEHOT, .actions = 2 + pick(w, 8)};
  if (pick(w, 2)) {
    shapes->obs_rank = 3, shapes->obs_shape[0] = 2 + pick(w, 3), shapes->obs_shape[1] = 3;
    shapes->obs_shape[2] = PICK(w, channels);
  } else {
    shapes->obs_shape[0] = 1 + pick(w, 40);
  }
  shapes->obs_bits = pick(w, 2);
  if (pick(w, 4) == 0) shapes->code = CELL_ACTION_BITS, shapes->actions = 2 << pick(w, 5);
}

bool cell_random_cell(uint64_t seed, CellText *out, CellShapes *shapes) {
  Writer w = {.state = seed * 7919 + 17, .out = out, .smooth = true};
  environment(&w, shapes);
  w.cells = 1 + pick(&w, MAX_CELLS);
  cell_text_printf(out, "network random\n");
  cell_text_printf(out, "def soft(x) = x / (1 + abs(x))\ndef apply(x, f) = f(x) + 0.1 * x\n");
  cell_text_printf(out,
                   "def mix(a, b, s = 0.3) { t = sigmoid(a * s)  output t * a + (1 - t) * b }\n");
  for (int c = 0; c < w.cells; c++) body(&w, c, pick(&w, 3) > 0);
  cell_text_printf(out, "stack {\n");
  bool memory = pick(&w, 3) > 0;
  for (int c = 0; c < w.cells; c++) links(&w, c, memory);
  if (w.cells > 1 && pick(&w, 4) == 0) {
    int first = pick(&w, w.cells - 1);
    cell_text_printf(out, "  %send_to_end { l%d, l%d }\n", pick(&w, 2) ? "block = " : "", first,
                     first + 1);
  }
  cell_text_printf(out, "}\n");
  policy(&w);
  settings(&w);
  return w.smooth;
}
