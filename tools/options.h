/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.h - command lines, read strictly: what every subcommand does with its words.
 *
 * Options are neither abbreviated nor repeated: what --io-entries means may change, and of two files one is forgotten.
 * Each message names the option, what it got and what was expected; each function that says one answers false.
 */
#ifndef VIODMA_TOOLS_OPTIONS_H
#define VIODMA_TOOLS_OPTIONS_H

#include <getopt.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_WRONG (-2) /* it was said */
#define OPTIONS_END (-1)
#define OPTIONS_FIRST 256 /* values of options begin here; at most 64 of them */

struct options {
	const char *command;        /* "viodma serve blk": begins every message */
	const struct option *known; /* ended by a NULL name */
	int repeatable;             /* value of the one that may be there more than once; 0: none */
	int argc;
	char **argv; /* from the command's own name on */
	uint64_t seen;
};

/* The next option's value, with its argument; OPTIONS_END: *rest is the index of the first word that is none. */
int options_next(struct options *options, const char **argument, int *rest);

__attribute__((format(printf, 2, 3))) bool options_wrong(const struct options *options, const char *format, ...);

/* `name` is the option, or the part of one, as messages have it. */
bool options_number(const struct options *options, const char *name, const char *text, uint32_t least, uint32_t most,
		    uint32_t *number);
/* For viodma_poller_init. */
bool options_poll_us(const struct options *options, const char *text, uint32_t *poll_us);
/* Decimal, or hexadecimal with 0x; K, M, G, T are powers of 1024. */
bool options_size(const struct options *options, const char *name, const char *text, uint64_t least, uint64_t most,
		  uint64_t *bytes);
bool options_path(const struct options *options, const char *name, const char *text, const char **path);
bool options_socket_path(const struct options *options, const char *name, const char *text, const char **path);
/* An open descriptor of a socket. */
bool options_socket_fd(const struct options *options, const char *text, int *fd);

#endif
