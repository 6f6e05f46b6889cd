/* SPDX-License-Identifier: MIT */
/* memory: what a resident process can give back before a long sleep. */
#pragma once

/* Gives the free heap and the pages of program text and constants back to the kernel. They are never
 * written to, so what is needed again comes back from the file, a few page faults a poll. What
 * stays is less than half: the rest is start-up code of libraries. */
void memory_trim(void);
