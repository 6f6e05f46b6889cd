/* SPDX-License-Identifier: MIT */
/* recreate-driver: one recreate input on stdin, the plan or the refusal on stdout, for
 * tests/engine/test_recreate.py.
 *
 *	{"container":..,"old_image":..,"new_image":..,"names":{..},"image":"..","target":"..",
 *	 "host_name":"..","api_minor":41}	or	{"first":..,"image":"..","target":"..","api_minor":41}
 *	-> {"body":..,"connect":[..],"policy":"..","references":[..]}	or	{"refused":".."} */
#include "json.h"
#include "podman.h"
#include "recreate.h"

#include <stdio.h>

int main(void)
{
	json_error_t where;
	_cleanup_json_ json_t *in = json_loadf(stdin, 0, &where), *out = NULL;
	struct recreate_plan plan;
	struct error e;
	int r;

	if (!in) {
		fprintf(stderr, "%s at line %d\n", where.text, where.line);
		return 2;
	}
	struct recreate_input input = {
		.first = json_object_get(in, "first"),
		.container = json_object_get(in, "container"),
		.old_image = json_object_get(in, "old_image"),
		.new_image = json_object_get(in, "new_image"),
		.image = json_get_string(in, "image"),
		.target = json_get_string(in, "target"),
		.host_name = json_get_string(in, "host_name"),
		.api_minor = (int)json_integer_value(json_object_get(in, "api_minor")),
		.names = json_object_get(in, "names"),
	};

	if (json_is_true(json_object_get(in, "podman")))
		podman_mend_config(json_object_get(in, "container"), input.old_image);
	r = recreate_spec(&input, &plan, &e);
	if (r < 0) {
		out = json_pack("{s:s}", "refused", e.text);
	} else {
		out = json_pack("{s:O,s:O,s:s,s:o}", "body", plan.body, "connect", plan.connect,
				"policy", plan.policy, "references",
				recreate_references(input.container));
		recreate_plan_free(&plan);
	}
	if (!out || json_dumpf(out, stdout, JSON_SORT_KEYS | JSON_INDENT(1)) < 0)
		return 1;
	return putchar('\n') == EOF;
}
