/* turn_lanes.c - lanes go across short rows instead of along them:
 *
 *     loop v1 = [0, 32)                        lanes v1 = [0, 32)
 *       %0 = acc sum                             %0 = acc sum
 *       lanes v2 = [0, 5)                        unroll v2 = [0, 5)
 *         %1 = load s0[v2]                         %1 = load s0[v2]
 *         %2 = load arg1[5 v1 + v2]                %2 = load arg1[5 v1 + v2]
 *         %3 = add %1 %2                ->         %3 = add %1 %2
 *         store s1[v2] %3                          store s2[32 v2 + v1] %3
 *         update %0 %3                             update %0 %3
 *       %4 = tanh %0                             %4 = tanh %0
 *       store s3[v1] %4                          store s3[v1] %4
 *
 * A row of 5 fills a third of a vector, is folded across its lanes, and all that follows from it is worked out number
 * by number. The other way round nothing is folded and every operation fills its vector; what lies apart is gathered.
 * The cheaper way by a count of operations is taken. Iterations must not depend on each other: what is written outside of
 * the loop's own scratch is written where no other iteration reads or writes.
 *
 * Loops over an axis have no lanes before; one that only takes a maximum, its place or a sum gets them here. */
#include "ir/fuse.h"
#include "ir/iterations.h"

enum {
  UNROLLED = 8,        /* iterations of a loop that is written out within the lanes */
  MOST_OPS = 1500,     /* of a body's text: code that is not worth its compilation, */
  MOST_IF_MUCH = 6000, /* but where it saves much */
  AT_ONCE = 64,        /* iterations of a lane loop: what they have of their own then stays near */
  MOST_OWN = 1 << 14,  /* floats of that */
  /* What takes more time than its operations do, as so many operations: by some 370 timings of loops of drawn networks,
   * each in both ways, on a core of the kind Zen 3. */
  FOLD = 8,      /* the end of a sum over lanes */
  NEXT = 24,     /* a loop over a row that follows another: it waits for what that leaves */
  REST = 8,      /* lanes of a row that do not fill a vector */
  LOOP = 2,      /* an iteration of a loop within lanes */
  OPERAND = 16,  /* lanes of vectors whose instructions take what all lanes share as an operand */
  SCALAR = 2,    /* what is worked out number by number: times */
  DIVISION = 6,  /* one operation, but not done in the time of one */
  ONE_BY_ONE = 2 /* lanes that are loaded or stored so: each */
};

typedef struct {
  const CellTarget *target;
  FuseIterations it; /* of the loop at hand */
  bool *turns;       /* by variable: its loop is to be turned */
} Turn;

/* ---- which way is cheaper ---- */

static double op_price(CellOp op) {
  bool divides =
      op == CELL_OP_DIV || op == CELL_OP_SQRT || op == CELL_OP_TANH || op == CELL_OP_SIGMOID;
  return cell_op_info[op].flops + (divides ? DIVISION : 0);
}

/* A load or store whose lanes are `step` apart: of short steps as many vectors are loaded, and brought together
 * (codegen/llvm_strided.c); what is stored besides by a loop over all that lies between, `around`, goes along. */
static double access_ops(const Turn *t, const CellStmt *s, int64_t step, const CellStmt *around) {
  int64_t lanes = t->target->lanes;
  double apart = (double)(ONE_BY_ONE * lanes);
  if (s->index.loaded >= 0) return apart;
  if (step == 0 || step == 1) return 1;
  if (step < 0 || step > CELL_MAX_STEP) return apart;
  double together = (double)(step < lanes ? step + 1 : lanes + lanes / 2);
  if (s->kind == CELL_K_LOAD) return together;
  bool all = around && around->extent == step && step <= lanes && around->extent <= UNROLLED &&
             cell_affine_coef(&s->index, around->var) == 1 && !s->add;
  return all ? together : apart;
}

// one loop, of lanes, and otherwise numbers
static bool is_single(const CellStmt *s) {
  int loops = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && s->loop != CELL_LOOP_LANES) return false;
    loops += s->kind == CELL_K_LOOP;
  }
  return loops == 1;
}

