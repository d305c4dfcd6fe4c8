//! Records up to a number of bytes.

use super::{Batch, Reader, Record};
use crate::{
    error::FetchError,
    format::{RECORD_LENGTH_BYTES, frame::Kind},
};

/// Records of a reader, as many as their payloads have bytes of. What is not given stays to be read.
pub struct Fetch<'a> {
    reader: &'a mut Reader,
    left: usize,
    any: bool,
}

impl Reader {
    /// The next records, up to `max_bytes` bytes of payload together; the first one whatever its length is, so that there is
    /// always something to go on with.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let orders = log.partition("orders")?;
    /// orders.appender()?.append_batch(&[b"one", b"two", b"three"])?;
    ///
    /// let mut reader = orders.read_from(0)?;
    /// let mut fetch = reader.fetch(6);
    /// let mut answer = Vec::new();
    /// while let Some(record) = fetch.next()? {
    ///     answer.extend_from_slice(record.payload());
    /// }
    /// assert_eq!((answer.as_slice(), reader.next_offset()), (b"onetwo".as_slice(), 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn fetch(&mut self, max_bytes: usize) -> Fetch<'_> {
        Fetch { reader: self, left: max_bytes, any: false }
    }
}

impl Fetch<'_> {
    /// The next record, or none if the next one is not visible yet or has more bytes than are left.
    ///
    /// # Errors
    /// As for [`Reader::next`].
    #[expect(clippy::should_implement_trait, reason = "as for the reader's")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, FetchError> {
        let Some(Record { payload, offset, frame, index, .. }) = self.reader.next()? else { return Ok(None) };
        let (bytes, start) = (payload.len(), payload.as_ptr().addr());
        let Some(place) = &mut self.reader.place else { return Ok(None) };
        let body = place.segment.body(&place.window, &frame);
        let at = start - body.as_ptr().addr();
        if self.any && bytes > self.left {
            self.reader.next_offset = offset;
            match frame.stored.kind() {
                Kind::Batch => self.reader.batch = Some(Batch { frame, at: at - RECORD_LENGTH_BYTES, index }),
                _ => place.unit = frame.unit,
            }
            return Ok(None);
        }
        self.any = true;
        self.left = self.left.saturating_sub(bytes);
        let Some(place) = &self.reader.place else { return Ok(None) };
        let Some(payload) = place.segment.body(&place.window, &frame).get(at..at + bytes) else { return Ok(None) };
        Ok(Some(Record { place, payload, offset, frame, index }))
    }
}
