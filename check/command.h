/* SPDX-License-Identifier: BSD-3-Clause */
/* command.h - the device as a command: run before a connection, ended after it, with all that it started. */
#ifndef VIODMA_CHECK_COMMAND_H
#define VIODMA_CHECK_COMMAND_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct check_command {
	pid_t pid; /* and process group; 0: none */
	bool ended;
	int status; /* then: as waitpid has it */
};

/* "sh -c". NULL: nothing is started. Until it is ended, a signal that ends us ends it, too. */
void check_command_start(struct check_command *command, const char *line);
/* Has its shell ended by itself? Then text says how: "it ended with status 127". */
bool check_command_ended(struct check_command *command, char *text, size_t room);
/* The signal that it dies of by itself, within a moment after its connection has ended; 0: none. */
int check_command_died(struct check_command *command);
/* SIGTERM; after a second, SIGKILL. Nothing of its process group is left. */
void check_command_end(struct check_command *command);

#endif
