//! What an append stores: one record's bytes, or a batch gathered from slices.

use crate::{
    format::{RECORD_LENGTH_BYTES, frame::Kind},
    raw::window::Claim,
};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

/// The body of a frame, before it has a place.
pub(crate) trait Body {
    const KIND: Kind;

    /// Records in it.
    fn records(&self) -> usize;

    /// Bytes of the body as stored; `usize::MAX` if it has no such length.
    fn bytes(&self) -> usize;

    /// The hash, where it is best computed before a place is reserved.
    fn hash_ahead(&self) -> u64;

    /// Copies the body to `at` of a claim and returns its hash.
    fn write(&self, claim: &mut Claim, at: usize, ahead: u64) -> u64;

    /// The hash, without a place to write to: what a stored copy of this body would have.
    fn hash(&self) -> u64;

    /// The bytes of the record with that index.
    fn record(&self, index: usize) -> &[u8];
}

/// One record.
pub(crate) struct Single<'a>(pub(crate) &'a [u8]);

impl Body for Single<'_> {
    const KIND: Kind = Kind::Record;

    #[inline]
    fn records(&self) -> usize {
        1
    }

    #[inline]
    fn bytes(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn hash_ahead(&self) -> u64 {
        xxh3_64(self.0)
    }

    #[inline]
    fn write(&self, claim: &mut Claim, at: usize, ahead: u64) -> u64 {
        claim.write(at, self.0);
        ahead
    }

    fn hash(&self) -> u64 {
        xxh3_64(self.0)
    }

    fn record(&self, _index: usize) -> &[u8] {
        self.0
    }
}

/// A batch, gathered from the caller's slices. Slices and nothing more general, so that no code of the caller's runs, and
/// no length changes, between the claim and its publication.
pub(crate) struct Gathered<'a>(pub(crate) &'a [&'a [u8]]);

impl Body for Gathered<'_> {
    const KIND: Kind = Kind::Batch;

    #[inline]
    fn records(&self) -> usize {
        self.0.len()
    }

    #[inline]
    fn bytes(&self) -> usize {
        let mut bytes = self.0.len().saturating_mul(RECORD_LENGTH_BYTES);
        for record in self.0 {
            bytes = bytes.saturating_add(record.len());
        }
        bytes
    }

    #[inline]
    fn hash_ahead(&self) -> u64 {
        // Hashed in place, in one pass over what was gathered, rather than slice by slice.
        0
    }

    #[inline]
    fn write(&self, claim: &mut Claim, at: usize, _ahead: u64) -> u64 {
        let mut to = at;
        for record in self.0 {
            claim.write(to, &(record.len() as u32).to_le_bytes());
            claim.write(to + RECORD_LENGTH_BYTES, record);
            to += RECORD_LENGTH_BYTES + record.len();
        }
        claim.read(at, to - at, xxh3_64)
    }

    fn hash(&self) -> u64 {
        let mut hash = Xxh3::new();
        for record in self.0 {
            hash.update(&(record.len() as u32).to_le_bytes());
            hash.update(record);
        }
        hash.digest()
    }

    fn record(&self, index: usize) -> &[u8] {
        self.0[index]
    }
}

/// Why a body cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    Empty,
    Bytes { bytes: usize, limit: usize },
}

/// A body that fits a frame, with its lengths: measured once, since a batch has to be walked for them.
pub(crate) struct Fitting<'a, B> {
    pub(crate) body: &'a B,
    pub(crate) bytes: usize,
    /// At least 1.
    pub(crate) records: u32,
}

/// Checks a body against the largest body that a frame of this partition can hold.
#[inline]
pub(crate) fn fit<B: Body>(body: &B, limit: usize) -> Result<Fitting<'_, B>, Unfit> {
    let bytes = body.bytes();
    if bytes > limit {
        return Err(Unfit::Bytes { bytes, limit });
    }
    match body.records() {
        0 => Err(Unfit::Empty),
        // Fits: a record takes at least 4 bytes of a frame.
        records => Ok(Fitting { body, bytes, records: records as u32 }),
    }
}
