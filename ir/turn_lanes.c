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
 * the loop's own scratch is written where no other iteration reads or writes, and sums begin and end within one. */
#include "ir/fuse.h"

enum {
  UNROLLED = 8,      /* iterations of a loop that is written out within the lanes */
  MOST_OPS = 1500,   /* of a body's text: code that is not worth its compilation */
  MOST_BUFFERS = 48, /* that an iteration writes */
  AT_ONCE =
      64, /* iterations that a lane loop has, if more: what they have of their own then stays near */
  MOST_OWN = 1 << 14, /* floats of that */
  FOLD = 8            /* operations that a sum over lanes ends with */
};

/* A buffer that an iteration writes: elements `low` to `high` beyond step * (the iteration) + around. */
typedef struct {
  CellBufferRef buffer;
  bool own;  /* scratch that nothing else touches: laid out anew, iterations side by side */
  int made;  /* the new one's number */
  bool seen; /* below is valid */
  int64_t step, low, high;
  CellAffine around; /* what is the same within the loop */
} Written;

typedef struct {
  CellKernel *k;
  const CellTarget *target;
  CellStmt *loop;
  bool *inside;          /* by variable: of a loop in it */
  bool *declared;        /* by value: an accumulator of it */
  int64_t *least, *most; /* by variable inside: its values */
  Written written[MOST_BUFFERS];
  int written_count;
} Turn;

/* ---- what an iteration touches ---- */

static bool touched(const CellStmt *s, const CellStmt *without, CellBufferRef buffer) {
  for (; s; s = s->next) {
    if (s == without) continue;
    if ((s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) && cell_same_buffer(s->buffer, buffer))
      return true;
    if (s->kind == CELL_K_CONTRACT &&
        (cell_same_buffer(s->a.buffer, buffer) || cell_same_buffer(s->b.buffer, buffer) ||
         cell_same_buffer(s->out.buffer, buffer)))
      return true;
    if (s->kind == CELL_K_LOOP && touched(s->body, without, buffer)) return true;
  }
  return false;
}

static Written *written(Turn *t, CellBufferRef buffer) {
  for (int i = 0; i < t->written_count; i++)
    if (cell_same_buffer(t->written[i].buffer, buffer)) return &t->written[i];
  return NULL;
}

// the buffers that are stored to; false: too many
static bool list_written(Turn *t, const CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP && !list_written(t, s->body)) return false;
    if (s->kind != CELL_K_STORE || written(t, s->buffer)) continue;
    if (t->written_count == MOST_BUFFERS) return false;
    bool own = s->buffer.scratch && !touched(t->k->body, t->loop, s->buffer);
    t->written[t->written_count++] = (Written){.buffer = s->buffer, .own = own};
  }
  return true;
}

// whether an access to what is written stays among its iteration's elements
static bool stays(Turn *t, const CellStmt *s) {
  Written *w = written(t, s->buffer);
  if (!w) return true;
  int64_t step = cell_affine_coef(&s->index, t->loop->var), low = s->index.base, high = low;
  CellAffine around = cell_affine(0);
  for (int i = 0; i < s->index.term_count; i++) {
    int var = s->index.terms[i].var;
    int64_t coef = s->index.terms[i].coef;
    if (var == t->loop->var) continue;
    if (!t->inside[var]) {
      around = cell_affine_add(around, cell_affine_var(var, coef));
      continue;
    }
    low += coef * (coef > 0 ? t->least[var] : t->most[var]);
    high += coef * (coef > 0 ? t->most[var] : t->least[var]);
  }
  if (s->index.loaded >= 0) {
    // anywhere in what is each iteration's own
    if (!w->own || step != 0 || around.term_count > 0) return false;
    low = 0, high = t->k->scratch[s->buffer.index].count - 1;
  }
  if (!w->seen) w->seen = true, w->step = step, w->low = low, w->high = high, w->around = around;
  if (low < w->low) w->low = low;
  if (high > w->high) w->high = high;
  if (step != w->step || !cell_affine_equal(&around, &w->around)) return false;
  return step == 0 ? w->own : w->high - w->low < (step > 0 ? step : -step);
}

