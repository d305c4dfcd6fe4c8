//! Models of the lock-free code, run over the code itself with a window on the heap and segments of a few frames.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release --lib loom`
//!
//! | invariant | model | caught when |
//! |---|---|---|
//! | I1 claims are disjoint and inside their segment | `claims_are_disjoint` | the claim is a load and a store instead of one addition |
//! | I2 a producer's order is the log's order, rotation included | `by_id_order_is_log_order` | by id, the slot is unlocked before the claim |
//! | I3 a reader sees whole frames or none | `a_reader_sees_whole_frames` | the publication is Relaxed |
//! | I4 the visible prefix never passes an open frame, and never falls | `the_visible_prefix_stops_at_an_open_frame` | the walk skips a frame that is not published |
//! | I5 one padding and one successor a segment, offsets without a gap | `rotation_belongs_to_everyone` | the successor's base offset is taken from the tail instead of where the end was crossed; two threads may both write its START frame |
//! | I5 a successor that is prepared meanwhile is whole | `a_segment_prepared_late_is_whole_when_it_is_found` | the link is followed with a Relaxed load |
//! | I5 a segment that stands ready is opened or withdrawn, and not both | `a_segment_that_is_withdrawn_is_in_use_or_passed_over` | it is withdrawn with a load and a store; a step does not pass it over |
//! | I6 one frame a sequence; a retry gets the first one's answer | `a_retry_appends_nothing` | by id, the sequence is compared before the slot is locked |
//! | I8 nothing touches a segment that was visible to its end | `a_late_appender_leaves_a_full_segment_alone` | a late claim is given memory |
//! | I9 a claim that is given up ends as a void frame, without a sequence | `a_claim_given_up_becomes_void` | the void frame is not published |
//! | I11 behind a fence no older epoch appends | `behind_a_fence_no_older_epoch_appends` | the session looks at its epoch before the claim; the fence does not wait; the slot is stored behind the publication; the claim is Relaxed; by id, the fence does not wait for the lock |
//! | I12 an undecided transaction is not seen | `a_reader_sees_a_transaction_once_it_is_committed` | the reader looks at the visible end last; a transaction enters behind its first append |
//! | I12 an aborted one is passed over | `a_reader_passes_over_an_aborted_transaction` | readers are let past before it is among the aborted |
//! | the last stable offset never falls | `what_a_reader_may_see_never_shrinks` | the highest limit given is not kept |
//!
//! Each of these was tried, and seen to be caught. The fence's model is also run across the end of a segment
//! (`a_fence_holds_across_the_end_of_a_segment`) and by id (`by_id_too`). Two preemptions a run are enough for all of
//! them, and keep the models to a second.
//!
//! No model has I7, no lost wake-up, and I10, nothing acknowledged after a failure: who waits and who commits
//! (`wake.rs`, `committer.rs`) goes through std's locks and threads, which loom does not see. Their tests are
//! `tests/waiting.rs`, `tests/durable.rs` (`a_waiter_that_gives_up_leaves_nobody_behind`,
//! `a_task_is_woken_when_its_record_is_durable`) and `tests/poison.rs`.
//!
//! Executions, two or three threads each, in segments of one to three frames (`LOOM_LOG=info .. --nocapture` tells them):
//!
//! | model | with 2 preemptions | with 3 |
//! |---|---|---|
//! | `claims_are_disjoint` | 248 | 824 |
//! | `by_id_order_is_log_order` | 27 | 53 |
//! | `a_reader_sees_whole_frames` | 26 | 38 |
//! | `the_visible_prefix_stops_at_an_open_frame` | 56 | 106 |
//! | `rotation_belongs_to_everyone` | 277 | 862 |
//! | `a_segment_prepared_late_is_whole_when_it_is_found` | 15 | 23 |
//! | `a_retry_appends_nothing` | 27 | 53 |
//! | `a_late_appender_leaves_a_full_segment_alone` | 303 | 1,143 |
//! | `a_claim_given_up_becomes_void` | 7 | 7 |
//! | `behind_a_fence_no_older_epoch_appends` | 88 | 237 |
//! | `a_fence_holds_across_the_end_of_a_segment` | 854 | 5,650 |
//! | `by_id_too` | 164 | 585 |
//! | `a_reader_sees_a_transaction_once_it_is_committed` | 293 | 502 |
//! | `a_reader_passes_over_an_aborted_transaction` | 38 | 50 |
//! | `what_a_reader_may_see_never_shrinks` | 49 | 57 |
//! | all, one after the other, told as they run | 0.3 s | 1.9 s |

mod chain;
mod decide;
mod fence;
mod producers;
mod publish;
mod rotate;
mod turns;
