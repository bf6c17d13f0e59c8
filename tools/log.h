/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * log.h - one line per event on standard error: "viodma: DEVICE: event".
 *
 * Thread: any; a line is one write, so lines of several threads do not mix.
 */
#ifndef VIODMA_TOOLS_LOG_H
#define VIODMA_TOOLS_LOG_H

/* A line that begins with "viodma: DEVICE: " already, as the library's do. */
void log_whole_line(const char *line);

/* device: its name, or NULL for the program itself. Control characters in the line become '?'. */
void log_line(const char *device, const char *line);

__attribute__((format(printf, 2, 3))) void log_event(const char *device, const char *format, ...);

#endif
