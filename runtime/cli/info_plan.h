/* info_plan.h - what `cellc info` says of the plan: each kernel with the reason for it, and what the
 * rewrites save. */
#ifndef CELL_INFO_PLAN_H
#define CELL_INFO_PLAN_H

#include "runtime/json.h"
#include "runtime/network.h"

/* Kernels of the program update, in the order of their first launch: how often each is launched, the
 * work of all its launches, and which results of which kernels it has to wait for. To stdout, or as an
 * array. The network has a plan. */
void cell_info_print_kernels(const CellNetwork *network);
json_t *cell_info_kernels(const CellNetwork *network);

/* What an update would take more if one rewrite were left out, for each of them: the network is planned
 * again once a rewrite. Those that change nothing are left out. As above. */
void cell_info_print_rewrites(const CellNetworkOptions *options);
json_t *cell_info_rewrites(const CellNetworkOptions *options);

#endif
