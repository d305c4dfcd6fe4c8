//! Numbers as people read them: three digits that matter, and a unit.

/// Three digits that matter; thousands are set apart.
pub(crate) fn number(value: f64) -> String {
    let size = value.abs();
    if size < 9.995 {
        let text = format!("{value:.2}");
        return text.trim_end_matches('0').trim_end_matches('.').to_owned();
    }
    if size < 99.95 {
        return format!("{value:.1}").trim_end_matches(".0").to_owned();
    }
    grouped(value.round())
}

fn grouped(value: f64) -> String {
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time of so many nanoseconds.
pub(crate) fn time(ns: f64) -> String {
    scaled(ns, &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")])
}

/// A count, shortened.
pub(crate) fn count(value: f64) -> String {
    scaled(value, &[(1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G")])
}

/// So many a second.
pub(crate) fn rate(per_second: f64) -> String {
    scaled(per_second, &[(1.0, "/s"), (1e3, "k/s"), (1e6, "M/s"), (1e9, "G/s")])
}

/// Bytes a second, or bytes, in powers of ten.
pub(crate) fn bytes(value: f64) -> String {
    scaled(value, &[(1.0, "B"), (1e3, "KB"), (1e6, "MB"), (1e9, "GB"), (1e12, "TB")])
}

/// A record's size, as it was asked for.
pub(crate) fn payload(bytes: f64) -> String {
    match bytes {
        bytes if bytes >= 1024.0 && bytes % 1024.0 == 0.0 => format!("{} KiB", number(bytes / 1024.0)),
        bytes => format!("{} B", number(bytes)),
    }
}

fn scaled(value: f64, units: &[(f64, &str)]) -> String {
    let fits = |(factor, _): &&(f64, &str)| value.abs() >= *factor * 0.9995;
    let (factor, unit) = units.iter().rev().find(fits).or(units.first()).copied().unwrap_or((1.0, ""));
    let space = if unit.is_empty() || unit.starts_with('/') { "" } else { " " };
    format!("{}{space}{unit}", number(value / factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_digits_that_matter_and_a_unit() {
        assert_eq!([0.0, 1.5, 12.34, 99.96, 1_234_567.0].map(number), ["0", "1.5", "12.3", "100", "1,234,567"]);
        assert_eq!([52.0, 1_500.0, 999_600.0, 2e9].map(time), ["52 ns", "1.5 µs", "1 ms", "2 s"]);
        assert_eq!([200_000.0, 12.0].map(rate), ["200 k/s", "12/s"]);
        assert_eq!([100.0, 1024.0, 1_500.0].map(payload), ["100 B", "1 KiB", "1,500 B"]);
        assert_eq!(bytes(2.1e9), "2.1 GB");
    }
}
