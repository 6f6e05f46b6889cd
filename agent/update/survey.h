/* SPDX-License-Identifier: MIT */
/* survey: which containers of the engine no section of the configuration follows, and why one cannot be followed. */
#pragma once

#include "engine.h"
#include "task.h"

/* Sends {"event":"unfollowed","names":[NAME,...]}: those that are up, by the answer of engine_list(). */
void survey_tell_unfollowed(const struct task *task, const json_t *list);

/* The name of a container of that compose service: operators write the service's name, which compose does not give to its
 * container. "": there is none. */
void survey_find_service(struct engine *engine, const char *service, char *ret, size_t size);

/* Sends what survey_tell_unfollowed() sends, then for each container that is not followed
 *   {"event":"found","container":NAME,"image":REFERENCE,"state":STATE,"project":TEXT,"service":TEXT,
 *    "reason":TEXT or null,    it cannot be followed: a pass would refuse, defer or fail every time
 *    "doubt":TEXT or null}     it can, and perhaps should not
 * then {"event":"surveyed"}, with "error":TEXT if the engine does not tell. Changes nothing, and needs no lock. */
void survey_run(const struct task *task);
