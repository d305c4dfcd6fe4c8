//! The examples do what they say: each asserts it, and is run here.

use std::process::Command;

fn run(example: &str) -> String {
    let output = Command::new(env!("CARGO"))
        .args(["run", "--quiet", "--package", "oncelog", "--example", example])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{example}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn each_delivery_has_an_example_that_shows_what_it_loses_and_doubles() {
    assert_eq!(run("at_most_once"), "100 sent, 80 seen: 10 were lost by the link, 10 by a consumer\n");
    let told = "100 orders, 120 parcels: 10 acknowledgements were lost, and 10 parcels were not noted\n";
    assert_eq!(run("at_least_once"), told);
    assert!(run("exactly_once").starts_with("100 payments booked once each"));
}

#[test]
fn sessions_producers_by_id_tails_and_transactions_do_what_they_say() {
    assert!(run("session").starts_with("1000 payments stored once"));
    assert!(run("producers_by_id").starts_with("600 records stored"));
    assert!(run("tail").starts_with("the last one was"));
    assert!(run("pipeline").starts_with("100 orders, 100 invoices"));
    assert!(run("outside_store").starts_with("60 payments add up"));
}

#[test]
fn what_an_embedder_builds_does_what_it_says() {
    assert!(run("broker").starts_with("2000 records stored once"));
    assert!(run("async_tokio").starts_with("1280 records, each awaited until it was durable"));
    assert!(run("state_machine").starts_with("425 commands in four lives"));
    assert!(run("fill_in_place").starts_with("90 samples filled in place, 10 given up"));
}
