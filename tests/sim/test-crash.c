/* SPDX-License-Identifier: MIT */
/* Faults at every change of the world and every call of the engine, on both sides of it, alone and in pairs:
 * afterwards one more pass brings everything to where it belongs. Prints how many trials there were. */
#include <stdio.h>

#include "sim.h"

static const struct sim_setup setups[] = {
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "no", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "on-failure", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS},
	{.policy = "no", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_WONT_START},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_WONT_START},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SICK},
	{.policy = "always", .old_nature = SIM_HEALTHY, .new_nature = SIM_HEALTHY},
	{.policy = "unless-stopped", .old_nature = SIM_HEALTHY, .new_nature = SIM_SICK},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_KILLS_HOST},
	{.policy = "unless-stopped", .old_nature = SIM_SERVES, .new_nature = SIM_KILLS_HOST},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_FINISHES},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_FAILS},
	{.policy = "on-failure", .old_nature = SIM_FINISHES, .new_nature = SIM_FINISHES},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_WONT_START},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_HEALTHY, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_WONT_START, .first = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .follower = true},
	{.policy = "no", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .follower = true},
	{.policy = "unless-stopped",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_FAILS,
	 .follower = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SICK, .follower = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_SERVES,
	 .follower = true,
	 .allergic = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .hooks = true},
	{.policy = "unless-stopped",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_UNFIT,
	 .hooks = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_UNFIT,
	 .follower = true,
	 .hooks = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .key = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_FAILS, .key = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_SERVES,
	 .first = true,
	 .key = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_SERVES,
	 .key = true,
	 .rollback = true},
	{.policy = "always", .old_nature = SIM_SERVES, .new_nature = SIM_SERVES, .rollback = true},
	{.policy = "no", .old_nature = SIM_FINISHES, .new_nature = SIM_FINISHES, .rollback = true},
	{.policy = "unless-stopped",
	 .old_nature = SIM_HEALTHY,
	 .new_nature = SIM_SICK,
	 .rollback = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_WONT_START,
	 .rollback = true},
	{.policy = "always",
	 .old_nature = SIM_SERVES,
	 .new_nature = SIM_SERVES,
	 .follower = true,
	 .rollback = true},
};

struct fault {
	unsigned int at;
	bool after;
	enum sim_fault kind;
};

static unsigned long trials, failures;

static bool is_good(const struct sim_setup *s)
{
	if (s->allergic)
		return false;
	switch (s->new_nature) {
	case SIM_SERVES:
	case SIM_FINISHES:
	case SIM_HEALTHY:
		return true;
	case SIM_FAILS:
	case SIM_WONT_START:
	case SIM_SICK:
	case SIM_UNFIT:
	case SIM_KILLS_HOST:
		return false;
	}
	return false;
}

static void complain(size_t setup, const struct fault *f, size_t n, const char *what)
{
	static const char *const kinds[] = {"crash", "power cut", "lost record", "engine error"};

	if (++failures > 20)
		return;
	printf("setup %zu (%s, nature %d)", setup, setups[setup].policy, setups[setup].new_nature);
	for (size_t i = 0; i < n; i++)
		printf(", %s %s %s %u", kinds[f[i].kind], f[i].after ? "after" : "before",
		       f[i].kind == SIM_ENGINE_ERROR ? "call" : "change", f[i].at);
	printf(": %s\n", what);
}

/* Passes until one ends by itself. A host that is taken down by the new image counts as no fault of
 * ours, so there may be several more of them. */
static bool pass_until_done(struct result *ret)
{
	for (int i = 0; i < 8; i++) {
		if (sim_pass(ret))
			return true;
	}
	return false;
}

/* What runs was signed last: whatever happened, also to the record, the version before never comes back, and what is known
 * asks for no signature. */
static const char *check_signed(const struct sim_setup *s)
{
	unsigned int asked = sim_asked_signatures();
	struct result result = {0};

	(void)sim_pass(&result);
	if (sim_asked_signatures() != asked)
		return "an idle pass asks for signatures";
	if (!is_good(s) || s->rollback)
		return NULL;
	sim_replay();
	(void)sim_pass(&result);
	if (result.outcome != OUTCOME_REFUSED || !strstr(result.reason, "signature: seq is below"))
		return "an old version that was put back is not refused";
	return sim_verify_end(true);
}

