/* SPDX-License-Identifier: MIT */
#pragma once

/* Gives the free heap and the pages of program text and constants back to the kernel, which reads them from the file
 * again: a few page faults a poll for more than half of the memory. */
void memory_give_back(void);
