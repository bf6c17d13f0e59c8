/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * commands.h - the subcommands: each takes its own arguments (argv[0] is its name) and answers the exit status.
 */
#ifndef VIODMA_TOOLS_COMMANDS_H
#define VIODMA_TOOLS_COMMANDS_H

#define EXIT_FAILED 1 /* it could not be done */
#define EXIT_USAGE 2  /* the command line is not understood */

int viodma_serve_main(int argc, char **argv);
int viodma_drive_main(int argc, char **argv);
int viodma_demo_main(int argc, char **argv);
int viodma_bench_main(int argc, char **argv);
int viodma_check_main(int argc, char **argv);

#endif