static bool fits(Turn *t, const CellStmt *s) {
  for (; s; s = s->next) {
    switch (s->kind) {
    case CELL_K_CONST:
    case CELL_K_VAR:
    case CELL_K_LET: break;
    case CELL_K_ACC: t->declared[s->value] = true; break;
    case CELL_K_UPDATE:
      if (!t->declared[s->value]) return false;
      break;
    case CELL_K_LOAD:
    case CELL_K_STORE:
      if (!stays(t, s)) return false;
      break;
    case CELL_K_LOOP:
      if (s->limit > 0 || s->begin.term_count > 0 || s->begin.loaded >= 0) return false;
      t->inside[s->var] = true;
      t->least[s->var] = s->begin.base, t->most[s->var] = s->begin.base + s->extent - 1;
      if (!fits(t, s->body)) return false;
      break;
    default: return false;
    }
  }
  return true;
}

/* ---- which way is cheaper ---- */

// a load or store whose lanes are `step` apart
static double access_ops(const Turn *t, const CellStmt *s, int64_t step) {
  return s->index.loaded < 0 && (step == 0 || step == 1) ? 1 : 2.0 * t->target->lanes;
}

// operations of one iteration as it is, in loops of lanes by vectors; `lane`: the variable of the one around, or -1
static double along(const Turn *t, const CellStmt *s, int lane) {
  double sum = 0;
  int64_t lanes = t->target->lanes;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LET)
      sum += cell_op_info[s->op].flops;
    else if (s->kind == CELL_K_ACC && lane < 0)
      sum += FOLD;
    else if ((s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) && lane >= 0)
      sum += access_ops(t, s, cell_affine_coef(&s->index, lane));
    else if (s->kind != CELL_K_LOOP)
      sum += 1;
    else if (s->loop == CELL_LOOP_LANES)
      sum += (double)((s->extent + lanes - 1) / lanes) * along(t, s->body, s->var) + 2;
    else
      sum += (double)s->extent * along(t, s->body, lane);
  }
  return sum;
}

/* Operations of as many iterations as there are lanes, side by side; of the text: each loop that is not written
 * out counts once. */
static double across(Turn *t, const CellStmt *s, bool text) {
  double sum = 0;
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      sum += (text && s->extent > UNROLLED ? 1 : (double)s->extent) * across(t, s->body, text);
    } else if (s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE) {
      const Written *w = written(t, s->buffer);
      sum += w && w->own ? 1 : access_ops(t, s, cell_affine_coef(&s->index, t->loop->var));
    } else {
      sum += s->kind == CELL_K_LET ? cell_op_info[s->op].flops : 1;
    }
  }
  return sum;
}

static bool has_lanes(const CellStmt *s) {
  for (; s; s = s->next)
    if (s->kind == CELL_K_LOOP && (s->loop == CELL_LOOP_LANES || has_lanes(s->body))) return true;
  return false;
}

static bool is_cheaper(Turn *t) {
  int64_t lanes = t->target->lanes, vectors = (t->loop->extent + lanes - 1) / lanes;
  return across(t, t->loop->body, true) <= MOST_OPS &&
         (double)vectors * across(t, t->loop->body, false) <
             0.7 * (double)t->loop->extent * along(t, t->loop->body, -1);
}

/* ---- turning ---- */

// iterations of the lane loop: all, or a part of which there is a whole number
static int64_t at_once(const Turn *t) {
  int64_t n = t->loop->extent, lanes = t->target->lanes;
  if (n <= AT_ONCE) return n;
  for (int64_t part = AT_ONCE / lanes * lanes; part >= lanes; part -= lanes)
    if (n % part == 0) return part;
  return n;
}

// with begin + count * (the outer loop's variable, if there is one) + lane for the loop's variable
static CellAffine moved(const Turn *t, CellAffine a, CellAffine begin, int64_t count, int lane) {
  int64_t coef = cell_affine_coef(&a, t->loop->var), outer = count < t->loop->extent ? count : 0;
  if (coef == 0) return a;
  a = cell_affine_add(a, cell_affine_var(t->loop->var, coef * (outer - 1)));
  a = cell_affine_add(a, cell_affine_scale(begin, coef));
  return cell_affine_add(a, cell_affine_var(lane, coef));
}

