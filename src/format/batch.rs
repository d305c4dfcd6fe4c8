//! The body of a batch: its records one after the other, each `length: u32 | bytes`, without padding between them.

use super::RECORD_LENGTH_BYTES;

/// The records of a batch's body, in order. Stops at the first length that the body does not hold, so a body that was
/// never checked cannot make a reader leave it.
#[derive(Clone)]
pub(crate) struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    #[inline]
    pub(crate) const fn new(body: &'a [u8]) -> Self {
        Self { rest: body }
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.rest.split_first_chunk::<RECORD_LENGTH_BYTES>()?;
        let (record, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
        self.rest = rest;
        Some(record)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beyond_the_body_ends_the_batch() {
        let mut body = Vec::new();
        for record in [&b"one"[..], b"", b"three"] {
            body.extend((record.len() as u32).to_le_bytes());
            body.extend(record);
        }
        assert_eq!(Records::new(&body).collect::<Vec<_>>(), [&b"one"[..], b"", b"three"]);
        body.extend(u32::MAX.to_le_bytes());
        assert_eq!(Records::new(&body).count(), 3);
        assert_eq!(Records::new(&body[..5]).count(), 0);
    }
}
