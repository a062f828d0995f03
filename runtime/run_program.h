/* run_program.h - one program of a network, run on the tensors of a file.
 *
 * The seam through which a network is compared with any other implementation of it: text in,
 * tensors in, tensors out. Names and shapes of what is read (C observations of context, batch B):
 *
 *   params/<parameter>      as declared; one that is not there is drawn from the seed
 *   target/<parameter>      default: the parameter
 *   moment1/..., moment2/.. default: zeros
 *   step                    [1] or a scalar, default 0: updates done so far
 *   obs                     update: [C+1, B, ...], oldest first, the last is s_t; act: [T, B, ...]
 *   next_obs                [B, ...]          an observation may also be given flat
 *   action                  [B], integers     reward, terminated  [B]
 *   <carry>/state           [B, ...] for act; default: zero, an episode's start
 *
 * Results:
 *
 *   update  <cell>/q, next_q, target_next_q [B, A]; td_target and other records; loss, grad_norm [1];
 *           hidden, state_before, state_now, target_state_now; grad/<parameter>: all as they stand
 *           before the parameters change; then params/, target/, moment1/, moment2/, step behind it
 *   act     q [T, B, A], action [T, B], <carry>/state behind the last step; on request <cell>/q
 *   sync    target/<parameter>
 *
 * Where no outputs are asked for by name, the data and what the program left as it was are written
 * as well, so that a result is the next run's input. The values that are not the program's own come
 * from a second one that is compiled apart: asking for them changes nothing else. */
#ifndef CELL_RUN_PROGRAM_H
#define CELL_RUN_PROGRAM_H

#include "codegen/codegen.h"
#include "frontend/frontend.h"
#include "runtime/safetensors.h"

typedef struct {
  const char *name; /* of the source, for messages */
  const char *text; /* need not outlive the call */
  size_t length;
  CellSpecOptions spec; /* the batch comes from the tensors, whatever the settings say */
  CellShapes shapes;
  CellBackend backend;
  CellEngineOptions engine;
  /* NULL, or where the reason goes why it ran on the CPU (engine.cpu_will_do); it lives as long as diag */
  const char **cpu_because;
  const char *program; /* "act", "update" or "sync" */
  const CellTensors *in;
  const char *in_name; /* for messages */
  uint64_t seed;       /* of parameters that `in` lacks */
  int64_t repeat;      /* the same as that many runs, each on the result of the one before */
  /* Names to be written, "grad/" for all that begin so; NULL: everything but act's <cell>/q. */
  const char *const *outputs;
  int output_count;
} CellRunProgram;

/* Adds the results to `out`: float64 from an interpreter, float32 from the CPU, indices as int32,
 * `step` as int64. false on errors, reported to diag; `out` is then of no use. */
bool cell_run_program(const CellRunProgram *options, CellTensorWriter *out, CellDiag *diag);

#endif