static void turn(Turn *t, CellStmt *s, CellAffine begin, int64_t count, int lane) {
  for (; s; s = s->next) {
    if (s->kind == CELL_K_LOOP) {
      s->loop = s->extent <= UNROLLED ? CELL_LOOP_UNROLL : CELL_LOOP_SERIAL;
      turn(t, s->body, begin, count, lane);
      continue;
    }
    const Written *w =
        s->kind == CELL_K_LOAD || s->kind == CELL_K_STORE ? written(t, s->buffer) : NULL;
    if (w && w->own) {
      // element i of lane j: i rows of all lanes further, and j
      CellAffine i = cell_affine_add(s->index, cell_affine_var(t->loop->var, -w->step));
      i = cell_affine_add(i, cell_affine_scale(w->around, -1));
      i.base -= w->low;
      s->index = cell_affine_add(cell_affine_scale(i, count), cell_affine_var(lane, 1));
      s->buffer.index = w->made;
    } else {
      s->index = moved(t, s->index, begin, count, lane);
    }
  }
}

static void make_own(Turn *t, int64_t count) {
  CellKernel *k = t->k;
  for (int i = 0; i < t->written_count; i++) {
    Written *w = &t->written[i];
    if (!w->own) continue;
    CellScratch s = k->scratch[w->buffer.index];
    s.count = (w->high - w->low + 1) * count, s.offset = k->scratch_bytes;
    k->scratch_bytes += (s.count * 4 + 63) / 64 * 64;
    w->made = k->scratch_count;
    CELL_PUSH(k->arena, k->scratch, k->scratch_count, k->scratch_capacity, s);
  }
}

static void consider(Turn *t, CellStmt *loop) {
  CellKernel *k = t->k;
  t->loop = loop, t->written_count = 0;
  if (loop->limit > 0 || loop->begin.loaded >= 0 || loop->extent < 2) return;
  if (!has_lanes(loop->body)) return;
  for (int i = 0; i < k->var_count; i++) t->inside[i] = false;
  for (int i = 0; i < k->value_count; i++) t->declared[i] = false;
  if (!list_written(t, loop->body) || !fits(t, loop->body) || !is_cheaper(t)) return;
  int64_t own = 0, count = at_once(t);
  for (int i = 0; i < t->written_count; i++)
    if (t->written[i].own) own += (t->written[i].high - t->written[i].low + 1) * count;
  if (own > MOST_OWN) return;

  make_own(t, count);
  CellStmt *body = loop->body, **tail = &loop->body;
  CellStmt *lanes = cell_stmt(k, &tail, CELL_K_LOOP);
  lanes->loop = CELL_LOOP_LANES, lanes->extent = count, lanes->body = body;
  turn(t, body, loop->begin, count, lanes->var);
  loop->begin = cell_affine(0);
  if (count < loop->extent) {
    loop->extent /= count;
  } else {
    loop->loop = CELL_LOOP_LANES, loop->var = lanes->var, loop->body = body;
  }
}

static void walk(Turn *t, CellStmt *s) {
  for (; s; s = s->next) {
    if (s->kind != CELL_K_LOOP || s->loop == CELL_LOOP_LANES) continue;
    walk(t, s->body);
    consider(t, s);
  }
}

void fuse_turn_lanes(CellKernel *k, const CellTarget *target) {
  if (!target->tune_lanes) return;
  // each turned loop brings a variable
  size_t vars = 2 * (size_t)k->var_count + 2, values = (size_t)k->value_count + 1;
  Turn t = {.k = k, .target = target};
  t.inside = CELL_NEW_ARRAY(k->arena, bool, vars);
  t.declared = CELL_NEW_ARRAY(k->arena, bool, values);
  t.least = CELL_NEW_ARRAY(k->arena, int64_t, vars);
  t.most = CELL_NEW_ARRAY(k->arena, int64_t, vars);
  walk(&t, k->body);
}
