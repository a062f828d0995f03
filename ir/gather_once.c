/* gather_once.c - what a lane loop gathers from parameters, the same in every iteration of the loops around, is written
 * out in the order of the lanes once:
 *
 *                                               unroll v4 = [0, 5)
 *                                                 lanes v5 = [0, 32)
 *                                                   %9 = load arg1[v4 + 5 v5]
 *                                                   store s1[32 v4 + v5] %9
 *     loop v1 = [0, 512)                        loop v1 = [0, 512)
 *       lanes v2 = [0, 32)                        lanes v2 = [0, 32)
 *         unroll v3 = [0, 5)                        unroll v3 = [0, 5)
 *           %0 = load arg1[v3 + 5 v2]    ->           %0 = load s1[32 v3 + v2]
 *           ...                                       ...
 *
 * Lanes that go across short rows (turn_lanes.c) find each row's entries apart; a vector that is gathered takes as long as
 * eight numbers. */
#include "ir/fuse.h"

enum {
  LEAST_TIMES = 8, /* that the lane loop runs */
  MOST_FLOATS = 1 << 14,
  MOST_INNER = 4 /* loops within the lanes that an index depends on */
};

typedef struct {
  CellKernel *k;
  CellStmt **link; /* where the outermost loop hangs: what is written out stands before it */
  const CellStmt *
      *loops; /* by variable: the loop, if it is within the lane loop at hand; else NULL */
  int vars;   /* variables that there were before */
  CellStmt *lanes;
} Gather;

// the loops within the lanes whose variables are in an index; -1: it depends on something else
static int inner_loops(const Gather *g, const CellAffine *index, const CellStmt **inner) {
  int n = 0;
  int64_t floats = g->lanes->extent;
  for (int i = 0; i < index->term_count; i++) {
    int var = index->terms[i].var;
    if (var == g->lanes->var || index->terms[i].coef == 0) continue;
    const CellStmt *loop = g->loops[var];
    if (!loop || n == MOST_INNER || loop->begin.term_count > 0 || loop->begin.loaded >= 0 ||
        loop->limit > 0)
      return -1;
    inner[n++] = loop;
    floats *= loop->extent;
  }
  return floats <= MOST_FLOATS ? n : -1;
}

static bool is_gathered(const Gather *g, const CellStmt *s) {
  return s->kind == CELL_K_LOAD && !s->buffer.scratch && !g->k->written[s->buffer.index] &&
         g->k->args[s->buffer.index] == CELL_F && s->index.loaded < 0 &&
         cell_affine_coef(&s->index, g->lanes->var) > 1;
}

static CellStmt *open_loop(CellKernel *k, CellStmt ***tail, CellLoopKind kind,
                           const CellStmt *like) {
  CellStmt *loop = cell_stmt(k, tail, CELL_K_LOOP);
  loop->loop = kind, loop->begin = like->begin, loop->extent = like->extent;
  *tail = &loop->body;
  return loop;
}

// writes out what the load reads, and lets it read that
static void write_out(Gather *g, CellStmt *load, const CellStmt **inner, int n) {
  CellKernel *k = g->k;
  int64_t pitch = (g->lanes->extent + 15) / 16 * 16, floats = pitch;
  CellAffine from = load->index, to = cell_affine(0), here = cell_affine(0);
  CellStmt *made = NULL, **tail = &made, *outermost = NULL;
  for (int i = 0; i <= n; i++) {
    const CellStmt *like = i < n ? inner[i] : g->lanes;
    CellStmt *loop = open_loop(k, &tail, i < n ? CELL_LOOP_SERIAL : CELL_LOOP_LANES, like);
    if (!outermost) outermost = loop;
    int64_t stride = i < n ? floats : 1;
    from = cell_affine_put(from, like->var, cell_affine_var(loop->var, 1));
    to = cell_affine_add(to, cell_affine_var(loop->var, stride));
    here = cell_affine_add(here, cell_affine_var(like->var, stride));
    to.base -= stride * like->begin.base, here.base -= stride * like->begin.base;
    if (i < n) floats *= like->extent;
  }
  CellBufferRef row = {true, cell_scratch_add(k, CELL_F, floats, "gathered once")};
  CellStmt *value = cell_stmt(k, &tail, CELL_K_LOAD);
  value->buffer = load->buffer, value->index = from, value->span = load->span;
  CellStmt *store = cell_stmt(k, &tail, CELL_K_STORE);
  store->buffer = row, store->index = to, store->args[0] = value->value;
  load->buffer = row, load->index = here;

  outermost->next = *g->link;
  *g->link = outermost;
  g->link = &outermost->next;
}

static void walk_lanes(Gather *g, CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      g->loops[s->var] = s;
      walk_lanes(g, s->body);
      continue;
    }
    const CellStmt *inner[MOST_INNER];
    int n = is_gathered(g, s) ? inner_loops(g, &s->index, inner) : -1;
    if (n >= 0) write_out(g, s, inner, n);
  }
}

// times: how often the statements run
static void walk(Gather *g, CellStmt *s, double times) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP) continue;
    if (s->loop != CELL_LOOP_LANES) {
      walk(g, s->body, times * (double)s->extent);
    } else if (times >= LEAST_TIMES && s->limit <= 0 && s->begin.term_count == 0 &&
               s->begin.loaded < 0) {
      g->lanes = s;
      for (int v = 0; v < g->vars; v++) g->loops[v] = NULL;
      walk_lanes(g, s->body);
    }
  }
}

void fuse_gather_once(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  Gather g = {.k = k, .vars = k->var_count};
  g.loops = CELL_NEW_ARRAY(k->arena, const CellStmt *, (size_t)g.vars + 1);
  for (CellStmt **link = &k->body; *link; link = &(*link)->next) {
    if ((*link)->kind != CELL_K_LOOP || (*link)->loop == CELL_LOOP_LANES) continue;
    CellStmt *loop = *link;
    g.link = link;
    walk(&g, loop->body, (double)loop->extent);
    link = g.link;
  }
}
