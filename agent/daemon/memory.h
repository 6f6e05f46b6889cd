/* SPDX-License-Identifier: MIT */
/* memory: gives memory back before a long sleep. */
#pragma once

/* Gives the free heap and the pages of program text and constants back to the kernel. The pages are never written
 * to, so the kernel reads them from the file again: a few page faults a poll for less than half of the memory. */
void memory_trim(void);
