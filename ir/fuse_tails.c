/* fuse_tails.c - which entrywise ops a product's kernel does itself, where products stand in kernels of their own.
 *
 * An op can be in the tail of a product if it works on exactly the product's entries, reading the product, or
 * what the tail made so far, at its own entry, and everything else it reads is there before the product
 * starts: then a tile's sums meet it while they are in registers. So the tail costs the product no waiting,
 * and the kernels stay without a cycle: with depth[] the number of launches that have to come before an op, all of
 * a product's kernel has the product's depth, and whatever the tail reads has less.
 *
 * So can a sum over all of the product's entries, which leaves a number a tile (fuse_sums.c).
 *
 * It stays there if that saves a launch: if a product reads it, or a tail, or nobody. What only sweeps read is
 * done by the first of them, from fewer stored values.
 *
 * Example, with r * s read by the next product and u * s by a sweep:
 *     z1 = product ..   r = sigmoid(z1)   r * s     all three in one kernel
 *     z2 = product ..   u = sigmoid(z2)   u * s     z2 alone */
#include "ir/fuse.h"

static int root(const FuseItem *items, int n, FuseOp *op) {
  while (op->region->scan) op = op->region->scan;
  // ops of another list of the program have run
  return op->order < n && items[op->order].op == op ? op->order : -1;
}

/* the loops of an op that run over a product's rows and columns */
typedef struct {
  int row, column; /* row -1: there is one */
} Tile;

static bool is_nothing(const FuseIndex *x) {
  return x->count == 0 && x->base == 0 && x->loaded < 0 && !x->scan;
}

/* the reader's loops where it reads `made` entry by entry; false: it does not */
static bool read_tile(const FuseOp *reader, const FuseAccess *x, const FuseOp *made, Tile of,
                      Tile *tile) {
  *tile = (Tile){-1, -1};
  for (int a = 0; a < CELL_MAX_AXES; a++) {
    if (!(x->val->axes & CELL_AXIS(a))) continue;
    if (made->out_axis[a] < 0) {
      if (!is_nothing(&x->axis[a])) return false;
    } else if (made->out_axis[a] == of.row && x->axis[a].count == 1 &&
               fuse_is_loop(&x->axis[a], x->axis[a].loop[0]) &&
               reader->loops[x->axis[a].loop[0]].axis == a) {
      tile->row = x->axis[a].loop[0];
    } else {
      return false;
    }
  }
  for (int d = 0; d < x->val->rank; d++) {
    if (made->out_offset[d]) return false;
    if (made->out_dim[d] < 0) {
      if (!is_nothing(&x->dim[d])) return false;
      continue;
    }
    int loop = x->dim[d].count == 1 ? x->dim[d].loop[0] : -1;
    if (made->out_dim[d] != of.column || loop < 0 || !fuse_is_loop(&x->dim[d], loop) ||
        reader->loops[loop].extent != x->val->shape[d])
      return false;
    tile->column = loop;
  }
  return tile->column >= 0 && (tile->row >= 0) == (of.row >= 0);
}

static bool is_plain_product(const FuseOp *op) {
  if (op->kind != FUSE_CONTRACT || op->region->scan || op->loop_n < 0) return false;
  for (int l = 0; l < op->loop_count; l++)
    if (l != op->loop_m && l != op->loop_n && l != op->loop_k) return false;
  for (int s = 0; s < op->segment_count; s++)
    if (op->segments[s].m_offset || op->segments[s].n_offset ||
        op->segments[s].n_extent != op->loops[op->loop_n].extent)
      return false;
  return op->loop_m < 0 || op->out_axis[CELL_AXIS_BATCH] == op->loop_m;
}

static bool may_be_tail(const FuseOp *op) {
  for (int a = 0; a < op->arg_count; a++)
    if (op->args[a].kind == FUSE_VALUE && op->args[a].val->producer_count == 1 &&
        op->args[a].val->producers[0]->repeated)
      return false;
  return op->kind == FUSE_SCALAR && op->out->dtype == CELL_F && op->out->producer_count == 1 &&
         !op->out->pinned && !op->region->scan;
}

typedef struct {
  const Fuse *f;
  FuseItem *items;
  int n;
  int *depth;
  Tile *tile; /* of products and of what is in a tail */
} Tails;

/* The launches before op i, and its loops over the tile, if it were in the tail of product `within` (-1: in none).
 * -1: it reads what that kernel makes otherwise than entry by entry. */
