/* SPDX-License-Identifier: MIT */
/* doctor: asks all that an update needs, from inside the service: engine, containers, registries, records, disks and clock.
 * It changes nothing and takes no lock. */
#pragma once

#include "task.h"

/* Each answer is an event {"event":"finding","subject":TEXT,"text":TEXT,"fix":TEXT}. fix is null if all is well, else
 * the command that mends it, "" if there is none. {"event":"asking","subject":TEXT} comes before what may take time, and
 * {"event":"done"} is the last one.
 * state_dir of task need not be locked, -1 if there is none. */
void doctor_run(const struct task *task);
