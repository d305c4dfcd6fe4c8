//! Models of the lock-free code, run over the code itself with a window on the heap and segments of a few frames.
//!
//! `RUSTFLAGS="--cfg loom" LOOM_MAX_PREEMPTIONS=2 cargo test --release --lib loom`
//!
//! Which model is for which invariant, with how many executions, and which change it was seen to catch, is in
//! `tests/README.md`. With two preemptions they take eight seconds.

mod chain;
mod decide;
mod fence;
mod producers;
mod publish;
mod rotate;
mod turns;
