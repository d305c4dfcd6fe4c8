//! A segment as a file: prepared, mapped, sealed, read.

mod cut;

use super::{
    Shape,
    backing::{Backing, Spare},
    index::Index,
    residents::{Resident, Residents},
    scan::{Frame, Visible},
    tail::{FIRST_UNIT, Place, Tail},
};
use crate::{
    format::{
        SEGMENT_HEADER_BYTES,
        segment_header::{Seal, SealReason, SegmentHeader},
    },
    options::Options,
    raw::{limit, mapping::Mapping, sys, window::Window},
};
use std::{
    fs::{self, File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

/// A segment's name in its partition's directory.
pub(crate) fn file_name(number: u64, suffix: &str) -> String {
    format!("{number:016}.{suffix}")
}

/// Suffix of a segment that holds frames.
pub(crate) const USED: &str = "seg";
/// Suffix of a segment that is prepared and not begun.
pub(crate) const READY: &str = "ready";
/// Suffix of a segment that was dropped, and waits to be used again. Of no meaning to a reopening, which removes it.
pub(crate) const SPARE: &str = "spare";

/// A flush of so much is handed to the device piece by piece.
const STREAM_BYTES_MIN: usize = 4 << 20;

/// One segment of a partition. Readers and slices keep it, and its mapping, alive.
pub(crate) struct Segment {
    header: SegmentHeader,
    /// Of the seal that the file has; 0 for none.
    generation: u64,
    /// Prepared by this opening of the log: every block of the file is there, and no reader of an earlier opening can hold
    /// it. Only such a file is used again.
    prepared_here: bool,
    shape: Shape,
    path: Mutex<PathBuf>,
    /// Set by whoever prepares or maps it; taken only while nobody else holds the segment.
    backing: OnceLock<Backing>,
    /// Where it is entered when it is mapped, once it is in a chain.
    residence: OnceLock<Residence>,
    /// When it was used last, by the clock of the residents. Stored by whoever asks for the window, read by them.
    used: AtomicU64,
    /// Where frames are claimed, if this process prepared the segment.
    tail: Option<Arc<Tail>>,
    visible: Visible,
    seal: OnceLock<Seal>,
    /// Units before which every frame's checksum has been compared by a reader. Raised by readers that verify once.
    verified: AtomicUsize,
    index: Mutex<Index>,
    /// Its name is durable in its directory. Set by the committer's first flush, or when it was prepared for flushes.
    named: AtomicBool,
    /// Another value stands for this segment now, with the file's pages in the place of memory of its own. Set once by
    /// upkeep, read by readers before each frame.
    superseded: AtomicBool,
}

/// Who keeps a segment, and all that are mapped.
pub(crate) struct Residence {
    pub(crate) resident: Resident,
    pub(crate) residents: Arc<Residents>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Segment {
    /// Allocates, maps and touches a segment file, or makes one of a spare. No store into it will fault or fail.
    pub(crate) fn prepare(
        directory: &Path,
        header: SegmentHeader,
        spare: Option<Spare>,
        options: &Options,
    ) -> io::Result<Self> {
        let path = directory.join(file_name(header.number, READY));
        let prepared = Backing::prepare(&path, &header, spare, options);
        if prepared.is_err() {
            // Half a file is of no use to anyone, and its room may be what is missing.
            let _ = fs::remove_file(&path);
        }
        let backing = prepared.map_err(limit::named)?;
        let shape = Shape::of(&header);
        // SAFETY: the segment owns the memory. Claims through this window come from the tail alone, which keeps the rules
        // of `tail.rs`: a segment with an unpublished claim is not sealed, and only sealed segments are dropped.
        let window = unsafe { backing.mapping().window() };
        Ok(Self {
            header,
            generation: 0,
            prepared_here: true,
            shape,
            path: Mutex::new(path),
            backing: OnceLock::from(backing),
            residence: OnceLock::new(),
            used: AtomicU64::new(0),
            tail: Some(Arc::new(Tail::prepared(shape, window))),
            visible: Visible::none(),
            seal: OnceLock::new(),
            verified: AtomicUsize::new(0),
            index: Mutex::new(Index::new()),
            named: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
        })
    }

    /// A segment that was used before this process opened the log, with the seal that ends it.
    pub(crate) fn sealed(path: PathBuf, header: SegmentHeader, seal: Seal) -> Self {
        Self { seal: OnceLock::from(seal), ..Self::unsealed(path, header) }
    }

    /// A segment that was used before this process opened the log, and whose end is not yet known.
    pub(crate) fn unsealed(path: PathBuf, header: SegmentHeader) -> Self {
        Self {
            header,
            generation: 0,
            prepared_here: false,
            shape: Shape::of(&header),
            path: Mutex::new(path),
            backing: OnceLock::new(),
            residence: OnceLock::new(),
            used: AtomicU64::new(0),
            tail: None,
            visible: Visible::none(),
            seal: OnceLock::new(),
            verified: AtomicUsize::new(0),
            index: Mutex::new(Index::new()),
            named: AtomicBool::new(false),
            superseded: AtomicBool::new(false),
        }
    }

    /// The same segment as if it had no seal: for one whose frames do not go as far as its seal says.
    pub(crate) fn reopened(&self) -> Self {
        let generation = self.seal.get().map_or(0, |seal| seal.generation);
        Self { generation, ..Self::unsealed(self.path(), self.header) }
    }

    pub(crate) const fn shape(&self) -> &Shape {
        &self.shape
    }

    pub(crate) const fn number(&self) -> u64 {
        self.shape.number
    }

    /// Bytes of the file.
    pub(crate) const fn bytes(&self) -> u64 {
        self.header.bytes
    }

    /// Position behind the file's last byte.
    pub(crate) const fn end_of_file(&self) -> u64 {
        self.header.base_position + self.header.bytes
    }

    pub(crate) fn path(&self) -> PathBuf {
        locked(&self.path).clone()
    }

    pub(crate) fn tail(&self) -> Option<&Arc<Tail>> {
        self.tail.as_ref()
    }

    pub(crate) fn seal(&self) -> Option<&Seal> {
        self.seal.get()
    }

    /// Offset of the first record; none while the segment stands ready.
    pub(crate) fn base_offset(&self) -> Option<u64> {
        match (self.seal.get(), &self.tail) {
            (Some(seal), _) => Some(seal.base_offset),
            (None, Some(tail)) => tail.opened(),
            (None, None) => None,
        }
    }

    /// The window for reading, mapping the file if nobody has.
    pub(crate) fn window(&self) -> io::Result<Window> {
        let backing = match self.backing.get() {
            Some(backing) => backing,
            None => self.map()?,
        };
        if let Some(residence) = self.residence.get() {
            let now = residence.residents.now();
            if self.used.load(Ordering::Relaxed) != now {
                self.used.store(now, Ordering::Relaxed);
            }
        }
        // SAFETY: this segment owns the memory and outlives what is read through it: readers and slices hold the segment
        // by reference count. Nothing is claimed through a window that `prepare` did not give to a tail.
        Ok(unsafe { backing.mapping().window() })
    }

    #[cold]
    fn map(&self) -> io::Result<&Backing> {
        let file = File::open(self.path()).map_err(limit::named)?;
        let mapping = match (Mapping::readable(&file, self.header.bytes), self.residence.get()) {
            (Err(error), Some(residence)) if limit::is_of_mappings(&error) => {
                residence.residents.give_up_all();
                Mapping::readable(&file, self.header.bytes)
            }
            (mapping, _) => mapping,
        };
        let mapping = mapping.map_err(limit::named)?;
        let mut is_first = false;
        let backing = self.backing.get_or_init(|| {
            is_first = true;
            Backing::Mapped(mapping)
        });
        if is_first {
            self.enter_residents();
        }
        Ok(backing)
    }

    /// Says who keeps this segment. Before it is shared.
    pub(crate) fn reside(&self, residence: Residence) {
        let _ = self.residence.set(residence);
    }

    /// Enters this segment among those that are mapped. Not with a lock of who keeps it.
    pub(crate) fn enter_residents(&self) {
        if let Some(Residence { resident, residents }) = self.residence.get() {
            self.used.store(residents.now(), Ordering::Relaxed);
            residents.enter(Resident { home: resident.home.clone(), number: resident.number });
        }
    }

    /// When it was used last, if it is mapped.
    pub(crate) fn last_use(&self) -> Option<u64> {
        self.backing.get().map(|_| self.used.load(Ordering::Relaxed))
    }

    /// Takes the mapping of a sealed segment, and with it the tail, which would lead into it.
    pub(crate) fn unmap(&mut self) -> Option<(Backing, Option<Arc<Tail>>)> {
        self.seal.get()?;
        let backing = self.backing.take()?;
        Some((backing, self.tail.take()))
    }

    /// Units behind which there is no frame of this segment, whatever the bytes there look like.
    pub(crate) fn limit(&self) -> usize {
        self.seal.get().map_or(self.shape.capacity, |seal| seal.end_units as usize)
    }

    /// How far the frames are published without a gap.
    pub(crate) fn visible(&self) -> io::Result<Place> {
        match self.seal.get() {
            Some(seal) => Ok(Place { records: seal.records, units: seal.end_units as usize }),
            None => Ok(self.visible.walk(&self.window()?, &self.shape)),
        }
    }

    /// Whether every unit is part of a published frame or of padding.
    pub(crate) fn is_full(&self) -> bool {
        self.seal.get().is_some() || self.visible().is_ok_and(|place| place.units == self.shape.capacity)
    }

    /// Whether somebody has seen that every unit is part of a published frame or of padding: without a look.
    pub(crate) fn is_known_full(&self) -> bool {
        self.visible.known().units == self.shape.capacity
    }

    /// Bytes of a frame's body. The frame must have been found in this segment.
    #[inline]
    pub(crate) fn body<'a>(&'a self, window: &Window, frame: &Frame) -> &'a [u8] {
        // SAFETY: a `Frame` is only made by `scan::find`, which loaded the word that publishes these bytes; the mapping
        // lives as long as this segment is borrowed.
        unsafe { window.slice(frame.body_at(), frame.stored.body_bytes() as usize) }
    }

    /// Where a slice of a frame's body, got from `body`, lies in the file.
    pub(crate) fn position_in_file(&self, body: &[u8]) -> usize {
        let base = self.backing.get().map_or(0, |backing| backing.mapping().address());
        body.as_ptr().addr() - base
    }

    /// Bytes that `position_in_file` has placed.
    pub(crate) fn published(&self, at: usize, bytes: usize) -> &[u8] {
        let Some(backing) = self.backing.get() else { return &[] };
        // SAFETY: the memory is never replaced, and lives as long as this segment is borrowed.
        let window = unsafe { backing.mapping().window() };
        // SAFETY: `at` came from a slice of published bytes of this very mapping; as above.
        unsafe { window.slice(at, bytes) }
    }

    /// Whether a frame's checksum agrees with its bytes. The body of a void frame is nobody's.
    #[inline(always)]
    pub(crate) fn verifies(&self, window: &Window, frame: &Frame) -> bool {
        let hash = match frame.stored.kind() {
            crate::format::frame::Kind::Void => 0,
            _ => xxhash_rust::xxh3::xxh3_64(self.body(window, frame)),
        };
        frame.checksum_of(window, &self.shape, hash) == frame.checksum
    }

    /// Whether a frame was verified by an earlier reader.
    #[inline]
    pub(crate) fn was_verified(&self, frame: &Frame) -> bool {
        // Relaxed: the mark says something of bytes that were published long before, and publishes nothing itself.
        frame.unit < self.verified.load(Ordering::Relaxed)
    }

    /// Notes that a frame was verified. The mark moves only over frames without a gap.
    #[inline]
    pub(crate) fn note_verified(&self, frame: &Frame) {
        if self.verified.load(Ordering::Relaxed).max(FIRST_UNIT) >= frame.unit {
            self.verified.fetch_max(frame.unit + frame.units, Ordering::Relaxed);
        }
    }

    /// Looks a place up in the index, after scanning what has come since the last look.
    pub(crate) fn seek(&self, floor: impl FnOnce(&Index) -> Place) -> io::Result<Place> {
        let window = self.window()?;
        let mut index = locked(&self.index);
        index.extend(&window, &self.shape, self.limit());
        self.visible.raise(index.scanned());
        Ok(floor(&index))
    }

    /// Whether every unit is part of a published frame or of padding, as `is_full`; brings the index as far in the same
    /// pass. Another pass takes memory's time from the appenders, who have just written the next segment's frames there.
    pub(crate) fn is_full_and_indexed(&self) -> io::Result<bool> {
        Ok(self.seek(Index::scanned)?.units == self.shape.capacity)
    }

    /// Time of the latest record.
    pub(crate) fn latest_ms(&self) -> io::Result<u64> {
        if let Some(seal) = self.seal.get() {
            return Ok(seal.latest_ms);
        }
        let window = self.window()?;
        let mut index = locked(&self.index);
        index.extend(&window, &self.shape, self.limit());
        Ok(self.shape.prepared_ms + u64::from(index.latest()))
    }

    /// Ends the segment at `end`, for good.
    pub(crate) fn write_seal(
        &self,
        end: Place,
        base_offset: u64,
        latest_ms: u64,
        durable: u64,
        reason: SealReason,
    ) -> io::Result<()> {
        let seal = Seal {
            generation: self.generation + 1,
            end_units: end.units as u64,
            records: end.records,
            base_offset,
            latest_ms,
            durable,
            reason,
        };
        let file = OpenOptions::new().write(true).open(self.path())?;
        file.write_all_at(&seal.encode(self.shape.salt), seal.slot() as u64)?;
        if reason != SealReason::Full {
            file.sync_data()?;
            // What is behind the end will never be used. Whole blocks of it go back to the file system; where that cannot
            // be done it stays allocated, which harms nothing.
            let from = (end.units as u64 * 8).next_multiple_of(4096);
            let _ = sys::punch(&file, from, self.header.bytes);
        }
        let _ = self.seal.set(seal);
        Ok(())
    }

    /// Has the system begin to write the segment's seal, ahead of a sync.
    pub(crate) fn start_writing_seal(&self) {
        // What cannot be opened here says so when it is synced.
        if let Ok(file) = File::open(self.path()) {
            sys::start_writing_out(&file, 0, SEGMENT_HEADER_BYTES as u64);
        }
    }

    /// Gives the file the name of a segment that holds frames, if it does not have it.
    pub(crate) fn rename_to_used(&self) -> io::Result<()> {
        let mut path = locked(&self.path);
        let used = path.with_file_name(file_name(self.number(), USED));
        if *path != used {
            fs::rename(&*path, &used)?;
            *path = used;
        }
        Ok(())
    }

    /// Makes the bytes in `[from, to)` durable.
    pub(crate) fn flush(&self, from: usize, to: usize) -> io::Result<()> {
        if let Some(backing) = self.backing.get() {
            if let Backing::Mapped(mapping) = backing
                && to - from >= STREAM_BYTES_MIN
                && let Ok(file) = File::open(self.path())
            {
                mapping.write_out(&file, from, to);
            }
            return backing.flush(from, to);
        }
        // Sealed and unmapped: what is not on the device is in the system's cache.
        match File::open(self.path()) {
            Ok(file) => file.sync_data(),
            // Retention has dropped it meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(limit::named(error)),
        }
    }

    /// What is stored in and flushed from, if this process prepared the segment or has mapped it.
    pub(crate) fn backing(&self) -> Option<&Backing> {
        self.backing.get()
    }

    /// Whether the first flush has to sync the directory too.
    pub(crate) fn needs_its_name_synced(&self) -> bool {
        !self.named.load(Ordering::Relaxed)
    }

    /// The directory was synced.
    pub(crate) fn name_is_synced(&self) {
        self.named.store(true, Ordering::Relaxed);
    }

    /// The same segment, sealed, read from its file.
    pub(crate) fn handed_over(&self) -> Option<Self> {
        let seal = *self.seal.get()?;
        let sealed = Self::sealed(self.path(), self.header, seal);
        // What a seal has cut short has given its blocks back.
        Some(Self { prepared_here: self.prepared_here && seal.reason == SealReason::Full, ..sealed })
    }

    /// Tells readers that another value stands for this segment now.
    pub(crate) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
    }

    #[inline]
    pub(crate) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Relaxed)
    }

    /// Whether appends go to memory of its own, which is not the file's.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self.backing.get(), Some(Backing::Direct { .. }))
    }

    /// Takes a segment that nobody else holds apart, for another use.
    pub(crate) fn into_spare(self, direct: bool) -> Option<Spare> {
        self.prepared_here.then_some(())?;
        let path = self.path.into_inner().unwrap_or_else(PoisonError::into_inner);
        let file = File::open(&path).ok()?;
        // A reader in another process holds a shared lock on the segment it reads.
        if !sys::try_lock_exclusive(&file).ok()? {
            return None;
        }
        let mapping = if self.tail.is_some() {
            let mapping = self.backing.into_inner().and_then(Backing::into_mapping)?;
            // Pages that the system has taken back would be read from the device before they are overwritten, which costs
            // more than a new file.
            Some(mapping).filter(Mapping::is_resident)
        } else {
            // A mapping made for reading cannot be appended to: the file alone is of use, in the direct window.
            None
        };
        (mapping.is_some() || direct).then_some(())?;
        let spare = path.with_extension(SPARE);
        fs::rename(&path, &spare).ok()?;
        // Only now: whoever takes its lock and then still finds the segment under its name has it before this did.
        sys::unlock(&file).ok()?;
        Some(Spare { path: spare, bytes: self.header.bytes, mapping })
    }
}
