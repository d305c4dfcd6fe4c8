//! How far a log that is only looked at is read: as far as anything is published, or as what is on the device.

use super::reader::ReadOnlyReader;
use crate::{error::FetchError, raw::sys, stored::frames::Item};
use std::fs::File;

/// Up to which level a [`ReadOnlyReader`] reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Level {
    /// What is published in the files. In the mapped window this is what the writer's own readers see: it survives the
    /// writer being killed, and not a power cut. In the direct window it is what the committer has written, of which the
    /// last group may not be flushed yet.
    #[default]
    Visible,
    /// What survives a power cut, in both windows. This reader waits for the device itself before it hands out what is new,
    /// once for all that it finds: it asks nothing of the writer, and changes nothing in the files. In the mapped window
    /// that flush stalls those who append meanwhile, as any flush there does.
    Durable,
}

/// Up to where what was read is known to be on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OnDevice {
    segment: u64,
    units: usize,
}

impl ReadOnlyReader {
    /// Up to which level it reads from now on; [`Level::Visible`] at first.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # log.partition("orders")?.appender()?.append(b"hello")?;
    /// use oncelog::{Level, ReadOnlyLog};
    ///
    /// let seen = ReadOnlyLog::open(directory.path())?;
    /// let mut reader = seen.partition("orders").expect("the partition").read_from(0)?;
    /// reader.set_level(Level::Durable);
    /// assert_eq!(reader.next()?.expect("the record").payload(), b"hello");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub const fn set_level(&mut self, level: Level) {
        self.level = level;
    }

    /// Returns once the frames of the segment at hand are on the device up to `end`, and all that is before them; and,
    /// with one flush, those that are published behind by now.
    pub(super) fn wait_for_the_device(&mut self, end: usize) -> Result<(), FetchError> {
        let Some(place) = &mut self.place else { return Ok(()) };
        let number = place.segment.number;
        if self.on_device.is_some_and(|known| known.segment == number && end <= known.units) {
            return Ok(());
        }
        let mut ahead = end;
        if place.segment.seal.is_some() {
            ahead = place.segment.limit();
        } else {
            loop {
                match place.frames.at(ahead) {
                    Item::Frame(frame) => ahead += frame.units,
                    Item::Padding(units) => ahead += units,
                    Item::Nothing | Item::Broken(_) => break,
                }
            }
        }
        let path = &self.files.directory;
        let synced = match self.on_device {
            // What is before, in whichever file; the names of all of them; and what has decided about transactions.
            None => File::open(path).and_then(|directory| sys::sync_file_system(&directory)),
            Some(known) if known.segment != number => {
                File::open(path).and_then(|directory| directory.sync_all()).and_then(|()| place.frames.sync())
            }
            Some(_) => place.frames.sync(),
        };
        synced.map_err(|source| FetchError::Io { path: path.clone(), source })?;
        self.on_device = Some(OnDevice { segment: number, units: ahead });
        Ok(())
    }
}
