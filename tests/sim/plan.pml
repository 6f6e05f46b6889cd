/* SPDX-License-Identifier: MIT */
/* plan.pml: the table of agent/update/plan-*.c as a model for spin, which tries every order of events.
 *
 * The table itself is not here: check_plan.py asks the code for it (plan-rows) and makes plan_next_...() and
 * take_step() of it, each condition and each action called as the table calls it, with _ for every character
 * that is no letter. This file says what those names mean, what a pass does around the table (pass.c), what
 * dockerd does, and what must never happen. A row whose names are not defined here is an error; so is a name
 * that no row uses. That the conditions mean here what they mean there is checked too: in every state that spin
 * finds, the step chosen is the one that the real plan_next() chooses, and after every decision the record is
 * what the real plan_decide() and plan_recover() make of it (plan-agree.c).
 *
 * One container, or one and a follower in its network; an old image and a new one. Before every change of the
 * world, as often as FAULTS says: the agent dies, power is cut, the engine dies, agent and record are lost; as
 * often as HANDS says an operator does something, or what is checked of a candidate is refused. What a pass
 * learns about the candidate is chosen freely: the registry answers or not, the policy admits or not, and so on,
 * with one obstacle of the configuration at most. Times, error texts, manifests, a damaged store and the network
 * are not in it. Nothing happens between a look and the action that follows. The record is lost once at most, and
 * not in a run in which an operator acts. With an operator, followers aside, the model checks only that the pass
 * ends and that it agrees with the code. A release that dies now and then (FLAKY) has no follower: a follower
 * whose container died while the agent was dead, too, does not join the namespace again. */

#define IDLE	0
#define PREPARE 1
#define TRIAL	2
#define COMMIT	3
#define REVERT	4

/* of a container */
#define CREATED	   0
#define RUNNING	   1
#define RESTARTING 2
#define PAUSED	   3
#define EXITED	   4
#define GONE	   5

/* its name */
#define MAIN 0
#define NEXT 1
#define PREV 2

/* its restart policy */
#define NO	       0
#define ALWAYS	       1
#define UNLESS_STOPPED 2
#define ON_FAILURE     3

/* images, and what a release is like */
#define OLD   0
#define NEW   1
#define NONE  2
#define OLDER 3

#define SERVES	   0 /* stays up */
#define FINISHES   1 /* a one-shot: exits 0 */
#define FAILS	   2 /* exits 1 at once */
#define WONT_START 3 /* the engine cannot start it */
#define SICK	   4 /* its health check fails */
#define KILLS_HOST 5 /* takes the machine down whenever it starts */
#define LOOPS	   6 /* comes up and falls down */
#define FLAKY	   7 /* now this, now that */
#define UNFIT	   8 /* health-unit says no */

/* one of the configuration, or of the command, in the way of an update */
#define HELD	 1
#define ONLY_CHECK 2
#define YOUNG	 3
#define DOWNLOAD_SHUT 4
#define WINDOW_SHUT 5
#define BUSY	     6 /* before-unit says no, */
#define BUSY_GO_ON   7 /* which counts once, */
#define BUSY_GIVE_UP 8 /* or once and for all */
#define is_busy	     (obstacle >= BUSY)
/* The operator's units, for a part of the setups: each question costs states. */
#define has_units    (own_policy == ALWAYS)
/* A key is set for another part. */
#define has_keys     (own_policy == ON_FAILURE)

#define PENDING 0
#define GOOD	1
#define BAD	2

#define STARTS_MAX 3

typedef Box { /* a container */
	unsigned state : 3;
	unsigned slot : 2;
	unsigned policy : 2;
	unsigned image : 1;
	bit ours;    /* has our labels */
	bit by_hand; /* docker stop */
	bit ok;	     /* exited 0 */
	bit joined;  /* a follower in the network that its host has in this life */
	unsigned host : 3;
};

/* 0 to 2 are the container's, 3 to 5 its follower's; NOBODY is never there. */
#define NOBODY 6
Box box[7];
#define exists(b)    (box[b].state != GONE)
#define is_up(b)     (box[b].state == RUNNING || box[b].state == RESTARTING || box[b].state == PAUSED)
#define is_at(b, s)  (exists(b) && box[b].slot == s)

/* the engine's images */
bit new_here, new_torn, new_on_disk, older_here;
bit litter; /* torn layers of it, which a pull takes for whole */
unsigned tag : 2;
unsigned kept : 2;

/* the setup */
unsigned own_policy : 2;
byte nature_of[2];
bit first;    /* no container yet: made from a file */
bit follows;  /* another shares its network, */
bit allergic; /* and does not start in the new one's */
bit back;     /* the new image is the version before, and an operator orders it back */

/* the record */
bit lost; /* there is none */
unsigned phase : 3;
unsigned target : 2;
unsigned current : 2;
unsigned previous : 2;
bit target_brought, current_brought, previous_brought;
bit synced, same_boot, rollback, reject_target;
bit doubted; /* its boot id is empty: something of another boot may lie about */
unsigned starts : 2;
bit followed; /* has a follower */
bit put_off; /* by before-unit */
bit noted; /* that the candidate is signed */
byte old_id[2], new_id[2];
byte policy_of[2];
bit serving[2];
bit rejected[2];

/* the memory of a pass */
bit created[2], started_new[2], started_old[2];
byte created_from[2];
bit restart_due; /* its new one exited, and its final policy starts it again */
bit fetched, untrusted, dropped, counted, drop_tried, older_tried;
/* what it has learnt about the candidate */
bit op_back; /* it is for a rollback */
unsigned obstacle : 4;
bit spec_known, asked, no_answer, policy_known, halted, stale, followers_known, checked, verified, image_known,
	image_present, details, space_known, no_space, refusal;
/* and of the operator's units */
bit before_asked, put_off_written, health_asked, after_asked;
unsigned seen : 2; /* of the one on trial, by waiting */
unsigned verdict : 2;

/* one look */
byte old_one[2], new_one[2];
byte another;
/* one decision */
byte step, p, f, was_tag;
#define NO_STEP 255

/* the trial's conditions */
byte faults, hands;
bit ordered, moved, ended; /* the rollback was; the world was; the pass has */
byte blow;	  /* what ended a pass */
bit deferred, refused, changed, failed;
/* What was, for the promises. */
bit given_up, won, lost_ever, cut_ever, touched, excused, down;
unsigned sentence : 2; /* the verdict that is written: GOOD, BAD */
unsigned tries : 2, real_starts : 3;

/* Promises: always 0. */
bit two_run, nothing_startable, nothing_serves, started_uncounted, too_many_starts, verdict_changed,
	rejected_tried_again, torn_on_trial, work_while_down, cut_off, left_over, wrong_policy, wrong_release,
	wrong_tag, not_kept, engine_refused, not_finished, image_left, window_missed,
	stale_on_trial, obstructed, not_let, not_counted, not_told, begun_blindly, begun_in_spite, not_admitted, half_made, current_unknown, worked_on,
	head_differs, record_differs;