/* Faults one after the other, each in the pass after the one before; then one undisturbed. */
static void trial(size_t setup, const struct fault *f, size_t n)
{
	const struct sim_setup *s = &setups[setup];
	struct result result = {0};
	const char *wrong;
	bool lost = false, cut = false, done, current = is_good(s) != s->rollback;

	trials++;
	sim_reset(s);
	for (size_t i = 0; i < n; i++) {
		sim_plant(f[i].at, f[i].after, f[i].kind);
		(void)sim_pass(&result);
		lost |= sim_struck() && f[i].kind == SIM_LOSE_RECORD;
		cut |= sim_struck() && f[i].kind == SIM_POWER_CUT;
	}
	sim_plant(0, false, SIM_CRASH);
	done = pass_until_done(&result);
	wrong = sim_broken_promise();
	if (!done)
		wrong = "no pass came to its end";
	else if (strstr(result.reason, "no end after"))
		wrong = "a pass went round in circles";
	else if (!wrong && !lost)
		wrong = sim_verify_end(is_good(s));
	/* A lost record may cost the memory of a failed release: one of the two serves all the same. */
	if (!wrong && lost && !s->first && !sim_serves() && !(cut && streq(s->policy, "no")))
		wrong = "nothing serves after the record was lost";
	/* Nor is an image that may be torn taken for a bad one. */
	if (!wrong && lost && is_good(s) && !s->rollback)
		wrong = sim_verify_end(true);
	if (!wrong && done) {
		sim_plant(0, false, SIM_CRASH);
		/* The error of a rollback is forgotten once all is well. */
		if (s->rollback)
			(void)sim_pass(&result);
		(void)sim_saves();
		(void)sim_pass(&result);
		if (!lost && sim_saves() != 0)
			wrong = "an idle pass writes";
		else if (!lost && current && result.outcome != OUTCOME_UP_TO_DATE)
			wrong = "not up-to-date at the end";
		else if (!lost && !current && result.outcome != OUTCOME_REFUSED)
			wrong = "the bad digest was not refused";
	}
	if (!wrong && s->key)
		wrong = check_signed(s);
	if (wrong)
		complain(setup, f, n, wrong);
}

/* All faults of one pass with so many changes and calls. The caller frees. */
static struct fault *list_faults(unsigned int changes, unsigned int calls, size_t *ret_n)
{
	struct fault *list = xcalloc(changes * 6 + calls * 2 + 1, sizeof(*list));
	size_t n = 0;

	for (unsigned int i = 0; i < changes * 6; i++)
		list[n++] = (struct fault){i / 6 + 1, i % 2, (enum sim_fault)(i / 2 % 3)};
	for (unsigned int i = 0; i < calls * 2; i++)
		list[n++] = (struct fault){i / 2 + 1, i % 2, SIM_ENGINE_ERROR};
	*ret_n = n;
	return list;
}

/* step: every how many pairs one is tried. */
static void explore(size_t setup, unsigned int step)
{
	_cleanup_free_ struct fault *first = NULL, *second = NULL;
	unsigned int pick = (unsigned int)setup;
	struct result result = {0};
	size_t n_first, n_second;

	sim_reset(&setups[setup]);
	sim_plant(0, false, SIM_CRASH);
	(void)sim_pass(&result);
	first = list_faults(sim_changes(), sim_calls(), &n_first);
	second = list_faults(sim_changes() + 8, sim_calls() + 20, &n_second);
	trial(setup, NULL, 0);
	for (size_t i = 0; i < n_first; i++) {
		trial(setup, &first[i], 1);
		for (size_t j = 0; j < n_second; j++) {
			const struct fault f[] = {first[i], second[j]};

			if (++pick % step != 0)
				continue;
			/* Losing the record twice is losing every memory on purpose. */
			if (f[0].kind != SIM_LOSE_RECORD || f[1].kind != SIM_LOSE_RECORD)
				trial(setup, f, 2);
		}
	}
}

int main(int argc, char **argv)
{
	unsigned int step = argc > 1 && streq(argv[1], "--all") ? 1 : 997;

	for (size_t i = 0; i < ARRAY_SIZE(setups); i++)
		explore(i, step);
	printf("%zu setups, %lu trials, %lu failed\n", ARRAY_SIZE(setups), trials, failures);
	return failures ? 1 : 0;
}
