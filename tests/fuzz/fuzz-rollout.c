/* SPDX-License-Identifier: MIT */
#include "rollout.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n);

/* Whatever is taken for a policy must hold together: the turn of a position is when the share passes it. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const uint32_t positions[] = {0, 1, 99999, 500000, COHORT_ALL - 1};
	static const char *const rings[] = {NULL, "canary"};
	struct error e;

	for (size_t i = 0; i < ARRAY_SIZE(rings) * ARRAY_SIZE(positions); i++) {
		struct rollout_device d = {.version = "0.1.0",
					   .position = positions[i / ARRAY_SIZE(rings)],
					   .now_s = 1796126400};
		struct rollout r;
		int64_t turn;
		char why[200];

		if (rollout_parse((const char *)data, n, rings[i % ARRAY_SIZE(rings)], &r, &e) < 0)
			return 0;
		turn = rollout_turn(&r, d.position);
		if (r.n_points < 1 || r.n_points > ROLLOUT_POINTS_MAX || r.sequence < 1 ||
		    !digest_is_set(&r.target))
			abort();
		if (turn != ROLLOUT_NEVER && rollout_share(&r, turn) <= d.position)
			abort();
		if (turn != ROLLOUT_NEVER && turn > 0 && rollout_share(&r, turn - 1) > d.position)
			abort();
		d.digest = r.target;
		if (rollout_admits(&r, &d, why, sizeof(why)) && (r.halt || turn > d.now_s))
			abort();
	}
	return 0;
}