hidden byte mutant; /* which mistake is in the table; 0: none */
c_code { \#include "plan-agree.c" };

#define O old_one[p]
#define N new_one[p]

/* The conditions. */

#define never	       false
#define way_is_free    (!exists(another))
#define is_replaced    is_up(another)
#define is_superseded  (is_replaced && p == 0 && is_at(O, PREV))
#define target_is_here (target == NEW && new_here)
#define old_is_target  (exists(O) && box[O].image == NEW && target_is_here)
#define is_lost(gone)  (p > 0 && (gone))
#define left_alone(b)                                                                                         \
	(exists(b) && (box[b].state == PAUSED || box[b].state == CREATED ||                                    \
		       (box[b].state == EXITED && (box[b].policy == ALWAYS || box[b].policy == UNLESS_STOPPED))))
#define is_restarted(b, policy)                                                                               \
	(box[b].state == EXITED && !box[b].by_hand && started_new[0] && (counted || starts < STARTS_MAX) &&    \
	 ((policy) == ALWAYS || (policy) == UNLESS_STOPPED || ((policy) == ON_FAILURE && !box[b].ok)))
#define is_finished(b, policy)                                                                                \
	(box[b].state == EXITED && box[b].ok && ((policy) == NO || (policy) == ON_FAILURE))

/* The tag is on the new image, or stays on what is rolled back. */
#define answer	    (back -> OLD : NEW)
#define is_answered (asked && !no_answer)
#define is_rollback (op_back || (phase == PREPARE && rollback))
#define runs_answer (is_answered && exists(old_one[0]) && box[old_one[0]].image == answer)
#define is_possible (exists(old_one[0]) || first || !spec_known)
#define is_of_last_update (current < NONE && exists(old_one[0]) && box[old_one[0]].image == current)
#define previous_is_rejected (previous < NONE && rejected[previous])
#define is_present  (phase == PREPARE -> target_is_here : image_present)

#define a_final_refusal_is_written_down true
#define what_is_prepared_is_still_wanted                                                                      \
	(phase != PREPARE || (!refusal && way_is_free &&                                                       \
			      (is_rollback -> rollback && previous != NONE && !previous_is_rejected &&         \
						      is_of_last_update && target_is_here :                    \
					      is_possible && (!is_answered || (target == answer &&             \
									       !runs_answer &&                 \
									       !rejected[answer])))))
#define nothing_was_refused	    (!refusal)
#define a_saved_spec_was_looked_for spec_known
#define there_is_a_container__or_one_can_be_made is_possible
#define the_container_is_not_held   (obstacle != HELD)
#define nothing_of_an_update_is_left (phase != IDLE || !exists(new_one[0]) || obstacle == ONLY_CHECK)
#define the_registry_was_asked	    asked
#define the_clock_is_set__or_not_needed true
#define the_registry_answered__or_is_not_needed                                                               \
	(is_answered || (phase == PREPARE && synced && target_is_here && obstacle != ONLY_CHECK))
#define the_version_that_runs_is_written_down                                                                 \
	(!is_answered || !exists(old_one[0]) ||                                                                \
	 (current != NONE && (current == answer || box[old_one[0]].image != answer)))
#define more_than_a_check_was_asked_for	    (obstacle != ONLY_CHECK)
#define old_was_started_once_more	    true
#define nothing_prevents_the_repair	    true
#define the_current_version_is_verified	    true
#define the_registry_has_the_current_version true
#define old_s_spec_is_saved		    true
#define old_runs__or_the_candidate_may_mend_it                                                                \
	(!exists(old_one[0]) || box[old_one[0]].state != CREATED || (phase == PREPARE && exists(new_one[0])))
#define what_runs_is_signed__or_was_asked_for true
#define its_renewal_is_written_down	    true
#define the_candidate_is_new		    (!runs_answer)
#define its_rejection_is_written_down	    true
#define others_let_it_be_updated	    true
#define the_candidate_is_not_rejected	    (!is_answered || !rejected[answer])
#define the_engine_s_store_can_keep_it	    true
#define no_operator_stopped_old		    (!left_alone(old_one[0]) || (phase == PREPARE && exists(new_one[0])))
#define the_candidate_s_age_is_known	    true
#define the_candidate_is_old_enough	    (!is_answered || obstacle != YOUNG)
#define the_policy_was_asked		    (!is_answered || policy_known)
#define the_policy_s_sequence_is_written_down true
#define the_policy_admits_the_candidate	    (!is_answered || !halted)
#define the_followers_are_known		    followers_known
#define its_successor_can_be_made	    checked
#define the_floor_of_its_sequence_is_known  true
#define the_floor_is_written_down	    true
#define the_candidate_is_verified	    verified
#define its_signature_is_written_down	    (!has_keys || !verified || noted)
#define its_image_was_looked_for	    (phase == PREPARE || image_known)
#define its_image_is_here		    is_present
#define its_image_is_here__or_may_be_downloaded_now (is_present || obstacle != DOWNLOAD_SHUT)
#define its_details_are_known                                                                                 \
	(details || !is_answered || (phase == PREPARE && synced && target_is_here))
#define no_credentials_go_to_a_foreign_token_server true
#define the_disk_space_is_known		    space_known
#define there_is_disk_space		    (!no_space)
#define a_check_has_looked_at_the_host	    true
#define the_update_is_prepared		    (phase == PREPARE)
#define there_is_a_previous_version	    (previous != NONE)
#define the_previous_version_is_not_rejected (!previous_is_rejected)
#define the_container_is_of_the_last_update is_of_last_update

#define no_other_container_is_in_the_way                                                                      \
	(way_is_free || (phase == REVERT && (!exists(O) || is_replaced)))
#define the_image_is_complete                                                                                 \
	(!target_is_here || synced || !target_brought || drop_tried || (fetched -> !untrusted : same_boot))
#define a_fetch_is_written_down                                                                               \
	(target_is_here || (!synced && (same_boot || !dropped)))
#define the_download_goes_on true
#define the_image_is_here_and_synced (target_is_here && (synced || fetched))
#define that_is_written_down	     (synced)
#define NAME_next_is_of_this_pass_and_this_old                                                                \
	(!exists(N) || (created[p] && created_from[p] == O && !left_alone(old_one[0])))
#define the_policy_was_asked_within_a_minute (!is_answered || !stale)
#define the_window_is_open (rollback || obstacle != WINDOW_SHUT)
#define the_host_was_looked_at true
#define the_host_has_what_a_start_needs true
#define before_unit_was_asked__or_need_not_be                                                                 \
	(!has_units || before_asked || rollback || !is_up(old_one[0]) || (obstacle == BUSY_GO_ON && put_off))
#define its_deferral_is_written_down (!before_asked || !is_busy || put_off_written)
#define before_unit_lets_it_go_on    (!before_asked || !is_busy)
#define health_unit_was_asked__if_it_is_good (!has_units || verdict != GOOD || health_asked)
#define after_unit_was_asked	     (!has_units || after_asked)
#define NAME_next_exists	     new_exists
#define the_local_tag_is_where_it_was                                                                         \
	(!target_brought || !target_is_here || tag != NEW || old_is_target || (!exists(O) && exists(N)) ||     \
	 is_replaced)
#define no_other_container_took_its_name   way_is_free
#define new_exists		    (exists(N) || is_lost(!exists(O)))
#define old_has_restart_policy_no   (!exists(O) || box[O].policy == NO)
#define old_is_not_restarting  (box[O].state != RESTARTING)
#define old_is_named_NAME_prev	    (!exists(O) || box[O].slot == PREV)
#define new_is_named_NAME	    ((p == 0 && !way_is_free) || is_lost(!exists(N)) || is_at(N, MAIN))
#define new_ran                                                                                               \
	(is_up(N) || (started_new[p] && !(p == 0 && restart_due)) || is_lost(!exists(N) || !serving[p]) || is_finished(N, policy_of[p]))
#define new_ran__or_a_start_is_left	(new_ran || counted || starts < STARTS_MAX)
#define new_ran__or_its_start_is_counted (new_ran || counted)
#define old_is_stopped			(!is_up(O))
#define the_verdict_is_known		(verdict != PENDING)
#define the_verdict_is_good		(verdict == GOOD)
#define new_has_its_final_restart_policy (is_lost(!exists(N)) || (exists(N) && box[N].policy == policy_of[p]))
#define the_old_image_is_kept_under_our_tag                                                                   \
	(!exists(O) || (exists(N) && box[O].image == box[N].image) || kept == box[O].image)
#define the_local_tag_is_on_the_new_image (exists(N) && tag == box[N].image)
#define old_is_gone			  (!exists(O))
#define the_image_before_that_is_gone	  (!(older_here && previous == OLDER && previous_brought) || older_tried)
#define there_is_a_way_back		  (exists(O) || old_id[0] == NOBODY || !exists(N) || !way_is_free)
#define new_has_restart_policy_no	  (!exists(N) || box[N].policy == NO)
#define new_is_stopped			  (!is_up(N))
#define old_is_stopped_if_another_took_its_place (!is_superseded || !is_up(O))
#define old_has_its_own_restart_policy                                                                        \
	(!exists(O) || box[O].policy == policy_of[p] || is_superseded)
#define old_serves_again                                                                                      \
	(!exists(O) || !serving[p] || is_up(O) || started_old[p] || is_replaced)
#define was_started(b) (exists(b) && box[b].state != CREATED)
#define names_can_wait                                                                                         \
	(old_serves_again || !(was_started(new_one[0]) || was_started(N)))
#define old_s_name_is_free__if_it_can_be                                                                      \
	(names_can_wait || !exists(N) || box[N].slot != MAIN || box[N].state == RESTARTING)
#define old_has_its_name__if_that_is_free                                                                     \
	(names_can_wait || box[O].slot == MAIN || !way_is_free || is_at(N, MAIN))
#define new_is_gone			      (!exists(N))
#define old_is_gone_if_another_took_its_place (!is_superseded)
#define old_is_named_NAME		      (!exists(O) || box[O].slot == MAIN || (p == 0 && is_replaced))
#define the_host_was_not_to_blame true
#define target_s_image_is_gone                                                                                \
	(!target_brought || !target_is_here || drop_tried || old_is_target || target == previous)

/* One walk through the table: check_plan.py generates each row as ONE(condition, action) and so on, within the if of its block. */

#define in_ask	    (phase <= PREPARE && !is_rollback)
#define in_repair   false /* the engine's store is never damaged here */
#define in_take	    in_ask
#define in_rollback (phase <= PREPARE && is_rollback)
#define in_prepare  (phase == PREPARE)
#define in_trial    (phase == TRIAL)
#define in_commit   (phase == COMMIT)
#define in_revert   (phase == REVERT)

#define parties (1 + followed)
#define AT(who, unless, action)                                                                         \
	if                                                                                                    \
	:: step == NO_STEP && who < parties ->                                                  \
		p = who;                                                                                      \
		if                                                                                            \
		:: !(unless) -> step = action                                                                 \
		:: else                                                                                       \
		fi                                                                                            \
	:: else                                                                                               \
	fi;
#define ONE(unless, action)	      AT(0, unless, action)
#define EACH(unless, action)      AT(0, unless, action) AT(1, unless, action)
#define EACH_BACK(unless, action) AT(1, unless, action) AT(0, unless, action)
/* Mistakes that are not in the table but beside it. */
#define MISTAKE(name) (mutant == name)

#include "plan-rows.pml"

/* What dockerd does. */

/* A container without a life of its own ends with its host's; one that joined stays with the dead one. */
#define host_is_up(b) (b < 3 || is_up(box[b].host))
#define is_whole(b)   (b >= 3 || box[b].image == OLD || !new_torn)
#define can_run(b)                                                                                            \
	(is_whole(b) && host_is_up(b) &&                                                                       \
	 (b < 3 -> nature_of[box[b].image] != WONT_START : !(allergic && box[box[b].host].image == NEW)))

inline forsake(b) /* whoever is in b's network when that is made anew */
{
	if
	:: box[3].host == b -> box[3].joined = 0
	:: else
	fi;
	if
	:: box[4].host == b -> box[4].joined = 0
	:: else
	fi;
	if
	:: box[5].host == b -> box[5].joined = 0
	:: else
	fi
}

inline bring_up(b)
{
	box[b].joined = 1;
	if
	:: b >= 3 -> box[b].state = RUNNING
	:: b < 3 ->
		forsake(b);
		if
		:: nature_of[box[b].image] == FINISHES -> box[b].state = EXITED; box[b].ok = 1
		:: nature_of[box[b].image] == FAILS -> box[b].state = EXITED; box[b].ok = 0
		:: nature_of[box[b].image] == LOOPS ->
			box[b].ok = 0;
			box[b].state = (box[b].policy == NO -> EXITED : RESTARTING)
		:: else -> box[b].state = RUNNING
		fi
	fi
}

inline boot_one(b)
{
	if
	:: exists(b) && box[b].state != CREATED ->
		if
		:: is_up(b) ->
			excused = excused || (box[b].policy == NO && (phase == IDLE || phase == PREPARE));
			box[b].state = EXITED;
			box[b].ok = 0;
			if
			:: box[b].policy == ON_FAILURE && can_run(b) -> bring_up(b)
			:: else
			fi
		:: else
		fi;
		if
		:: !is_up(b) && can_run(b) &&
		   (box[b].policy == ALWAYS || (box[b].policy == UNLESS_STOPPED && !box[b].by_hand)) ->
			started_uncounted = started_uncounted ||
					    (phase == TRIAL && !lost && b < 3 && b == new_id[0]);
			bring_up(b)
		:: else
		fi
	:: else
	fi
}

/* The engine stops and comes again: what its restart policies bring back comes back. */
inline engine_dies()
{
	cut_ever = 1;
	boot_one(0); boot_one(1); boot_one(2); boot_one(3); boot_one(4); boot_one(5)
}

inline power_cut()
{
	new_torn = new_torn || (new_here && !new_on_disk);
	litter = litter || (phase == PREPARE && target == NEW && !synced && !new_here);
	same_boot = 0;
	engine_dies()
}

#define CRASH  1
#define CUT    2
#define ENGINE 3
#define LOSE   4

#define has_name(first_box, s)                                                                                \
	(is_at(first_box, s) || is_at(first_box + 1, s) || is_at(first_box + 2, s))
#define free_box(first_box)                                                                                   \
	(!exists(first_box) -> first_box : (!exists(first_box + 1) -> first_box + 1 : first_box + 2))
#define at_name(first_box, s)                                                                                 \
	(is_at(first_box, s) -> first_box :                                                                    \
	 (is_at(first_box + 1, s) -> first_box + 1 : (is_at(first_box + 2, s) -> first_box + 2 : NOBODY)))

/* Between two lives no container is renamed. On the way to the trial the table sees to that; on the way back
 * the pass waits for the moment (pass.c, settle). */
inline rename_to(b, s)
{
	if
	:: exists(b) && !(box[b].state == RESTARTING && phase == TRIAL) && !has_name(3 * p, s) -> box[b].slot = s
	:: else -> failed = 1; engine_refused = !touched
	fi
}

inline stop(b)
{
	cut_off = cut_off || (p == 0 && !touched &&
			      ((is_up(3) && box[3].host == b && box[3].joined) ||
			       (is_up(4) && box[4].host == b && box[4].joined) ||
			       (is_up(5) && box[5].host == b && box[5].joined)));
	box[b].state = EXITED;
	box[b].by_hand = 1;
	box[b].ok = 1
}

inline remove(b)
{
	if
	:: is_up(b) || !exists(b) -> failed = 1; engine_refused = !touched
	:: else -> clear_box(b)
	fi
}

inline clear_box(b)
{
	box[b].state = GONE; box[b].slot = 0; box[b].policy = 0; box[b].image = 0; box[b].ours = 0;
	box[b].by_hand = 0; box[b].ok = 0; box[b].joined = 0; box[b].host = 0
}

inline make(b, s, pol, img, label)
{
	clear_box(b);
	box[b].state = CREATED; box[b].slot = s; box[b].policy = pol; box[b].image = img; box[b].ours = label
}

inline drop_new_image()
{
	if
	:: new_here && !(exists(0) && box[0].image == NEW) && !(exists(1) && box[1].image == NEW) &&
	   !(exists(2) && box[2].image == NEW) ->
		new_here = 0; new_torn = 0; new_on_disk = 0; litter = 0;
		tag = (tag == NEW -> NONE : tag);
		kept = (kept == NEW -> NONE : kept)
	:: else
	fi
}

/* Anything may happen here. */
inline hazard()
{
	if
	:: true
	:: faults > 0 ->
		faults--;
		if
		:: blow = CRASH
		:: blow = CUT
		:: blow = ENGINE
		:: !lost_ever && !touched -> blow = LOSE
		fi;
		d_step { forget() };
		goto dead
	fi
}

/* An operator comes by. */
inline hand()
{
	touched = 1;
	hands--;
	if
	:: is_up(at_name(0, MAIN)) ->
		d_step { printf("an operator stops NAME\n"); p = at_name(0, MAIN);
			 box[p].state = EXITED; box[p].by_hand = 1; box[p].ok = 1 }
	:: exists(at_name(0, MAIN)) -> d_step { printf("an operator removes NAME\n"); p = at_name(0, MAIN); clear_box(p) }
	:: exists(at_name(0, NEXT)) -> d_step { printf("an operator removes NAME.next\n"); p = at_name(0, NEXT); clear_box(p) }
	:: exists(at_name(0, PREV)) -> d_step { printf("an operator removes NAME.prev\n"); p = at_name(0, PREV); clear_box(p) }
	:: !has_name(0, MAIN) && !exists(free_box(0)) ->
		d_step { printf("an operator runs another NAME\n"); p = free_box(0);
			 make(p, MAIN, own_policy, OLD, 0); bring_up(p) }
	:: !has_name(0, MAIN) && !exists(free_box(0)) ->
		d_step { printf("an operator creates another NAME\n"); p = free_box(0);
			 make(p, MAIN, own_policy, OLD, 0) }
	:: !has_name(0, PREV) && !exists(free_box(0)) ->
		d_step { printf("an operator creates NAME.prev\n"); p = free_box(0);
			 make(p, PREV, own_policy, OLD, 0) }
	fi;
	p = 0
}

inline who()
{
	if
	:: p == 0 -> printf("\n")
	:: else -> printf(", of the follower\n")
	fi
}

/* The actions on the engine, each as the table calls it. */

inline up_to_date() { current_unknown = (current != answer) }
inline defer() { d_step { deferred = 1; not_counted = before_asked && is_busy && !put_off && is_up(old_one[0]) && !halted } }
/* What a pass finds on its way may be otherwise in the next one. */
inline refuse()
{
	d_step {
		half_made = (phase == PREPARE);
		refused = !(is_answered && rejected[answer]);
		deferred = refusal;
		ordered = ordered || (op_back && !refusal)
	}
}
inline fail() { d_step { refused = 1; deferred = no_answer } }

/* What a pass learns. */

#define fact(known) d_step { worked_on = refusal || known; known = 1 }
inline find_saved_spec()
{
	spec_known = 1;
	if
	:: true
	:: obstacle = HELD
	:: obstacle = ONLY_CHECK
	:: obstacle = YOUNG
	:: !new_here -> obstacle = DOWNLOAD_SHUT
	:: obstacle = WINDOW_SHUT
	:: has_units && !back && nature_of[NEW] == SERVES -> obstacle = BUSY
	:: has_units && !back && nature_of[NEW] == SERVES -> obstacle = BUSY_GO_ON
	:: has_units && !back && nature_of[NEW] == SERVES -> obstacle = BUSY_GIVE_UP
	fi
}
inline ask_registry()
{
	fact(asked);
	if
	/* A version that was rolled back is forgotten with the record, and comes again: an update of its own. */
	:: answer == OLD && !rejected[OLD] && !(exists(old_one[0]) && box[old_one[0]].image == OLD) ->
		abandon(); refused = 1; goto over
	:: else
	fi;
	if
	:: phase == IDLE -> details = 1
	:: phase == IDLE || !synced -> no_answer = 1
	:: phase == PREPARE && synced && hands > 0 -> hands--; no_answer = 1
	:: skip
	fi
}
inline ask_details()
{
	fact(details);
	if
	:: true
	:: no_answer = 1
	fi
}
inline ask_policy()
{
	d_step { worked_on = refusal || (policy_known && !stale); policy_known = 1; stale = 0 };
	if
	:: halted = 0
	:: halted = 1
	fi
}
inline look_for_it() { fact(image_known); image_present = new_here }
inline find_followers()
{
	fact(followers_known);
	d_step {
		f = at_name(3, MAIN);
		followed = follows && exists(old_one[0]) && exists(f) && box[f].host == old_one[0];
		f = 0;
		old_id[1] = NOBODY; new_id[1] = NOBODY; policy_of[1] = 0; serving[1] = 0
	}
}
inline check_successor()
{
	worked_on = refusal;
	if
	:: checked = 1
	:: hands > 0 -> hands--; refusal = 1
	fi
}
inline verify()
{
	worked_on = refusal;
	if
	:: verified = 1
	:: hands > 0 -> hands--; refusal = 1
	fi
}
inline ask_floor() { skip }
inline ask_renewal() { skip }
inline check_disk_space()
{
	fact(space_known);
	if
	:: true
	:: no_space = 1
	fi
}
#define is_learning (step >= ACT_find_saved_spec && step <= ACT_check_disk_space)

inline check_host() { skip }
inline ask_before_unit() { before_asked = 1 }
inline ask_health_unit() { d_step { health_asked = 1; seen = (nature_of[box[N].image] == UNFIT -> BAD : seen) } }
inline ask_after_unit() { after_asked = 1 }
inline save_spec() { skip }

inline fetch()
{
	if
	:: new_here -> untrusted = (!same_boot && !dropped)
	:: else ->
		d_step { new_here = 1; new_torn = litter; new_on_disk = 0; drop_tried = 0 };
		hazard();
		/* Layers may be there of which no other image knows. */
		if
		:: !dropped -> untrusted = 1
		:: same_boot || dropped -> untrusted = 0
		fi
	fi;
	if
	:: true
	:: stale = 1
	fi;
	d_step {
		followers_known = 0;
		new_on_disk = !MISTAKE(M_NO_SYNC);
		fetched = 1
	}
}

inline drop_target_s_image() { d_step { drop_tried = 1; drop_new_image(); dropped = !new_here } }

/* Its container's image is the operator's tag, which is on the new image just while the engine reads it. */
inline create_new()
{
	if
	:: p == 0 ->
		d_step {
			was_tag = tag;
			tag = NEW
		};
		hazard();
		d_step {
			f = free_box(0);
			make(f, NEXT, NO, NEW, 1);
			box[f].policy = (MISTAKE(M_POLICY) -> own_policy : NO);
			f = 0
		};
		hazard();
		d_step { tag = (was_tag == NONE -> NEW : was_tag); was_tag = 0 }
	:: else ->
		d_step {
			f = free_box(3);
			make(f, NEXT, NO, OLD, 1);
			box[f].host = new_one[0];
			f = 0
		}
	fi;
	created[p] = 1;
	created_from[p] = O
}

inline restore_tag() { tag = (exists(O) -> box[O].image : NONE) }
inline park_old() { box[O].policy = NO }
inline park_new() { box[N].policy = NO }
inline rename_old_to_NAME_prev() { d_step { rename_to(O, PREV) } }
inline rename_new_to_NAME_next() { d_step { rename_to(N, NEXT) } }
inline rename_old_to_NAME() { d_step { rename_to(O, MAIN) } }
inline rename_new_to_NAME() { d_step { rename_to(N, MAIN) } }
inline set_old_s_restart_policy() { box[O].policy = policy_of[p] }
inline set_new_s_restart_policy() { box[N].policy = policy_of[p] }
inline keep_old_image() { kept = box[O].image }
inline move_tag() { tag = box[N].image }
inline remove_old() { d_step { remove(O) } }
inline remove_new() { d_step { remove(N) } }
inline drop_older_image() { d_step { older_tried = 1; older_here = 0 } }
inline stop_new() { d_step { stop(N) } }

inline stop_old()
{
	d_step {
		down = down || (p == 0 && phase != REVERT && box[O].state == RUNNING);
		stop(O)
	}
}

inline start(b)
{
	box[b].by_hand = 0;
	if
	:: can_run(b) -> bring_up(b)
	:: else -> box[b].ok = 0
	fi
}

inline start_new()
{
	d_step {
		down = 0;
		started_new[p] = (p == 1 || can_run(N));
		health_asked = (p == 1 && health_asked);
		start(N);
		if
		:: p == 0 ->
			failed = !counted && !can_run(N); /* nobody counts: the next pass tries again */
			counted = 0;
			real_starts = (phase == TRIAL && real_starts < 7 -> real_starts + 1 : real_starts);
			blow = (nature_of[box[N].image] == KILLS_HOST -> CUT : 0)
		:: else
		fi
	};
	if
	:: p == 0 && nature_of[box[N].image] == FLAKY -> box[N].state = EXITED
	:: true
	fi;
	if
	:: blow != 0 -> d_step { forget() }; goto dead
	:: else
	fi
}

inline start_old() { d_step { started_old[p] = 1; start(O) } }

/* Time passes. */
inline probe()
{
	if
	:: nature_of[box[N].image] != SICK -> seen = GOOD
	:: nature_of[box[N].image] == SICK || nature_of[box[N].image] == FLAKY -> seen = BAD
	:: nature_of[box[N].image] == FLAKY && is_up(N) -> box[N].state = EXITED
	fi
}

/* The decisions: plan_decide(), and the record is written. */

inline write_deferral()
{
	hazard();
	d_step {
		put_off = 1;
		put_off_written = 1;
		rejected[target] = rejected[target] || obstacle == BUSY_GIVE_UP;
		given_up = given_up || obstacle == BUSY_GIVE_UP;
		lost = 0
	}
}
inline write_current()
{
	hazard();
	d_step { current = (runs_answer -> answer : box[old_one[0]].image); current_brought = 0; lost = 0 }
}
inline write_rejected() { skip }
inline write_seen() { skip }
inline write_sequence() { skip }
inline write_floor() { skip }
inline write_renewal() { skip }
inline write_signature()
{
	hazard();
	d_step { noted = 1; lost = 0 }
}
inline write_prepare_again() { skip }
inline forget_the_update__write_idle() { abandon() }

inline write_prepare()
{
	hazard();
	d_step {
		begun_in_spite = refusal || exists(another) || left_alone(old_one[0]) || no_space ||
				 (!exists(old_one[0]) && !first) ||
				 (op_back -> previous == NONE || previous_is_rejected || !is_of_last_update ||
					      !new_here :
				  runs_answer || rejected[answer] || halted || obstacle == HELD ||
					  obstacle == ONLY_CHECK || obstacle == YOUNG ||
					  (obstacle == DOWNLOAD_SHUT && !new_here));
		begun_blindly = !followers_known || !checked || !verified || !image_known || (has_keys && !op_back && !noted) ||
				(!op_back && (!spec_known || !is_answered || !policy_known || !details || !space_known));
		begin(NEW);
		target_brought = (op_back -> previous_brought : !image_present || (previous == NEW && previous_brought));
		synced = op_back;
		rollback = op_back;
		ordered = ordered || op_back;
		image_known = 0; image_present = 0; details = 0;
		obstacle = (obstacle >= WINDOW_SHUT -> obstacle : 0);
		lost = 0
	}
}

inline write_fetch()
{
	d_step {
		synced = 0;
		doubted = doubted && !dropped;
		same_boot = !doubted;
		lost = 0
	}
}

inline write_synced()
{
	d_step {
		synced = 1;
		details = 0;
		doubted = (fetched -> untrusted : doubted);
		same_boot = (fetched -> !untrusted : same_boot);
		lost = 0
	}
}

inline write_trial_of(i)
{
	old_id[i] = old_one[i];
	new_id[i] = new_one[i];
	policy_of[i] = own_policy;
	serving[i] = is_up(old_one[i])
}

inline write_trial()
{
	d_step {
		lost = 0;
		phase = TRIAL;
		starts = 0;
		write_trial_of(0);
		if
		:: followed -> write_trial_of(1)
		:: else
		fi;
		real_starts = 0;
		sentence = 0;
		torn_on_trial = new_torn && !lost_ever;
		rejected_tried_again = tries > 0 && !lost_ever && !touched;
		tries = 1;
		window_missed = (obstacle == WINDOW_SHUT && !rollback);
		not_admitted = (halted || stale);
		not_let = has_units && !rollback && is_up(old_one[0]) && obstacle != BUSY_GO_ON && (!before_asked || is_busy);
		not_let = not_let || (obstacle == BUSY_GO_ON && !put_off && !rollback && is_up(old_one[0]));
		learn_nothing();
		stale_on_trial = !created[0] || created_from[0] != old_one[0] || (followed && !created[1]);
		obstructed = exists(another);
		wrong_tag = exists(old_one[0]) && box[old_one[0]].image == OLD && tag == NEW && !lost_ever
	}
}

inline write_start()
{
	d_step { lost = 0; starts = (MISTAKE(M_NO_COUNT) -> starts : starts + 1); counted = 1 }
}

inline write_commit()
{
	d_step {
		verdict_changed = (phase == REVERT && sentence == BAD && exists(O)) && !lost_ever;
		sentence = GOOD;
		won = 1;
		lost = 0;
		phase = COMMIT
	}
}

inline write_revert()
{
	d_step {
		verdict_changed = (sentence == GOOD && exists(N)) && !lost_ever;
		lost = 0;
		reject_target = exists(N) && way_is_free;
		/* The same version made anew, and nothing to go back to. */
		phase = (reject_target && old_id[0] == NOBODY && current != NONE && current == target -> COMMIT : REVERT);
		sentence = (phase == COMMIT -> GOOD : BAD);
		won = won || phase == COMMIT;
		reject_target = reject_target && phase == REVERT
	}
}

inline write_idle()
{
	d_step {
		if
		:: phase == COMMIT ->
			if
			:: current != target -> previous = current; previous_brought = current_brought
			:: else
			fi;
			current_brought = target_brought || (current == target && current_brought);
			current = target;
			if
			:: rollback && previous < NONE -> rejected[previous] = 1
			:: else
			fi
		:: phase == REVERT ->
			if
			:: reject_target && target < NONE && !MISTAKE(M_FORGET) -> rejected[target] = 1
			:: else
			fi
		:: else
		fi;
		not_told = has_units && !after_asked;
		put_off = put_off && phase != COMMIT;
		noted = noted && phase != COMMIT;
		lost = 0;
		phase = IDLE
	}
}

/* A pass around the table. */

/* Who is who: by names and labels before a trial, by the ids in the record from then on. */
inline look_at_pair(i)
{
	if
	:: phase == IDLE || phase == PREPARE ->
		old_one[i] = at_name(3 * i, MAIN);
		new_one[i] = at_name(3 * i, NEXT);
		if
		:: exists(new_one[i]) && !box[new_one[i]].ours -> another = new_one[i]; new_one[i] = NOBODY
		:: else
		fi;
		if
		:: has_name(3 * i, PREV) -> another = at_name(3 * i, PREV)
		:: else
		fi
	:: else ->
		old_one[i] = (exists(old_id[i]) -> old_id[i] : NOBODY);
		new_one[i] = (exists(new_id[i]) -> new_id[i] : NOBODY)
	fi
}

inline look()
{
	another = NOBODY;
	old_one[1] = NOBODY;
	new_one[1] = NOBODY;
	look_at_pair(0);
	if
	:: phase > PREPARE && !is_at(old_one[0], MAIN) && !is_at(new_one[0], MAIN) ->
		another = at_name(0, MAIN)
	:: else
	fi;
	if
	:: phase != IDLE && followed -> look_at_pair(1)
	:: else
	fi
}

inline judge()
{
	if
	:: !is_up(new_one[0]) -> seen = 0
	:: else
	fi;
	verdict = PENDING;
	restart_due = phase == TRIAL && exists(new_one[0]) && is_restarted(new_one[0], policy_of[0]);
	if
	:: phase != TRIAL || !exists(new_one[0]) || restart_due -> skip
	:: else ->
		if
		:: is_finished(new_one[0], policy_of[0]) -> verdict = GOOD
		:: is_up(new_one[0]) -> verdict = seen
		:: !is_up(new_one[0]) && !is_finished(new_one[0], policy_of[0]) && started_new[0] -> verdict = BAD
		:: else
		fi
	fi;
	if
	:: verdict == GOOD && followed && serving[1] && exists(new_one[1]) && !is_up(new_one[1]) &&
	   !(box[new_one[1]].state == EXITED && box[new_one[1]].ok) -> verdict = BAD
	:: else
	fi
}

/* The rows of a trial ask for none of it. */
inline learn_nothing()
{
	obstacle = 0; spec_known = 0; asked = 0; no_answer = 0; policy_known = 0; halted = 0; stale = 0;
	followers_known = 0; checked = 0; verified = 0; image_known = 0; image_present = 0; details = 0;
	space_known = 0; no_space = 0; refusal = 0; before_asked = 0; put_off_written = 0
}

inline forget()
{
	created[0] = 0; created[1] = 0; started_new[0] = 0; started_new[1] = 0;
	started_old[0] = 0; started_old[1] = 0; created_from[0] = NOBODY; created_from[1] = NOBODY;
	restart_due = 0; health_asked = 0; after_asked = 0;
	fetched = 0; untrusted = 0; dropped = 0; counted = 0; drop_tried = 0; older_tried = 0; seen = 0; verdict = PENDING;
	op_back = (back && !ordered);
	learn_nothing()
}

/* ACT_DECIDE_PREPARE */
inline begin(t)
{
	phase = PREPARE;
	target = t;
	same_boot = 1; doubted = 0;
	old_id[0] = NOBODY; new_id[0] = NOBODY; policy_of[0] = 0; serving[0] = 0;
	reject_target = 0;
	starts = 0
}

#define ours(b)	      (exists(b) && box[b].ours)
#define may_have_served(a, b)                                                                                 \
	(is_up(a) || is_at(a, PREV) || was_started(b) || (exists(b) && box[a].policy != own_policy))
#define policy_after(a, b) (exists(b) || box[a].ours -> own_policy : box[a].policy)

/* plan_recover() */
inline recover()
{
	phase = IDLE; target = NONE; current = NONE; previous = NONE;
	target_brought = 0; current_brought = 0; previous_brought = 0;
	put_off = 0; noted = 0;
	synced = 0; same_boot = 0; doubted = 0; rollback = 0; reject_target = 0; starts = 0; followed = 0;
	old_id[0] = NOBODY; new_id[0] = NOBODY; old_id[1] = NOBODY; new_id[1] = NOBODY;
	policy_of[0] = 0; policy_of[1] = 0; serving[0] = 0; serving[1] = 0; rejected[0] = 0; rejected[1] = 0;
	sentence = 0;
	if
	:: has_name(0, PREV) && (ours(at_name(0, MAIN)) || !has_name(0, MAIN)) ->
		old_id[0] = at_name(0, PREV);
		new_id[0] = (ours(at_name(0, MAIN)) -> at_name(0, MAIN) :
			     (ours(at_name(0, NEXT)) -> at_name(0, NEXT) : NOBODY));
		phase = REVERT
	:: has_name(0, MAIN) && ours(at_name(0, NEXT)) && !(has_name(0, PREV) && ours(at_name(0, MAIN))) ->
		old_id[0] = at_name(0, MAIN);
		new_id[0] = at_name(0, NEXT);
		phase = REVERT
	:: else ->
		if
		:: ours(at_name(0, MAIN)) -> new_id[0] = at_name(0, MAIN); phase = COMMIT
		:: else
		fi
	fi;
	if
	:: phase != IDLE ->
		target = (exists(new_id[0]) -> box[new_id[0]].image : NONE);
		policy_of[0] = policy_after(old_id[0], new_id[0]);
		serving[0] = exists(old_id[0]) && may_have_served(old_id[0], new_id[0]);
		starts = (exists(old_id[0]) && was_started(new_id[0]) -> 1 : 0);
		recover_follower()
	:: else
	fi
}

/* followers_find() and plan_recover_follower() */
inline recover_follower()
{
	find_follower(3);
	find_follower(4);
	find_follower(5);
	if
	:: followed ->
		policy_of[1] = policy_after(old_id[1], new_id[1]);
		serving[1] = (!exists(old_id[1]) || starts > 0 || may_have_served(old_id[1], new_id[1]));
		phase = (exists(new_id[1]) && !exists(old_id[1]) -> COMMIT : phase)
	:: else
	fi
}

inline find_follower(b)
{
	if
	:: exists(b) && box[b].host == old_id[0] && exists(old_id[0]) -> old_id[1] = b; followed = 1
	:: exists(b) && box[b].host == new_id[0] && exists(new_id[0]) && box[b].ours -> new_id[1] = b; followed = 1
	:: else
	fi
}

/* act_forget() and ACT_DECIDE_FORGET */
inline abandon()
{
	if
	:: phase == PREPARE ->
		hazard();
		d_step { if :: exists(new_one[1]) -> remove(new_one[1]) :: else fi };
		hazard();
		d_step { if :: exists(new_one[0]) -> remove(new_one[0]) :: else fi };
		hazard();
		d_step {
			if
			:: target_brought && target != previous ->
				tag = (tag == NEW && exists(old_one[0]) -> box[old_one[0]].image : tag);
				drop_new_image()
			:: else
			fi
		};
		hazard();
		d_step { phase = IDLE; lost = 0; changed = 1; drop_tried = 0; dropped = 0; image_known = 0 }
	:: else
	fi
}

/* What must hold after every change. */
#define startable(base, b)                                                                                    \
	(exists(b) && (base == 3 || (box[b].image == OLD) || (won && !new_torn)))
#define runs(b) (is_up(b) && box[b].slot < 3)
inline promises_of(base)
{
	two_run = two_run || (!touched && (is_up(base) + is_up(base + 1) + is_up(base + 2) > 1));
	nothing_startable = nothing_startable || (!touched && !startable(base, base) &&
						  !startable(base, base + 1) && !startable(base, base + 2))
}

inline promises()
{
	if
	:: !first || won -> promises_of(0)
	:: else
	fi;
	if
	:: follows -> promises_of(3)
	:: else
	fi;
	too_many_starts = real_starts > STARTS_MAX
}

#define good_nature(n) (n == SERVES || n == FINISHES)
#define is_good	       (good_nature(nature_of[NEW]) && !allergic)
/* A follower that was down already speaks against nobody. */
#define is_bad	       ((allergic && !excused) || (!good_nature(nature_of[NEW]) && nature_of[NEW] != FLAKY))
#define serves(b)                                                                                             \
	(is_up(b) || (box[b].state == EXITED && b < 3 &&                                                       \
		      (nature_of[box[b].image] == FINISHES || nature_of[box[b].image] == FAILS ||        \
					     nature_of[box[b].image] == FLAKY)))

/* What must be so for good: a pass had nothing to do. */
inline verify_end()
{
	p = at_name(0, MAIN);
	not_finished = phase != IDLE;
	left_over = exists(at_name(0, NEXT)) || exists(at_name(0, PREV)) || exists(at_name(3, NEXT)) ||
		    exists(at_name(3, PREV)) || (!exists(p) && (!first || won));
	if
	:: exists(p) ->
		/* Without a record nobody knows whether a first one won, or a parked one ran. */
		excused = excused || (lost_ever && (first || (cut_ever && own_policy == NO)));
		nothing_serves = !serves(p) && !excused;
		wrong_policy = box[p].policy != own_policy;
		wrong_release = !lost_ever && ((is_good && !given_up && box[p].image == OLD) || (is_bad && box[p].image == NEW));
		wrong_tag = !lost_ever && tag != box[p].image;
		not_kept = !lost_ever && !first && (box[p].image == NEW || back) && kept == box[p].image;
		not_kept = not_kept || (!lost_ever && !first && box[p].image == NEW && kept != OLD);
		not_kept = not_kept || (!lost_ever && back && box[p].image == OLD && kept != NEW);
		image_left = !lost_ever && ((box[p].image == OLD && !back && new_here) ||
					    (box[p].image == NEW && older_here))
	:: else -> image_left = !lost_ever && new_here; wrong_tag = !lost_ever && tag != NONE
	fi;
	if
	:: follows ->
		f = at_name(3, MAIN);
		left_over = left_over || !exists(f);
		wrong_policy = wrong_policy || box[f].policy != own_policy;
		nothing_serves = nothing_serves ||
				 (!is_up(f) && is_up(p) && !excused && !(lost_ever && cut_ever));
		cut_off = exists(f) && (box[f].host != p || (is_up(f) && !box[f].joined && !excused));
		f = 0
	:: else
	fi;
	p = 0
}

inline check()
{
	assert(!two_run); assert(!nothing_startable); assert(!nothing_serves); assert(!started_uncounted);
	assert(!too_many_starts); assert(!verdict_changed); assert(!rejected_tried_again);
	assert(!torn_on_trial); assert(!work_while_down); assert(!cut_off); assert(!left_over);
	assert(!wrong_policy); assert(!wrong_release); assert(!wrong_tag); assert(!not_kept);
	assert(!engine_refused); assert(!not_finished); assert(!image_left); assert(!record_differs);
	assert(!window_missed); assert(!begun_blindly); assert(!begun_in_spite); assert(!not_admitted);
	assert(!not_let); assert(!not_counted); assert(!not_told);
	assert(!half_made); assert(!current_unknown); assert(!stale_on_trial); assert(!obstructed)
}

inline setup()
{
	if
	:: own_policy = NO :: own_policy = ALWAYS :: own_policy = UNLESS_STOPPED :: own_policy = ON_FAILURE
	fi;
	if
	:: nature_of[OLD] = SERVES
	:: own_policy == NO || own_policy == ON_FAILURE -> nature_of[OLD] = FINISHES
	:: own_policy == ALWAYS || own_policy == UNLESS_STOPPED -> nature_of[OLD] = LOOPS
	fi;
	if
	:: nature_of[NEW] = SERVES
	:: own_policy == NO || own_policy == ON_FAILURE -> nature_of[NEW] = FINISHES
	:: nature_of[NEW] = FAILS
	:: nature_of[NEW] = WONT_START
	:: nature_of[NEW] = SICK
	:: has_units -> nature_of[NEW] = UNFIT
	:: nature_of[NEW] = KILLS_HOST
	:: nature_of[NEW] = FLAKY
	fi;
	if
	:: true /* the first update that we make */
	:: back = 1
	:: previous = OLDER
	:: nature_of[OLD] == SERVES -> first = 1
	:: nature_of[OLD] == SERVES && nature_of[NEW] != FINISHES && nature_of[NEW] != FLAKY -> follows = 1
	:: nature_of[OLD] == SERVES && nature_of[NEW] != FINISHES && nature_of[NEW] != FLAKY ->
		follows = 1; back = 1
	:: nature_of[OLD] == SERVES && nature_of[NEW] == SERVES -> follows = 1; allergic = 1
	fi;
	d_step {
		tag = (first -> NONE : OLD);
		kept = NONE;
		lost = (!back && previous != OLDER);
		if
		:: back ->
			current = OLD; current_brought = 1; previous = NEW; previous_brought = 1;
			new_here = 1; new_on_disk = 1; kept = NEW
		:: previous == OLDER -> previous_brought = 1; older_here = 1; current = OLD; kept = NONE
		:: else -> current = NONE; previous = NONE
		fi;
		target = NONE;
		old_id[0] = NOBODY; new_id[0] = NOBODY; old_id[1] = NOBODY; new_id[1] = NOBODY;
		another = NOBODY;
		box[NOBODY].state = GONE;
		clear_box(0); clear_box(1); clear_box(2); clear_box(3); clear_box(4); clear_box(5);
		if
		:: !first ->
			make(0, MAIN, own_policy, OLD, 0);
			box[0].ours = (back || previous == OLDER);
			bring_up(0)
		:: else
		fi;
		if
		:: follows ->
			make(3, MAIN, own_policy, OLD, back);
			box[3].host = 0;
			bring_up(3)
		:: else
		fi;
		forget()
	}
}

inline recover_record()
{
	d_step { recover(); c_code { agree_on_recovery(); }; assert(!record_differs) };
	if
	:: phase != IDLE -> hazard(); d_step { lost = 0; changed = 1 }
	:: else
	fi
}

inline choose()
{
	step = (step == NO_STEP -> 0 : step);
	c_code { agree_on_step(); };
	assert(!head_differs);
	work_while_down = down && !lost_ever && !touched && step != ACT_start_new && step != ACT_stop_old
}

inline forget_step()
{
	p = 0; step = 0; f = 0; was_tag = 0; old_one[0] = 0; old_one[1] = 0; new_one[0] = 0; new_one[1] = 0;
	another = NOBODY
}

inline strike()
{
	if
	:: blow == CRASH -> printf("! the agent dies\n")
	:: blow == CUT -> printf("! the power is cut\n"); power_cut()
	:: blow == ENGINE -> printf("! the engine dies, and the agent\n"); engine_dies()
	:: blow == LOSE -> printf("! the agent dies, and the record is lost\n"); lost = 1; lost_ever = 1
	fi;
	blow = 0
}

/* One pass is run again and again. What stands in atomic is one step for the search; everything else is a
 * state of its own. */
active proctype device()
{
	atomic {
		c_code {
			mutant = from_environment("MUTANT");
			now.faults = from_environment("FAULTS");
			now.hands = from_environment("HANDS");
		};
		setup();
		c_code { show(); }
	};
pass:
	atomic {
		d_step { printf("a pass\n"); forget(); changed = 0; deferred = 0; refused = 0; down = 0 };
		if
		:: lost -> recover_record()
		:: else
		fi
	};
work:
	do
	:: atomic {
		hazard();
		if
		:: hands > 0 && !lost_ever -> hand()
		:: true
		fi;
turn:		skip;
		/* Several, for spin takes a d_step of so many statements only. */
		d_step { look(); judge(); step = NO_STEP };
		d_step { plan_next_before() };
		d_step { plan_next_swap() };
		d_step { choose() };
		if
		:: step == 0 -> d_step { forget() }; goto over
		:: is_learning -> take_step(); assert(!worked_on); forget_step(); goto turn
		:: else -> take_step()
		fi;
		d_step {
			ended = (step <= ACT_fail || step == ACT_write_idle);
			c_code { agree_on_decision(); };
			moved = (step != ACT_probe && step != ACT_ask_before_unit && step != ACT_ask_health_unit &&
				 step != ACT_ask_after_unit && step != ACT_write_deferral && step > ACT_fail && !failed);
			changed = changed || moved;
			promises();
			check();
			forget_step();
			c_code { show(); }
		};
		if
		:: failed -> d_step { failed = 0; refused = 1; forget() }; goto over
		:: ended -> d_step { ended = 0; forget() }; goto over
		:: else
		fi
	   };
	   if
	   :: moved -> moved = 0;
accept_change:	   skip
	   :: else
	   fi
	od;
over:
	atomic {
		d_step {
			promises();
			if
			:: !changed && !deferred && !touched && !(refused && lost_ever) -> verify_end()
			:: else
			fi;
			check();
			forget_step()
		};
		if
		:: !changed && !deferred -> hazard()
		:: else
		fi
	};
	goto pass;
dead:
	atomic {
		d_step {
			strike();
			promises();
			check();
			forget_step();
			c_code { show(); }
		}
	};
	goto pass
}