static double price(Turn *t, CellStmt *loop);

// operations of one iteration as it is, in loops of lanes by vectors; `lane`: the variable of the one around, or -1
static double along(Turn *t, CellStmt *s, int lane) {
  double sum = 0;
  int64_t lanes = t->target->lanes;
  bool next = false, single = is_single(s); // four such rows are summed at once (jam_rows.c)
  for (; s; s = s->next) {
    int64_t vectors = s->kind == CELL_K_LOOP ? (s->extent + lanes - 1) / lanes : 1;
    if (s->kind == CELL_K_LET)
      sum += (lane < 0 ? SCALAR : 1) * op_price(s->op);
    else if (s->kind == CELL_K_ACC && lane < 0)
      sum += single ? FOLD / 4 : FOLD;
    else if ((s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) && lane >= 0)
      sum += access_ops(t, s, cell_affine_coef(&s->index, lane), NULL);
    else if (s->kind != CELL_K_LOOP)
      sum += 1;
    else if (s->loop == CELL_LOOP_LANES) {
      sum += (double)vectors * along(t, s->body, s->var) + (next ? NEXT : 0);
      sum += s->extent % lanes != 0 ? REST : 0;
      next = true;
    } else
      sum += lane < 0 ? price(t, s) : (double)s->extent * along(t, s->body, lane);
  }
  return sum;
}

/* What an iteration within lanes takes besides: nothing beside a function, as such iterations are jammed (jam_rows.c),
 * unless each has to load what its lanes share. */
static double loop_ops(const Turn *t, const CellStmt *loop) {
  return t->target->lanes >= OPERAND && fuse_has_function(loop->body) ? 0 : LOOP;
}

/* Operations of as many iterations as there are lanes, side by side; of the text: each loop that is not written
 * out counts once. */
static double across(Turn *t, const CellStmt *s, const CellStmt *around, bool text) {
  double sum = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      if (text)
        sum += (s->extent > UNROLLED ? 1 : (double)s->extent) * across(t, s->body, s, text);
      else
        sum += (double)s->extent * (across(t, s->body, s, text) + loop_ops(t, s));
    } else if (s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) {
      const FuseWritten *w = fuse_iterations_written(&t->it, s->buffer);
      sum +=
          w && w->own ? 1 : access_ops(t, s, cell_affine_coef(&s->index, t->it.loop->var), around);
    } else {
      sum += s->kind != CELL_K_LET ? 1 : text ? cell_op_info[s->op].flops : op_price(s->op);
    }
  }
  return sum;
}

/* Whether a loop only takes sums, a maximum or its place over what lies in a row: lanes then go along it. */
static bool is_sum(const CellStmt *loop) {
  bool sums = false;
  for (const CellStmt *s = loop->body; s; s = s->next) {
    int64_t step = s->kind == CELL_K_LOAD ? cell_affine_coef(&s->index, loop->var) : 0;
    switch (s->kind) {
    case CELL_K_CONST:
    case CELL_K_LET: break;
    case CELL_K_LOAD:
      if (s->index.loaded >= 0 || step < 0 || step > 1) return false;
      break;
    case CELL_K_UPDATE: sums = true; break;
    default: return false;
    }
  }
  return sums;
}

static bool has_lanes(const CellStmt *s) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_LOOP && (s->loop == CELL_LOOP_LANES || has_lanes(s->body))) return true;
  return false;
}

// iterations of the lane loop: all, or a part of which there is a whole number
static int64_t at_once(const Turn *t) {
  int64_t n = t->it.loop->extent, lanes = t->target->lanes;
  if (n <= AT_ONCE) return n;
  for (int64_t part = AT_ONCE / lanes * lanes; part >= lanes; part -= lanes)
    if (n % part == 0) return part;
  return n;
}

// whether iterations of a loop could be lanes
static bool may_turn(Turn *t, CellStmt *loop) {
  if (loop->extent < 2 || !has_lanes(loop->body)) return false;
  if (!fuse_iterations_independent(&t->it, loop)) return false;
  int64_t own = 0, count = at_once(t);
  for (int i = 0; i < t->it.written_count; i++)
    if (t->it.written[i].own) own += (t->it.written[i].high - t->it.written[i].low + 1) * count;
  return own <= MOST_OWN;
}

