//! Every delivery under every fault: what is lost, doubled and reordered is what the injector's own log foretells.

use std::sync::Arc;

use oncelog_load::delivery::{Cell, Column, Experiment, Fault, scratch};
use oncelog_load::{LoadError, Payloads};

const SEEDS: u64 = 20;

fn experiment(fault: Fault, seed: u64) -> Experiment {
    // A broker's log takes some milliseconds to reopen.
    let kills = matches!(fault, Fault::BrokerKilledAfterStore | Fault::BrokerKilledBeforeStore);
    Experiment {
        messages: 2_000,
        rate: if kills { 0.003 } else { 0.01 },
        seed,
        payloads: Arc::new(Payloads::fixed(100)),
        scratch: scratch(),
        program: None,
    }
}

fn run(column: Column, fault: Fault, seed: u64) -> Cell {
    let cell = experiment(fault, seed).cell(column, fault);
    cell.unwrap_or_else(|error| panic!("{column} under {fault}, seed {seed}: {error}"))
}

fn every_fault_comes_to_what_is_foretold(column: Column) {
    for fault in Fault::ALL {
        for seed in 1..=SEEDS {
            run(column, *fault, seed).check().unwrap_or_else(|wrong| panic!("{wrong}"));
        }
    }
}

#[test]
fn at_most_once_loses_what_is_foretold() {
    every_fault_comes_to_what_is_foretold(Column::AtMostOnce);
}

#[test]
fn at_least_once_doubles_and_reorders_what_is_foretold() {
    every_fault_comes_to_what_is_foretold(Column::AtLeastOnce);
}

#[test]
fn exactly_once_loses_doubles_and_reorders_nothing() {
    every_fault_comes_to_what_is_foretold(Column::ExactlyOnce);
}

#[test]
fn pipelines_lose_double_and_reorder_nothing() {
    every_fault_comes_to_what_is_foretold(Column::Transactional);
}

#[test]
fn a_seed_repeats_its_counts_and_its_times() {
    for column in [Column::AtLeastOnce, Column::ExactlyOnce, Column::Transactional] {
        for fault in [Fault::AckLost, Fault::BrokerKilledAfterStore, Fault::ZombieProducer] {
            let [mut first, mut second] = [0, 1].map(|_| run(column, fault, 4711));
            // All but the time that this machine took.
            (first.seconds, second.seconds) = (0.0, 0.0);
            assert_eq!(format!("{first:?}"), format!("{second:?}"));
            assert_ne!(format!("{first:?}"), format!("{:?}", run(column, fault, 4712)));
        }
    }
}

#[test]
fn a_cell_that_shows_nothing_or_something_else_fails() {
    let calm = Experiment { messages: 100, rate: 1e-9, ..experiment(Fault::AckLost, 1) };
    let cell = calm.cell(Column::AtLeastOnce, Fault::AckLost).expect("it runs");
    let wrong = cell.check().expect_err("nothing has happened");
    assert!(wrong.contains("has not struck once"), "{wrong}");

    let cell = run(Column::AtLeastOnce, Fault::AckLost, 1);
    let mut other = cell.clone();
    other.measured.duplicated += 1;
    let wrong = other.check().expect_err("one more than foretold");
    assert!(wrong.contains("and predicted"), "{wrong}");
    let mut without = cell;
    (without.measured.duplicated, without.predicted.duplicated) = (0, 0);
    let wrong = without.check().expect_err("lost acknowledgements double");
    assert!(wrong.contains("there is no message doubled: a broken experiment"), "{wrong}");
}

#[test]
fn impossible_cells_are_refused_with_their_limits() {
    let cell = |experiment: Experiment| {
        let refused = experiment.cell(Column::AtMostOnce, Fault::None).expect_err("impossible");
        assert!(matches!(refused, LoadError::Workload(_)), "{refused}");
        refused.to_string()
    };
    let usual = || experiment(Fault::None, 1);
    assert_eq!(cell(Experiment { messages: 0, ..usual() }), "messages is 0: it must be from 1 to 10000000");
    let wanted = "the rate of faults is 0.6: it must be above 0 and at most 0.5";
    assert_eq!(cell(Experiment { rate: 0.6, ..usual() }), wanted);
    assert!(cell(Experiment { rate: f64::NAN, ..usual() }).contains("NaN"));
}
