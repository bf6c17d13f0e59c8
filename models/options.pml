/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * options.pml - how it works: what a model is asked to do when nothing else is said; split.pml says what each means.
 */
#ifndef EVENT_IDX
#define EVENT_IDX 1
#endif
#ifndef ORDERLY
#define ORDERLY 0
#endif
#ifndef EAGER
#define EAGER 0
#endif
#ifndef FILLS
#define FILLS 0
#endif
#ifndef RESETS
#define RESETS 0
#endif
#ifndef RESUMES
#define RESUMES 0
#endif
#ifndef CHAINS
#define CHAINS 0
#endif
#ifndef TABLES
#define TABLES 0
#endif
#ifndef IN_ORDER
#define IN_ORDER 0
#endif