static int wait_of(Tails *t, int i, int within, Tile *tile) {
  FuseOp *op = t->items[i].op;
  int depth = 0;
  for (int a = 0; a < op->arg_count; a++) {
    FuseAccess *x = &op->args[a];
    if (x->kind != FUSE_VALUE) continue;
    for (int p = 0; p < x->val->producer_count; p++) {
      int j = root(t->items, t->n, x->val->producers[p]);
      if (j < 0) continue;
      Tile own;
      if (within >= 0 && t->items[j].tail == within) {
        if (!read_tile(op, x, t->items[j].op, t->tile[j], &own)) return -1;
        if (tile->column >= 0 && (own.row != tile->row || own.column != tile->column)) return -1;
        *tile = own;
        continue;
      }
      bool join = within < 0 && fuse_may_join(&t->items[j], &t->items[i], op, x->val);
      int least = t->depth[j] + !join;
      if (least > depth) depth = least;
    }
  }
  return depth;
}

static int depth_of_product(const Tails *t, const FuseOp *op) {
  int depth = 0;
  for (int s = 0; s < op->segment_count; s++) {
    const FuseVal *vals[2] = {op->segments[s].a.val, op->segments[s].b.val};
    for (int v = 0; v < 2; v++)
      for (int p = 0; p < vals[v]->producer_count; p++) {
        int j = root(t->items, t->n, vals[v]->producers[p]);
        if (j >= 0 && t->depth[j] + 1 > depth) depth = t->depth[j] + 1;
      }
  }
  return depth;
}

/* the deepest product in whose tail op i can be, or -1 */
static int choose(Tails *t, int i, Tile *tile) {
  FuseOp *op = t->items[i].op;
  int best = -1;
  if (!may_be_tail(op)) return -1;
  for (int a = 0; a < op->arg_count; a++) {
    const FuseAccess *x = &op->args[a];
    if (x->kind != FUSE_VALUE || x->val->producer_count != 1) continue;
    int j = root(t->items, t->n, x->val->producers[0]);
    int product = j < 0 ? -1 : t->items[j].tail;
    if (product < 0 || product == best) continue;
    if (best >= 0 && t->depth[product] <= t->depth[best]) continue;
    const FuseItem *p = &t->items[product];
    if (t->tile[product].column < 0 || p->cut.task != t->items[i].cut.task ||
        p->cut.extent != t->items[i].cut.extent || p->op->region != op->region)
      continue;
    Tile own = {-1, -1};
    int wait = wait_of(t, i, product, &own);
    if (wait < 0 || wait > t->depth[product]) continue;
    if (op->loop_count != (own.row >= 0) + 1) continue;
    best = product, *tile = own;
  }
  return best;
}

/* whether op i, in the tail of its product, saves a launch there */
static bool saves(Tails *t, int i) {
  FuseItem alone = t->items[i];
  alone.tail = -1;
  const FuseVal *out = alone.op->out;
  if (out->consumer_count == 0) return true;
  for (int c = 0; c < out->consumer_count; c++) {
    int j = root(t->items, t->n, out->consumers[c]);
    if (j < 0) continue;
    if (t->items[j].tail >= 0 || !fuse_may_join(&alone, &t->items[j], out->consumers[c], out))
      return true;
  }
  return false;
}

void fuse_tails(const Fuse *f, FuseItem *items, int n) {
  for (int i = 0; i < n; i++) items[i].tail = -1;
  if (f->target->anchor_rows <= 0) return;
  Tails t = {f, items, n, CELL_NEW_ARRAY(f->arena, int, n + 1),
             CELL_NEW_ARRAY(f->arena, Tile, n + 1)};
  for (int i = 0; i < n; i++) {
    FuseOp *op = items[i].op;
    t.tile[i] = (Tile){-1, -1};
    if (op->kind == FUSE_CONTRACT) items[i].tail = i;
    if (op->tiles) {
      items[i].tail = root(items, n, op->tiles);
      t.depth[i] = t.depth[items[i].tail];
      continue;
    }
    if (is_plain_product(op)) t.tile[i] = (Tile){op->loop_m, op->loop_n};
    Tile tile = {-1, -1};
    t.depth[i] = op->kind == FUSE_CONTRACT ? depth_of_product(&t, op) : wait_of(&t, i, -1, &tile);
    int product = choose(&t, i, &tile);
    if (product < 0) continue;
    items[i].tail = product, t.tile[i] = tile, t.depth[i] = t.depth[product];
  }
  for (int i = n - 1; i >= 0; i--)
    if (items[i].tail >= 0 && items[i].tail != i && !items[i].op->tiles && !saves(&t, i))
      items[i].tail = -1;
}
