/* runtime.h - the runtime layer: environments, replay, training, runs. All of it in one include.
 *
 *   env.h         environments (minatar.h: five games; classic.h: three tasks of classic control;
 *                 dmc.h: fourteen of the control suite; scene.h: what an environment looks like)
 *   random.h      draws as functions of (seed, stream, step, index)
 *   init.h        initial values of parameters
 *   network.h     a .cell file compiled for an environment's shapes
 *   agent.h       what the trainer sees of it: tensors by name, programs to run
 *   replay.h      transitions, contexts by index, batches written into an engine's tensors
 *   trainer.h     the loop: act, step, remember, learn
 *   training.h    one run from start to end: saves, metrics, progress, stopping
 *   run_folder.h  what a run leaves behind, and reading it again
 *   policy.h      the policy that a run saved last
 *   play.h        a frozen policy that plays, step by step
 *   evaluate.h    how good a frozen policy is
 *   plot.h        curves by gnuplot
 *   draw.h        what an environment looks like (picture.h: pixels, PNG, text; gif.h: animations)
 *   bench.h       how long programs take
 *   files.h, json.h, safetensors.h   whole files, lines of JSON, named tensors
 *
 * A training run in ten lines:
 *
 *   CellNetworkOptions o = {.name = "arq.cell", .text = text, .length = length, .envs = 1,
 *                           .learn = true, .backend = CELL_BACKEND_CPU,
 *                           .shapes = cell_env_shapes(env)};
 *   CellNetwork *network = cell_network_open(&o, diag);
 *   const CellTrain *train = cell_spec_train(network->spec);
 *   cell_network_init(network, seed, train->init_shared);
 *   CellTrainerOptions t = {.train = *train, .seed = seed, .env = env, .agent = &network->agent};
 *   CellTrainer *trainer = cell_trainer_create(&t, diag);
 *   while (trainer->step < train->steps &&
 *          cell_trainer_step(trainer, diag) == CELL_TRAIN_OK) {}
 *
 * Observations are in the environment's own form: bits in 32-bit words, low bit first, or floats.
 * Steps are environment steps, seconds are of a monotonic clock, sizes are in bytes. Functions that
 * can fail return false or NULL and report to a CellDiag; who creates something destroys it. */
#ifndef CELL_RUNTIME_H
#define CELL_RUNTIME_H

#include "runtime/agent.h"
#include "runtime/bench.h"
#include "runtime/classic.h"
#include "runtime/dmc.h"
#include "runtime/dmc_trace.h"
#include "runtime/draw.h"
#include "runtime/env.h"
#include "runtime/evaluate.h"
#include "runtime/files.h"
#include "runtime/gif.h"
#include "runtime/init.h"
#include "runtime/json.h"
#include "runtime/minatar.h"
#include "runtime/network.h"
#include "runtime/play.h"
#include "runtime/plot.h"
#include "runtime/policy.h"
#include "runtime/progress.h"
#include "runtime/random.h"
#include "runtime/replay.h"
#include "runtime/run_folder.h"
#include "runtime/safetensors.h"
#include "runtime/trainer.h"
#include "runtime/training.h"

#endif
