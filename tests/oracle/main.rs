//! Random operations on a log and on an oracle that is a `Vec` and a map: each answer, each record and each producer must
//! agree, over rotations, snapshots, reopenings and kills (scenario 56 of `README.md`).
//!
//! `ONCELOG_TEST_SECONDS` says for how long to try, 4 by default; `ONCELOG_TEST_SEED` tries what a failure has printed.
//! `tools/fuzz` goes on where this ends.

#[path = "../logs/mod.rs"]
mod logs;
mod model;
mod ops;
mod pair;
mod strategy;

use pair::Pair;
use proptest::{
    strategy::Strategy,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use std::{
    env,
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};
use strategy::ops;

fn number(variable: &str) -> Option<u64> {
    env::var(variable).ok().map(|value| value.parse().unwrap_or_else(|_| panic!("{variable} is no number: {value}")))
}

/// Scenario 56.
#[test]
fn every_answer_and_every_record_is_the_oracles() {
    let seconds = Duration::from_secs(number("ONCELOG_TEST_SECONDS").unwrap_or(4));
    let seed = number("ONCELOG_TEST_SEED").unwrap_or_else(|| RandomState::new().hash_one(0));
    let config = Config { failure_persistence: None, max_shrink_iters: 400, ..Config::default() };
    let mut seeds = [0; 32];
    seeds[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &seeds));
    let until = Instant::now() + seconds;
    loop {
        let case = ops().new_tree(&mut runner).expect("operations");
        let tried = runner.run_one(case, |ops| {
            let mut pair = Pair::new();
            for op in &ops {
                pair.run(op);
            }
            pair.check();
            Ok(())
        });
        if let Err(error) = tried {
            panic!("ONCELOG_TEST_SEED={seed}: {error}");
        }
        if Instant::now() > until {
            return;
        }
    }
}
