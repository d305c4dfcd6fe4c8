//! The table of transactions.

use super::columns::{Table, number, or_dash, payload, ratio, time, time_range};
use crate::result::Figure;
use crate::workload::{Acknowledge, Window};

pub(super) fn committed(text: &mut String, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "records",
        "partitions",
        "committed",
        "window",
        "a record",
        "min..max",
        "without",
        "x off",
        "commit p50",
        "p99",
    ]);
    for figure in figures {
        let us = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| format!("{} us", number(ns as f64 / 1e3)));
        table.row([
            payload(figure),
            or_dash(figure.records_per_transaction),
            or_dash(figure.partitions_per_transaction),
            figure.acknowledge.map_or("", Acknowledge::word).to_owned(),
            figure.window.map_or("", Window::word).to_owned(),
            time(figure.ns_per_append),
            time_range(figure.ns_per_append),
            time(figure.off_ns_per_append),
            ratio(figure.ratio_to_off),
            us(figure.commit_ns.map(|times| times.p50)),
            us(figure.commit_ns.map(|times| times.p99)),
        ]);
    }
    table.write(
        text,
        "Transactions of a session, one after the other.\n\
         A record's share of its transaction, commit and wait included, beside the same records outside of\n\
         one, waited for as often; x off is the ratio of the two.",
    );
}
