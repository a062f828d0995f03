/* replay_mirror.c - a replay's copy on the GPU, from which updates take their batches.
 *
 * The rings on the host stay what they are: what was added to them since the last batch goes up before the
 * next, so the copy can be dropped at any time, and nothing else (saving, other back ends) has to know of it. */
#include "runtime/replay_rings.h"

#include "runtime/random.h"

#include <stdlib.h>

bool cell_replay_mirror(CellReplay *r, CellEngine *engine, const char *program, int32_t batch,
                        char *message, size_t size) {
  CELL_ASSERT(!r->mirror);
  CellMirrorOptions options = {.program = program,
                               .batch = batch,
                               .rings = r->options.envs,
                               .slots = r->slots,
                               .context = r->options.context,
                               .observation = r->options.observation,
                               .bits = r->options.bits,
                               .row = r->row};
  r->mirror = cell_mirror_open(engine, &options, message, size);
  for (int e = 0; e < r->options.envs; e++) r->rings[e].sent = r->rings[e].finals_sent = 0;
  return r->mirror != NULL;
}

int64_t cell_replay_mirror_bytes(const CellReplay *r) {
  return r->mirror ? cell_mirror_bytes(r->mirror) : 0;
}

// rows that were added, and the one that waits, which goes again when its transition is known
static bool send_rows(CellReplay *r, int e, char *message, size_t size) {
  Ring *ring = &r->rings[e];
  int64_t first = ring->added + 1 - r->slots; // what lies before was overwritten
  for (int64_t n = ring->sent > first ? ring->sent : first; n <= ring->added; n++)
    if (!cell_mirror_row(r->mirror, e, n % r->slots, cell_replay_row(r, ring, n), message, size))
      return false;
  ring->sent = ring->added;
  return true;
}

static bool send_finals(CellReplay *r, int e, char *message, size_t size) {
  Ring *ring = &r->rings[e];
  int64_t end = ring->final_dropped + ring->final_count;
  int64_t n = ring->finals_sent > ring->final_dropped ? ring->finals_sent : ring->final_dropped;
  for (; n < end; n++)
    if (!cell_mirror_final(r->mirror, e, n, cell_replay_final_number(ring, n - ring->final_dropped),
                           cell_replay_final_row(r, ring, n - ring->final_dropped), message, size))
      return false;
  ring->finals_sent = end;
  return true;
}

static bool follow(CellReplay *r, char *message, size_t size) {
  int64_t room = 0;
  for (int e = 0; e < r->options.envs; e++)
    if (r->rings[e].final_room > room) room = r->rings[e].final_room;
  if (room > cell_mirror_finals(r->mirror)) {
    if (!cell_mirror_grow(r->mirror, room, message, size)) return false;
    for (int e = 0; e < r->options.envs; e++) r->rings[e].finals_sent = 0;
  }
  for (int e = 0; e < r->options.envs; e++)
    if (!send_rows(r, e, message, size) || !send_finals(r, e, message, size)) return false;
  return true;
}

bool cell_replay_mirror_sample(CellReplay *r, uint64_t seed, uint64_t update, CellDiag *diag) {
  char message[512];
  const uint32_t key[2] = {(uint32_t)seed, (uint32_t)(seed >> 32)};
  const uint32_t counter[3] = {(uint32_t)update, (uint32_t)(update >> 32), CELL_STREAM_REPLAY};
  CellMirrorFinals *finals = cell_malloc((size_t)r->options.envs * sizeof *finals);
  for (int e = 0; e < r->options.envs; e++)
    finals[e] = (CellMirrorFinals){r->rings[e].final_dropped, r->rings[e].final_count};
  bool good =
      follow(r, message, sizeof message) &&
      cell_mirror_draw(r->mirror, key, counter, r->rings[0].added,
                       cell_replay_filled_of(r, &r->rings[0]), finals, message, sizeof message);
  free(finals);
  if (good) return true;
  cell_mirror_close(r->mirror);
  r->mirror = NULL;
  cell_warning(diag, NULL, CELL_NOWHERE, "the replay goes on in the host's memory: %s", message);
  return false;
}
