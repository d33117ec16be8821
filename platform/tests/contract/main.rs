// SPDX-License-Identifier: Apache-2.0
//! What every platform must keep: one list of tests, run on each of them.
#![allow(missing_docs, unreachable_pub, reason = "tests")]

mod attacks;
mod code;
mod faults;
mod futexes;
mod guest;
mod life;
mod memory;
mod state;
mod threads;

/// Makes a test of each function, for each platform.
macro_rules! contract {
    ($($module:ident :: { $($(#[$attr:meta])* $name:ident),* $(,)? })*) => {
        mod systrap { $(mod $module { $(
            #[test] fn $name() { crate::$module::$name(&crate::guest::systrap()); }
        )* })* }
        mod ptrace { $(mod $module { $(
            #[test] fn $name() { crate::$module::$name(&crate::guest::ptrace()); }
        )* })* }
    };
}

contract! {
    state::{
        a_call_carries_all_registers,
        registers_survive_a_call,
        vector_registers_survive_a_call,
        extended_state_can_be_read_and_set,
        bad_extended_state_is_refused,
        a_fresh_guest_sees_no_old_state,
        segment_bases,
        segment_bases_in_a_storm,
        call_numbers,
        int_0x80_and_vsyscall,
        rdtsc_and_cpuid_work,
    }
    faults::{
        each_kind,
        beyond_the_end_of_a_file,
        wild_registers_are_the_guests_fault,
        single_step,
    }
    memory::{
        mappings_change_as_told,
        what_is_not_the_guests_is_refused,
        files,
        first_touch_never_reaches_us,
        copies_stop_where_memory_stops,
        poke_writes_what_the_guest_cannot,
        residency_and_advice,
        large_copies,
    }
    threads::{
        fork_copies_memory,
        fork_of_a_fork,
        threads_share_memory,
        a_spinning_guest_can_be_interrupted,
        an_interrupt_before_the_run_counts,
        many_threads_call_at_once,
        the_first_thread_may_leave_first,
        threads_that_follow_each_other_begin_alike,
    }
    futexes::{
        are_answered_only_when_they_may,
        a_wait_can_be_interrupted,
        threads_wake_each_other_unseen,
        wakes_can_be_held,
        waits_that_are_scribbled_over_end,
    }
    life::{
        killed_while_running,
        a_space_that_is_dropped_is_gone,
        nothing_is_left_behind,
        the_platform_itself,
        descriptors,
        an_idle_guest_costs_nothing,
        a_guest_runs_where_it_is_moved,
    }
    attacks::{
        every_call_number_traps,
        jumps_to_every_byte_of_the_stub,
        a_sibling_scribbles_over_the_channel,
        the_stubs_memory_is_not_the_guests,
        no_clone_of_the_guests_own,
    }
}
