//! Sizes with their shares, as people write them.

/// Bytes of a record, and its share.
pub(super) type Mix = Vec<(usize, f64)>;

/// `64:70,1024:29,16384:1`.
pub(super) fn parse(text: &str) -> Result<Mix, String> {
    let one = |part: &str| {
        let (bytes, share) = part.split_once(':')?;
        Some((bytes.trim().parse().ok()?, share.trim().parse().ok()?))
    };
    let wrong = |part: &str| format!("\"{part}\" is no size with a share: 1024:29 is");
    text.split(',').map(|part| one(part).ok_or_else(|| wrong(part))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mix_is_sizes_with_shares() {
        assert_eq!(parse("64:70, 1024:29.5"), Ok(vec![(64, 70.0), (1024, 29.5)]));
        for wrong in ["", "64", "64:", ":1", "64:70,,", "-1:5", "a:b"] {
            assert!(parse(wrong).is_err(), "{wrong} is taken for a mix");
        }
    }
}
