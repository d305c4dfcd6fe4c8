//! The table of what each delivery costs.

use super::columns::{Table, median, number, payload, ratio, scaled, time, time_range};
use crate::result::Figure;

pub(super) fn cost(text: &mut String, figures: &[&Figure]) {
    let mut table = Table::new([
        "payload",
        "delivery",
        "acks lost",
        "message",
        "min..max",
        "rate",
        "x a.l.o.",
        "p50",
        "p99",
        "p99.9",
        "x p99",
    ]);
    let us = |ns: Option<u64>| ns.map_or("-".to_owned(), |ns| number(ns as f64 / 1e3));
    for figure in figures {
        table.row([
            payload(figure),
            figure.delivery.map_or(String::new(), |delivery| delivery.to_string()),
            figure.rate.map_or(String::new(), |rate| format!("{}%", (rate * 1e4).round() / 100.0)),
            time(figure.ns_per_message),
            time_range(figure.ns_per_message),
            median(figure.messages_per_second.map(|rate| scaled(rate, 1e-6)), "M/s"),
            ratio(figure.ratio_to_at_least_once),
            us(figure.latency_ns.map(|times| times.p50)),
            us(figure.latency_ns.map(|times| times.p99)),
            us(figure.latency_ns.map(|times| times.p999)),
            ratio(figure.p99_ratio_to_at_least_once),
        ]);
    }
    table.write(
        text,
        "Delivery, in process: producer, link without a wire, broker, log; 5 messages in flight, visible.\n\
         x a.l.o. is the throughput against at least once, x p99 the p99 against it; p50 to p99.9 in us, of\n\
         messages waited for one by one, transactional of transactions, each of which consumes and produces\n\
         many. A timeout is not slept through: its clock jumps.",
    );
}
