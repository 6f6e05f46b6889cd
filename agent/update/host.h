/* SPDX-License-Identifier: MIT */
/* host: what a start needs of the machine, looked at before anything is stopped: devices, sources of bind mounts,
 * networks and their addresses, the runtime, volumes of plug-ins, containers whose namespaces are shared. Not looked at,
 * since only the start itself tells: ports, AppArmor profiles, the cgroup parent, hooks of a runtime. What the engine
 * checks when it creates a container (cpuset, log driver, sources of HostConfig.Mounts) comes before the stop anyway. */
#pragma once

#include "pass.h"

/* Notes in the state what is missing, if anything. What cannot be learnt is not missing. */
act_fn host_check;
