//! Numbers of bytes as people write them.

/// Bytes of `512`, `64KiB`, `20GiB`, `3 GB`.
pub(super) fn parse(text: &str) -> Result<u64, String> {
    const UNITS: &[(&str, u64)] = &[
        ("", 1),
        ("B", 1),
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("TiB", 1 << 40),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("TB", 1_000_000_000_000),
    ];
    let wrong = || format!("\"{text}\" is no number of bytes: 20GiB, 512MiB, 1GB and 4096 are");
    let digits = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let unit = unit.trim();
    let (_, factor) = UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit)).ok_or_else(wrong)?;
    match number.checked_mul(*factor) {
        None => Err(format!("{text} is more than 2^64 bytes")),
        Some(0) => Err("0 bytes: at least 1 is needed".to_owned()),
        Some(bytes) => Ok(bytes),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_and_limits() {
        assert_eq!(["4096", "64KiB", "20gib", "3 GB"].map(parse), [4096, 65_536, 20 << 30, 3_000_000_000].map(Ok));
        for wrong in ["", "GiB", "-1", "1.5GiB", "20 parsecs", "0", "99999999999TiB"] {
            assert!(parse(wrong).is_err(), "{wrong} is taken for a size");
        }
    }
}
