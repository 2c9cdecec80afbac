//! One suite for every manager and every pool: the cases, their names, and what each case needs.
//!
//! A case is a function over a [`Trial`](stage::Trial), that is, a fixture and a pool. The table in
//! the macro lists the cases once, with the capabilities that each needs; a test that lacks one
//! prints `SKIP` and the reason. The cases use a [`ScriptedManager`](crate::ScriptedManager) that
//! wraps the fixture's manager: unless the script says otherwise, calls go through to the real
//! server.
//! happen, really happens.

mod abandoned;
mod accounting;
mod age;
mod cancelling;
mod closing;
mod credentials;
mod deadlines;
mod failing;
mod failover;
mod fixture;
mod health;
mod hooks;
mod lending;
mod limits;
mod memory;
mod network;
mod plan;
mod pools;
mod readers;
mod redis;
mod restart;
mod service;
mod session;
mod sql;
mod stage;
mod statements;
mod waiting;

pub use abandoned::*;
pub use accounting::*;
pub use age::*;
pub use cancelling::*;
pub use closing::*;
pub use credentials::*;
pub use deadlines::*;
pub use failing::*;
pub use failover::*;
pub use fixture::{Capability, Connection, Fixture, Served};
pub use health::*;
pub use hooks::*;
pub use lending::*;
pub use limits::*;
pub use memory::*;
pub use network::*;
pub use plan::{Mark, Plan, Refusals};
pub use pools::PoolUnderTest;
pub use readers::*;
pub use redis::*;
pub use restart::*;
pub use session::*;
pub use sql::*;
pub use stage::{FixtureAndPool, Stage, Trial};
pub use statements::*;
pub use waiting::*;

