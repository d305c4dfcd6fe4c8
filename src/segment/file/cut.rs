//! A segment whose end was cut off.

use super::{Place, Seal, SealReason, Segment};
use std::{fs::OpenOptions, io, os::unix::fs::FileExt};

impl Segment {
    /// The same segment, read from its file, as if it had ended at `end`. Its file is not used again: this one's memory may be
    /// the same.
    pub(crate) fn cut(&self, end: Place, base_offset: u64, latest_ms: u64, durable: u64) -> Self {
        let seal = Seal {
            generation: self.seal.get().map_or(self.generation, |seal| seal.generation) + 1,
            end_units: end.units as u64,
            records: end.records,
            base_offset,
            latest_ms,
            durable,
            reason: SealReason::Cut,
        };
        Self::sealed(self.path(), self.header, seal)
    }

    /// Writes the seal that this was made with, durably. What is behind the end stays as it is: somebody may be reading it.
    pub(crate) fn store_seal(&self) -> io::Result<()> {
        let Some(seal) = self.seal.get() else { return Ok(()) };
        let file = OpenOptions::new().write(true).open(self.path())?;
        file.write_all_at(&seal.encode(self.shape.salt), seal.slot() as u64)?;
        file.sync_data()
    }
}
