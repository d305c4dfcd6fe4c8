//! What tells one figure from another, and how it is called.

use crate::result::Figure;
use crate::units;

impl Figure {
    /// All that a figure is told by, as one line: equal in two runs if and only if the same was measured.
    #[must_use]
    pub fn key(&self) -> String {
        let mut key = self.workload.clone();
        let mut add = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                key += &format!(" {name}={value}");
            }
        };
        let whole = |value: Option<u64>| value.map(|value| value.to_string());
        let real = |value: Option<f64>| value.map(|value| value.to_string());
        add("idempotence", self.idempotence.clone());
        add("payload_bytes", real(self.payload_bytes));
        add("payload_file", self.payload_file.clone());
        add("payload_mix", self.payload_mix.clone());
        add("batch", whole(self.batch));
        add("threads", whole(self.threads));
        add("producers", whole(self.producers));
        add("partitions", whole(self.partitions));
        add("readers", whole(self.readers));
        add("reading", self.reading.clone().filter(|reading| reading != "polling"));
        add("skew", real(self.skew));
        add("duplicates", real(self.duplicates));
        add("acknowledge", self.acknowledge.clone());
        add("window", self.window.clone());
        add("loop", self.pace.clone());
        add("rate_per_second", real(self.rate_per_second));
        add("verify", self.verify.clone());
        add("isolation", self.isolation.clone());
        add("records_per_transaction", whole(self.records_per_transaction));
        add("partitions_per_transaction", whole(self.partitions_per_transaction));
        add("delivery", self.delivery.clone());
        add("fault", self.fault.clone());
        add("rate", real(self.rate));
        key
    }

    /// Idempotence, and the producers where there are more than threads.
    #[must_use]
    pub fn series(&self) -> String {
        let mut series = self.delivery.as_deref().or(self.idempotence.as_deref()).unwrap_or("-").replace('-', " ");
        if let Some(producers) = self.producers
            && producers > self.threads.unwrap_or(1)
        {
            series += &format!(", {} producers", units::number(producers as f64));
        }
        series
    }

    /// What the series does besides: retries, skew.
    #[must_use]
    pub fn extras(&self) -> String {
        let mut extras = String::new();
        if let Some(share) = self.duplicates.filter(|share| *share > 0.0) {
            extras += &format!(", {} % retries", units::number(share * 100.0));
        }
        if let Some(skew) = self.skew {
            extras += &format!(", skew {}", units::number(skew));
        }
        if let Some(readers) = self.readers {
            extras += &format!(", {readers} reader{}", plural(readers));
            if let Some(reading) = self.reading.as_deref().filter(|reading| *reading != "polling") {
                extras += &format!(", {reading}");
            }
        }
        if let Some((fault, share)) = self.fault.as_ref().zip(self.rate.filter(|share| *share > 0.0)) {
            extras += &format!(", {} % {}", units::number(share * 100.0), fault.replace('-', " "));
        }
        if let Some(records) = self.records_per_transaction {
            extras += &format!(", {} a transaction", units::number(records as f64));
        }
        extras
    }

    /// Bytes of a record, and the records of an append.
    #[must_use]
    pub fn payload(&self) -> String {
        let about = if self.payload_file.is_some() || self.payload_mix.is_some() { "about " } else { "" };
        let one = self.payload_bytes.map_or("-".to_owned(), |bytes| format!("{about}{}", units::payload(bytes)));
        match self.batch {
            Some(batch) if batch > 1 => format!("{batch} × {one}"),
            _ => one,
        }
    }

    /// Threads and partitions, the level that is acknowledged, and the window.
    #[must_use]
    pub fn conditions(&self) -> String {
        let mut parts = Vec::new();
        if let Some(threads) = self.threads {
            parts.push(format!("{threads} thread{}", plural(threads)));
        }
        if let Some(partitions) = self.partitions.filter(|partitions| *partitions > 1) {
            parts.push(format!("{partitions} partitions"));
        }
        parts.extend(self.acknowledge.clone());
        parts.extend(self.window.as_ref().map(|window| format!("{window} window")));
        parts.extend(self.rate_per_second.map(units::rate));
        parts.join(", ")
    }

    /// All of it in words.
    #[must_use]
    pub fn name(&self) -> String {
        let workload = match (self.workload.as_str(), self.pace.as_deref()) {
            ("append", Some("open")) => "latency",
            (other, _) => other,
        };
        let mut verify = self.verify.as_ref().map_or(String::new(), |verify| format!(", verified {verify}"));
        if self.isolation.as_deref() == Some("read-committed") {
            verify += ", committed";
        }
        let conditions = self.conditions();
        let between = if conditions.is_empty() { "" } else { ", " };
        format!("{workload}: {}, {}{}{verify}{between}{conditions}", self.payload(), self.series(), self.extras())
    }

    /// Waited for until a flush covers it.
    #[must_use]
    pub fn is_durable(&self) -> bool {
        self.acknowledge.as_deref() == Some("durable")
    }

    /// Whether its values are to be taken at their word; else, why not.
    #[must_use]
    pub fn mark(&self) -> Option<&'static str> {
        match (self.verified, self.saturated) {
            (false, _) => Some("not verified"),
            (true, Some(true)) => Some("saturated"),
            _ => None,
        }
    }
}

fn plural(number: u64) -> &'static str {
    if number == 1 { "" } else { "s" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_told_by_its_keys_and_named_in_words() {
        let figure = Figure {
            workload: "append".to_owned(),
            idempotence: Some("by-id".to_owned()),
            payload_bytes: Some(100.0),
            batch: Some(10),
            threads: Some(1),
            producers: Some(1_024),
            duplicates: Some(0.01),
            acknowledge: Some("written".to_owned()),
            window: Some("mapped".to_owned()),
            pace: Some("closed".to_owned()),
            verified: true,
            ..Figure::default()
        };
        assert_eq!(
            figure.name(),
            "append: 10 × 100 B, by id, 1,024 producers, 1 % retries, 1 thread, written, mapped window"
        );
        let other = Figure { batch: Some(100), ..figure.clone() };
        assert_ne!(figure.key(), other.key());
        assert_eq!(figure.mark(), None);
        assert_eq!(Figure { verified: false, saturated: Some(true), ..figure.clone() }.mark(), Some("not verified"));
        assert_eq!(Figure { saturated: Some(true), ..figure }.mark(), Some("saturated"));
    }

    /// They used to have one key, all of them: a comparison took the first for each of the others.
    #[test]
    fn deliveries_are_told_apart_by_what_they_are_and_what_goes_wrong() {
        let figure = |delivery: &str, rate: f64| Figure {
            workload: "delivery".to_owned(),
            payload_bytes: Some(100.0),
            delivery: Some(delivery.to_owned()),
            fault: Some(if rate > 0.0 { "ack-lost" } else { "none" }.to_owned()),
            rate: Some(rate),
            acknowledge: Some("visible".to_owned()),
            ..Figure::default()
        };
        let all = [figure("at-least-once", 0.0), figure("exactly-once", 0.0), figure("exactly-once", 0.01)];
        assert_eq!(all[0].name(), "delivery: 100 B, at least once, visible");
        assert_eq!(all[2].name(), "delivery: 100 B, exactly once, 1 % ack lost, visible");
        assert!(all[0].key() != all[1].key() && all[1].key() != all[2].key());
    }
}
