/* machine.h - what this machine can do, measured: the limits that generated code is compared with.
 *
 * The loops that measure are kernels, made by the code generator for the vectors that it would use. */
#ifndef CELL_MACHINE_H
#define CELL_MACHINE_H

#include "codegen/codegen.h"

typedef struct {
  double instructions; /* vector multiplications a second, all threads, operands in registers */
  double bytes;        /* a second, all threads: 64 MiB changed in place, read and written */
} CellMachine;

/* The best of several short runs, about a second in all. false: generated code cannot run here (no LLVM); the message says why. */
bool cell_machine_measure(CellIsa isa, int threads, CellMachine *machine, char *message,
                          size_t size);

/* Seconds that copying 64 MiB takes, at best. As above; -1 where it cannot run. */
double cell_machine_copy_seconds(CellIsa isa, int threads, char *message, size_t size);
enum { CELL_MACHINE_COPY_BYTES = 64 << 20 };

/* Fills costs->op: vector instructions of each op that the kernels of a plan use. They are counted in the
 * assembly of a loop that does one op and nothing else, so that they follow the code generator; loads,
 * stores and moves are not among them. On processors other than x86-64, what ops.def says. Compiles a few
 * milliseconds an op. */
bool cell_machine_costs(CellIsa isa, const CellPlan *plan, CellCosts *costs, char *message,
                        size_t size);

#endif