// operations of a loop in the cheaper way, after those in it: iterations of an outer one, or of inner ones
static double price(Turn *t, CellStmt *loop) {
  double as_it_is = (double)loop->extent * along(t, loop->body, -1);
  if (!may_turn(t, loop)) return as_it_is;
  int64_t lanes = t->target->lanes, vectors = (loop->extent + lanes - 1) / lanes;
  double turned = (double)vectors * across(t, loop->body, NULL, false);
  double text = across(t, loop->body, NULL, true);
  double most = text <= MOST_OPS ? 1 : text <= MOST_IF_MUCH ? 0.6 : 0;
  t->turns[loop->var] = turned < most * as_it_is;
  return t->turns[loop->var] ? turned : as_it_is;
}

/* ---- turning ---- */

// lanes: the loop around, of `count` iterations
static void turn(Turn *t, CellStmt *s, int64_t count, const CellStmt *lanes) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      s->loop = s->extent <= UNROLLED ? CELL_LOOP_UNROLL : CELL_LOOP_SERIAL;
      turn(t, s->body, count, lanes);
      continue;
    }
    const FuseWritten *w = s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE
                               ? fuse_iterations_written(&t->it, s->buffer)
                               : NULL;
    if (w && w->own) {
      // element i of a lane: i rows of all lanes further, and its place
      CellAffine i = cell_affine_add(s->index, cell_affine_var(t->it.loop->var, -w->step));
      i = cell_affine_add(i, cell_affine_scale(w->around, -1));
      i.base -= w->low;
      s->index = cell_affine_add(cell_affine_scale(i, count), cell_loop_place(lanes));
      s->buffer.index = w->made;
    } else {
      s->index = cell_affine_put(s->index, t->it.loop->var, cell_affine_var(lanes->var, 1));
    }
  }
}

static void make_own(Turn *t, int64_t count) {
  CellKernel *k = t->it.k;
  for (int i = 0; i < t->it.written_count; i++) {
    FuseWritten *w = &t->it.written[i];
    if (!w->own) continue;
    const CellScratch *s = &k->scratch[w->buffer.index];
    w->made = cell_scratch_add(k, s->dtype, (w->high - w->low + 1) * count, s->name);
  }
}

static void turn_loop(Turn *t, CellStmt *loop) {
  CellKernel *k = t->it.k;
  int64_t count = at_once(t);
  make_own(t, count);
  if (count == loop->extent) {
    turn(t, loop->body, count, loop);
    loop->loop = CELL_LOOP_LANES;
    return;
  }
  // a part of the lanes after the other
  CellStmt *body = loop->body, **tail = &loop->body;
  CellStmt *lanes = cell_stmt(k, &tail, CELL_K_LOOP);
  lanes->loop = CELL_LOOP_LANES, lanes->extent = count, lanes->limit = loop->limit;
  lanes->begin = cell_affine_add(loop->begin, cell_affine_var(loop->var, count));
  lanes->body = body;
  turn(t, body, count, lanes);
  loop->begin = cell_affine(0), loop->extent /= count, loop->limit = 0;
}

static void sums_to_lanes(const Turn *t, CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    sums_to_lanes(t, s->body);
    if (s->loop == CELL_LOOP_SERIAL && s->extent >= t->target->lanes && is_sum(s))
      s->loop = CELL_LOOP_LANES;
  }
}

static void turn_all(Turn *t, CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    if (t->turns[s->var] && may_turn(t, s))
      turn_loop(t, s);
    else
      turn_all(t, s->body);
  }
}

void fuse_turn_lanes(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  Turn t = {.target = target};
  fuse_iterations_begin(&t.it, k); // each turned loop brings a variable
  t.it.may_sum = true; // lanes have sums of their own, which are added up behind the loop
  t.turns = CELL_NEW_ARRAY(k->arena, bool, (size_t)k->var_count + 1);
  sums_to_lanes(&t, k->body);
  along(&t, k->body, -1);
  turn_all(&t, k->body);
}
