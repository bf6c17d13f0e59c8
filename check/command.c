/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * command.c - how it works: the command has a process group of its own. What its shell leaves behind becomes our child
 * (PR_SET_CHILD_SUBREAPER), so that the whole group can be waited for. One command at a time.
 */
#include "check/command.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define LOOKS 500u
#define LOOKS_AT_THE_END 25u
#define SHELL_SIGNALLED 128 /* a shell's exit status for what died of a signal */
#define LOOK_US 2000u

static const int deadly[] = {SIGHUP, SIGINT, SIGTERM};
static volatile pid_t running; /* for the handler */

static void take_along(int number)
{
	if (running > 0)
		kill(-running, SIGKILL);
	signal(number, SIG_DFL);
	raise(number);
}

static void on_signals(void (*handler)(int))
{
	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
		struct sigaction action = {.sa_handler = handler}, now;

		if (!sigaction(deadly[i], NULL, &now) && now.sa_handler != SIG_IGN)
			sigaction(deadly[i], &action, NULL);
	}
}

void check_command_start(struct check_command *command, const char *line)
{
	*command = (struct check_command){0};
	if (!line)
		return;
	(void)prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
	on_signals(take_along);
	command->pid = fork();
	if (command->pid == 0) {
		running = 0;
		on_signals(SIG_DFL);
		setpgid(0, 0);
		execl("/bin/sh", "sh", "-c", line, (char *)NULL);
		_exit(127);
	}
	if (command->pid > 0)
		setpgid(command->pid, command->pid);
	running = command->pid;
}

bool check_command_ended(struct check_command *command, char *text, size_t room)
{
	if (command->pid < 0) {
		snprintf(text, room, "no process can be started");
		return true;
	}
	if (!command->pid || (!command->ended && waitpid(command->pid, &command->status, WNOHANG) != command->pid))
		return false;
	command->ended = true;
	if (WIFSIGNALED(command->status))
		snprintf(text, room, "it ended by signal %d", WTERMSIG(command->status));
	else
		snprintf(text, room, "it ended with status %d", WEXITSTATUS(command->status));
	return true;
}

int check_command_died(struct check_command *command)
{
	char how[60];
	int status;

	for (unsigned i = 0; i < LOOKS_AT_THE_END && command->pid > 0 && !check_command_ended(command, how, sizeof(how)); i++)
		usleep(LOOK_US);
	if (!command->ended)
		return 0;
	status = WIFSIGNALED(command->status) ? 0 : WEXITSTATUS(command->status);
	return WIFSIGNALED(command->status) ? WTERMSIG(command->status) : status > SHELL_SIGNALLED ? status - SHELL_SIGNALLED : 0;
}

/* True: there are none of the group any more. */
static bool reap(pid_t group, int options)
{
	pid_t pid;

	while ((pid = waitpid(-group, NULL, options)) > 0 || (pid < 0 && errno == EINTR))
		;
	return pid < 0;
}

void check_command_end(struct check_command *command)
{
	const pid_t group = command->pid;
	bool none = false;

	if (group > 0) {
		kill(-group, SIGTERM);
		for (unsigned i = 0; i < LOOKS && !(none = reap(group, WNOHANG)); i++)
			usleep(LOOK_US);
		if (!none) {
			kill(-group, SIGKILL);
			reap(group, 0);
		}
	}
	running = 0;
	*command = (struct check_command){0};
}