use crate::manager::ScriptedManager;
use std::future::Future;
use std::io::{self, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use tokio::runtime::Builder;

/// Runs one case on its own runtime, or prints why it is skipped. Called by the macro.
pub fn run<F, P, Played>(
    fixture: F,
    claimed: &[Capability],
    needed: &[Capability],
    name: &str,
    case: impl FnOnce(Stage<FixtureAndPool<F, P>>) -> Played,
) where
    F: Fixture,
    P: PoolUnderTest<Manager = ScriptedManager<F::Manager>>,
    Played: Future<Output = ()>,
{
    let lacks = |needed: &&Capability| !claimed.contains(needed) && !P::CAN.contains(needed);
    if let Some(missing) = needed.iter().find(lacks) {
        println!("SKIP {name}: not claimed, {missing}");
        return;
    }
    let paused = claimed.contains(&Capability::PausedClock);
    let runtime = Builder::new_current_thread().enable_all().start_paused(paused).build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime could be built: {error}"));
    let played = AssertUnwindSafe(|| {
        runtime.block_on(async {
            match Stage::set(fixture, claimed).await {
                Ok(stage) => case(stage).await,
                Err(why) => println!("SKIP {name}: {why}"),
            }
        });
    });
    if let Err(end) = catch_unwind(played) {
        match end.downcast::<stage::Skipped>() {
            Ok(skipped) => println!("SKIP {name}: {}", skipped.0),
            Err(failure) => resume_unwind(failure),
        }
    }
}

/// Prints how many of the cases apply, which capabilities are not claimed, and what that leaves
/// untested. Writes to standard error directly, because the test harness captures the output of
/// passing tests. Called by the macro.
pub fn summarize<F, P>(_: F, suite: &str, claimed: &[Capability], cases: &[&[Capability]])
where
    F: Fixture,
    P: PoolUnderTest<Manager = ScriptedManager<F::Manager>>,
{
    let _ = writeln!(io::stderr(), "{}", summary(suite, &[claimed, P::CAN].concat(), cases));
}

fn summary(suite: &str, claimed: &[Capability], cases: &[&[Capability]]) -> String {
    let lacks = |needed: &&Capability| !claimed.contains(needed);
    let played = cases.iter().filter(|needed| !needed.iter().any(|needed| lacks(&needed))).count();
    let mut text = format!("{suite}: {played} of {} cases apply.", cases.len());
    let unclaimed = Capability::OF_MANAGERS.iter().filter(lacks);
    let untested: Vec<String> = unclaimed
        .filter_map(|capability| {
            capability.untested().map(|what| format!("{what} ({capability:?})"))
        })
        .collect();
    if !untested.is_empty() {
        text.push_str(" Not claimed, and so not tested: ");
        text.push_str(&untested.join("; "));
        text.push('.');
    }
    text
}

/// Tests a manager, and the pool over it, with one named test for each promise and case.
///
/// `fixture` is an expression that evaluates to a [`Fixture`](crate::Fixture); a closure that
/// returns a manager is enough. `can` lists what the manager can do beyond its two required
/// methods, as [`Capability`](crate::Capability) variants. `pool` is the type of the pool, by
/// default [`QueuePool`](millpond_core::QueuePool). Call the macro in a test module of its own:
///
/// ```
/// use millpond_core::{ConnectInfo, Manager};
/// use std::convert::Infallible;
///
/// struct Sluice;
/// impl Manager for Sluice {
///     type Connection = u64;
///     type Error = Infallible;
///     async fn connect(&self, info: &ConnectInfo) -> Result<u64, Infallible> {
///         Ok(info.id.get())
///     }
///     async fn ping(&self, _: &mut u64) -> Result<(), Infallible> {
///         Ok(())
///     }
/// }
///
/// mod conformance {
///     millpond_testkit::conformance! { fixture = || async { super::Sluice }, can = [PausedClock] }
/// }
/// mod conformance_of_null_pool {
///     use millpond_core::NullPool;
///     millpond_testkit::conformance! {
///         fixture = || async { super::Sluice }, can = [PausedClock], pool = NullPool
///     }
/// }
/// ```
#[macro_export]
macro_rules! conformance {
    (fixture = $fixture:expr, can = [$($can:ident),* $(,)?] $(,)?) => {
        use $crate::core::QueuePool;
        $crate::conformance! { fixture = $fixture, can = [$($can),*], pool = QueuePool }
    };
    (fixture = $fixture:expr, can = [$($can:ident),* $(,)?], pool = $pool:ident $(,)?) => {
        $crate::conformance! { @cases ($fixture) [$($can),*] $pool
            c01_nothing_is_opened_before_the_first_acquire []
            c02_a_returned_connection_is_lent_again [Keeps]
            c02_a_connection_that_the_pool_does_not_keep_is_closed [Exclusive]
            c03_the_status_shows_every_step [Exclusive]
            c04_a_crowd_is_served_by_few_connections []
            c06_dropping_the_pool_closes_what_is_idle []
            c07_a_lease_outlives_its_pool []
            c08_a_lease_may_be_dropped_on_a_plain_thread []
            c09_a_lease_may_be_dropped_while_a_runtime_shuts_down []
            c10_a_detached_connection_is_the_borrowers_and_its_slot_is_free [Exclusive]
            c11_a_discarded_connection_is_not_lent_again []
            c12_a_panicking_borrower_costs_one_connection_at_most []
            c20_nothing_beyond_the_limit_is_open_at_any_instant []
            c21_after_shrinking_nothing_beyond_the_new_limit_is_lent [Exclusive]
            c22_shrinking_below_what_is_lent_waits_for_its_return [Exclusive]
            c23_growing_serves_waiters_at_once [Exclusive]
            c24_however_the_size_changes_under_load_the_limit_holds [Exclusive]
            c25_a_burst_opens_no_more_than_callers_wait_for [Exclusive]
            c26_a_connection_beyond_pool_size_is_closed_when_no_caller_waits [Exclusive, Keeps]
            c27_one_caller_more_than_max_waiters_is_turned_away_at_once [Exclusive]
            c28_an_acquire_on_an_empty_pool_can_be_dropped_anywhere [PausedClock]
            c28_an_acquire_that_finds_an_idle_connection_can_be_dropped_anywhere
                [Keeps, PausedClock]
            c28_an_acquire_that_waits_for_a_return_can_be_dropped_anywhere [Exclusive, PausedClock]
            c28_a_close_can_be_dropped_anywhere [PausedClock]
            c28_a_prewarm_can_be_dropped_anywhere [Exclusive, PausedClock]
            c30_waiters_are_served_in_order_of_arrival [Exclusive]
            c31_a_new_caller_does_not_overtake_a_woken_waiter [Exclusive]
            c32_a_cancelled_waiter_is_passed_over [Exclusive]
            c33_a_caller_dropped_after_the_hand_over_passes_it_on [Exclusive]
            c34_two_thousand_waiters_are_all_served [Exclusive]
            c35_no_caller_waits_while_a_connection_is_idle []
            c36_a_connection_that_is_lost_frees_its_slot_for_a_waiter [Exclusive]
            c37_a_failed_connect_does_not_strand_the_next_waiter []
            c38_the_connect_of_a_cancelled_caller_lands_in_the_pool []
            c40_a_wait_ends_at_its_deadline [Exclusive]
            c41_a_connect_that_hangs_ends_the_wait_at_its_deadline []
            c41_a_connect_that_hangs_is_tried_again []
            c41_a_connect_that_hangs_delays_no_caller_while_slots_are_free [PausedClock]
            c42_a_ping_that_hangs_costs_its_own_limit_and_no_more [Exclusive, Keeps]
            c43_five_dead_connections_cost_the_caller_one_ping_timeout [Exclusive, Keeps]
            c44_a_reset_that_hangs_costs_its_connection_and_delays_no_caller [Exclusive, Keeps]
            c45_a_close_that_hangs_ends_at_close_timeout []
            c46_a_limit_of_zero_takes_what_is_there_or_fails_at_once []
            c47_without_a_runtime_an_acquire_is_an_error []
            c48_short_timeouts_do_not_churn_connections [Exclusive, Keeps, PausedClock]
            c49_short_timeouts_close_no_healthy_connection [Exclusive, Keeps, PausedClock]
            c50_a_ping_is_sent_only_when_it_is_due [Exclusive, Keeps]
            c51_behind_a_dead_idle_connection_the_next_idle_one_is_lent [Exclusive, Keeps]
            c52_if_all_idle_connections_are_dead_a_new_one_is_lent [Exclusive, Keeps]
            c53_a_connection_discarded_by_triage_is_not_lent_again [Exclusive, Keeps]
            c53_a_connection_whose_reset_failed_is_not_lent_again [Exclusive, Keeps]
            c53_state_left_on_a_connection_never_reaches_the_next_borrower [Exclusive, Dirty]
            c53_state_of_a_half_done_call_never_reaches_the_next_borrower [Exclusive, Dirty]
            c54_the_manager_is_never_called_under_the_lock []
            c54_no_call_of_the_manager_blocks_its_thread []
            c55_a_panic_in_a_manager_or_a_hook_costs_one_connection_at_most []
            c56_after_an_invalidation_nothing_older_is_lent []
            c57_an_answer_never_reaches_another_borrower [Exclusive, Answers]
            c58_a_dead_server_causes_no_busy_loop [Exclusive, Keeps, PausedClock]
            c59_a_connection_that_its_server_has_ended_is_not_lent_again [Exclusive, Dies]
            c59_a_healthy_connection_passes_ping_and_reset [Exclusive, Keeps]
            c60_idle_timeout_closes_down_to_min_idle [Exclusive, Keeps, PausedClock]
            c61_under_light_load_only_the_connection_in_use_stays [Exclusive, Keeps, PausedClock]
            c62_nothing_older_than_pool_recycle_is_lent [Exclusive, Keeps, PausedClock]
            c63_connections_opened_together_do_not_close_together [Exclusive, Keeps, PausedClock]
            c64_min_idle_connections_are_ready_and_filled_up_again [Exclusive, Keeps, PausedClock]
            c65_replacing_an_expired_connection_delays_no_caller [Exclusive, Keeps, PausedClock]
            c66_validation_does_not_make_a_connection_look_used [Exclusive, Keeps, PausedClock]
            c67_a_duration_of_max_is_harmless_in_every_setting []
            c68_prewarm_with_a_server_that_comes_and_goes_ends [Exclusive]
            c70_a_connection_meets_its_hooks_in_the_order_of_its_life [Exclusive]
            c72_a_connection_refused_at_on_connect_is_not_lent []
            c72_a_connection_refused_at_checkout_is_not_lent [Exclusive]
            c72_a_connection_refused_at_checkin_is_not_lent_again [Exclusive, Keeps]
            c72_a_request_refused_at_checkout_costs_no_connection []
            c73_a_hook_that_hangs_is_a_refusal_at_hook_timeout []
            c74_several_hooks_run_in_order_and_the_first_refusal_stops_them []
            c75_a_hook_sees_which_connection_it_is [Exclusive, Keeps]
            c77_every_connection_is_opened_once_and_closed_once [Exclusive]
            c80_after_close_every_acquire_is_refused []
            c80_close_fails_all_waiters_at_once [Exclusive]
            c81_a_connect_under_way_at_close_leaves_nothing_behind []
            c82_close_waits_for_borrowers []
            c83_close_ends_at_its_limit_and_names_the_holders []
            c84_everything_that_was_opened_is_closed [Exclusive]
            c84_a_closed_connection_is_closed_at_the_server [Exclusive, Counted]
            c84_a_dropped_connect_leaves_no_connection_open_at_the_server [Counted]
            c85_a_closed_pool_cannot_be_resized_or_opened_again [Exclusive]
            c86_several_may_close_at_once []
            c87_close_ends_while_connects_fail []
            c90_after_any_mix_of_operations_and_faults_the_books_balance []
            c91_totals_only_ever_grow []
            c92_a_dropped_pool_leaks_no_memory []
            c93_a_timeout_names_the_last_connect_error []
            c94_a_permanent_failure_is_reported_at_once_and_a_transient_one_is_retried []
            c95_a_server_that_is_away_is_tried_again [Away]
            c95_a_server_that_refuses_permanently_is_not_tried_again [Refuses]
            b01_a_begin_cancelled_at_any_poll_never_reaches_the_next_borrower
                [Exclusive, Answers, Transactions]
            b02_a_script_that_fails_in_its_own_transaction_leaves_none_open
                [Exclusive, Answers, Transactions]
            b03_a_transaction_left_open_never_reaches_the_next_borrower
                [Exclusive, Answers, Transactions]
            b03_a_transaction_begun_unseen_never_reaches_the_next_borrower
                [Exclusive, Answers, Transactions]
            b03_transactions_that_were_forgotten_are_rolled_back [Exclusive, Answers, Transactions]
            b03_a_borrower_that_panics_in_a_transaction_leaves_none_open
                [Exclusive, Answers, Transactions]
            b03_completed_statements_cost_no_round_trip_at_the_return
                [Exclusive, Keeps, Answers, Transactions]
            b04_unread_rows_never_reach_the_next_borrower [Exclusive, Answers, Streams]
            b04_every_query_gets_its_own_answer_even_if_others_were_dropped
                [Exclusive, Keeps, Answers, Streams]
            b04_a_late_cancel_hits_no_other_borrower_and_opens_no_socket_beyond_the_limit
                [Keeps, Pools, Answers, Network, Cancels]
            b05_no_session_state_survives_a_session_reset
                [Keeps, Pools, Answers, Transactions, Session]
            b05_an_open_transaction_is_cleared_by_every_level_but_none
                [Keeps, Pools, Answers, Transactions, Session]
            b06_a_database_in_memory_survives_whatever_its_users_do
                [Keeps, Pools, Answers, Transactions, Memory]
            b07_readers_read_what_was_committed_while_the_only_writer_writes
                [Keeps, Pools, Transactions, Readers]
            b08_a_server_killed_under_load_costs_no_slot_and_no_wrong_answer
                [Keeps, Pools, Answers, Restarts]
            b08_a_pool_serves_again_soon_after_an_outage_in_which_its_callers_gave_up
                [Keeps, Pools, Answers, Restarts]
            b09_a_server_that_is_not_ready_is_retried_until_it_is [Keeps, Pools, Answers, Network]
            b09_a_server_that_falls_silent_or_hangs_up_costs_an_attempt_and_no_more
                [Keeps, Pools, Answers, Network]
            b09_a_server_that_refuses_permanently_fails_the_acquire_at_once [Keeps, Pools, Network]
            b09_half_open_connections_are_detected_within_one_ping_timeout
                [Keeps, Pools, Answers, Network]
            b09_a_query_lost_in_the_network_costs_no_slot
                [Keeps, Pools, Answers, Transactions, Network]
            b09_answers_in_pieces_are_correct_even_if_calls_are_dropped
                [Keeps, Pools, Answers, Network]
            b10_a_server_that_becomes_read_only_invalidates_all_connections
                [Keeps, Pools, Answers, Transactions, Restarts, Demotes]
            b10_a_pool_whose_servers_never_took_writes_keeps_its_connections
                [Keeps, Pools, Answers, Transactions, Restarts, Demotes]
            b10_a_session_ended_by_the_server_makes_the_pool_ping_its_idle_connections
                [Keeps, Pools, Answers, Transactions, Dies]
            b11_a_connection_caches_no_more_statements_than_its_limit
                [Keeps, Pools, Answers, Statements]
            b12_a_password_changed_in_its_file_retires_old_connections_without_an_error
                [Keeps, Pools, Answers, Credentials]
            b12_a_password_of_every_printable_character_is_accepted
                [Keeps, Pools, Answers, Credentials]
            b12_a_wrong_password_fails_at_once_and_is_shown_nowhere [Keeps, Pools, Credentials]
            b13_a_watch_never_reaches_the_next_borrower [Exclusive, Answers, Redis]
            b13_another_database_never_reaches_the_next_borrower [Exclusive, Answers, Redis]
            b13_a_transaction_left_open_never_reaches_the_next_borrower [Exclusive, Answers, Redis]
            b13_a_subscription_never_reaches_the_next_borrower [Exclusive, Answers, Redis]
            b13_client_settings_never_reach_the_next_borrower [Exclusive, Answers, Redis]
            b13_an_abandoned_blpop_never_reaches_the_next_borrower [Exclusive, Answers, Redis]
            b13_a_transaction_dropped_at_any_poll_is_executed_whole_or_not_at_all
                [Exclusive, Answers, Redis]
            b14_a_lost_connection_does_not_come_back_without_its_session
                [Exclusive, Answers, Dies, Redis]
        }
    };
    (@cases ($fixture:expr) $can:tt $pool:ident $($case:ident $needs:tt)*) => {
        #[test]
        fn c00_the_summary_says_what_is_not_tested() {
            $crate::conformance::summarize::<_, $pool<_>>(
                $fixture,
                module_path!(),
                $crate::conformance!(@capabilities $can),
                &[$($crate::conformance!(@capabilities $needs)),*],
            );
        }
        $(
            #[test]
            fn $case() {
                $crate::conformance::run::<_, $pool<_>, _>(
                    $fixture,
                    $crate::conformance!(@capabilities $can),
                    $crate::conformance!(@capabilities $needs),
                    stringify!($case),
                    |stage| $crate::conformance::$case(stage),
                );
            }
        )*
    };
    (@capabilities [$($name:ident),*]) => { &[$($crate::Capability::$name),*] };
}

#[cfg(test)]
mod tests {
    use super::*;
    use Capability::{Answers, Exclusive, Keeps, PausedClock};

    #[test]
    fn the_summary_counts_what_applies_and_says_what_is_not_tested() {
        let cases: [&[Capability]; 4] = [&[], &[Exclusive, Answers], &[Keeps], &[PausedClock]];
        let text = summary("mine", &[Exclusive, Keeps, Capability::Dirty], &cases);
        assert!(
            text.starts_with("mine: 2 of 4 cases apply. Not claimed, and so not tested: "),
            "{text}"
        );
        let untested = "that an answer reaches only the caller that asked for it (Answers)";
        assert!(text.contains(untested), "{text}");
        assert!(!text.contains("Dirty"), "{text}");
    }
}
