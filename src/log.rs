//! A log: a directory of partitions, opened as one.

use crate::{
    assembly::assemble,
    clock::Clock,
    committer::{Committer, one_flush_serves_all},
    core::{Core, Handle, Partitions, Source},
    directory::{PARTITIONS, create_partition, identify, list_partitions, lock, make_directory, refuse_a_stranger},
    error::{AppendError, CloseError, OpenError, PartitionError, RegisterError, io_at},
    ids::{Mode, ProducerId},
    names::{Content, PRODUCERS, check_partition_name},
    options::Options,
    outcome::{Outcome, Recovering},
    partition::{PartitionState, recovery::recover},
    producers::restore,
    registry::{Numbering, ProducerInfo, Registration, Registry},
    segment::residents::Residents,
    signal::Signal,
    wake::Waiters,
};
use std::{
    fs::File,
    path::Path,
    sync::{Arc, Mutex, RwLock, atomic::AtomicBool},
    time::Duration,
};

/// An open log. Clones are handles of the same one; it is closed when the last handle is dropped, those of its
/// partitions, appenders and sessions among them. Readers and slices do not keep it open, and outlive it.
#[derive(Clone)]
pub struct Log {
    pub(crate) handle: Arc<Handle>,
}

/// A partition of an open log: one totally ordered sequence of records.
#[derive(Clone)]
pub struct Partition {
    pub(crate) handle: Arc<Handle>,
    pub(crate) state: Arc<PartitionState>,
}

impl Options {
    /// Opens the log in `directory`, which is created if it is not there. See [`Log::open`].
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// // SAFETY: no other program writes to this directory while the log is open.
    /// let log = unsafe { oncelog::Options::new().segments_ahead(4).open(directory.path()) }?;
    /// # drop(log);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// As for [`Log::open`].
    ///
    /// # Errors
    /// As for [`Log::open`].
    #[expect(unsafe_code, reason = "opening is a promise of the caller's")]
    pub unsafe fn open(&self, directory: impl AsRef<Path>) -> Result<Log, OpenError> {
        // SAFETY: the caller keeps the contract of `Log::open`.
        unsafe { Log::open(directory, self) }
    }
}

impl Log {
    /// Opens the log in `directory`, which is created if it is not there. After a crash this recovers: everything that
    /// was visible when the process was killed is there, what was not finished leaves no trace.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// // SAFETY: no other program writes to this directory while the log is open.
    /// let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// assert!(log.partition_names().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Safety
    /// The log's files are mapped into memory. While it is open, and while any reader or slice of it lives, no other
    /// program may write to them, cut them short, or write to their device. The lock file keeps other handles of this
    /// library away, and nothing else does.
    ///
    /// # Errors
    /// [`OpenError::Locked`] if it is open already, [`OpenError::Option`] for options that are impossible,
    /// [`OpenError::Foreign`], [`OpenError::Version`] and [`OpenError::Corrupt`] for files that are not what they should
    /// be, [`OpenError::Io`] for what the system refuses.
    #[expect(unsafe_code, reason = "opening is a promise of the caller's")]
    pub unsafe fn open(directory: impl AsRef<Path>, options: &Options) -> Result<Self, OpenError> {
        options.check()?;
        let directory = directory.as_ref();
        make_directory(directory)?;
        // Before the lock file is made: nothing is written to what is not ours.
        refuse_a_stranger(directory)?;
        let lock = lock(directory)?;
        let identity = identify(directory)?;
        let partitions = directory.join(PARTITIONS);
        make_directory(&partitions)?;
        let mut found = list_partitions(&partitions, &identity)?;
        if found.is_empty() {
            create_partition(&partitions, PRODUCERS, 0, identity)?;
            found.push((0, PRODUCERS.to_owned()));
        }
        let residents = Arc::new(Residents::new(options.mapped_segments_max as usize));
        let mut recovered = Vec::with_capacity(found.len());
        for (number, name) in &found {
            let directory = partitions.join(name);
            let parts = recover(&directory, &identity, *number, Content::of(name), &residents)?;
            let replayed_from = parts.replayed_from;
            let (state, replay) = assemble(name, *number, &directory, identity, options, parts)?;
            recovered.push(Recovering { state: Arc::new(state), replay, replayed_from });
        }
        let outcome = Outcome::of(&mut recovered)?;
        let registrations = recovered.first().map(|first| &first.replay);
        let registry =
            Registry::new(registrations.into_iter().flat_map(|replay| replay.registrations()), options.producers_max);
        if registry.slots_needed() > options.producers_max {
            return Err(OpenError::Option {
                option: "producers_max",
                value: options.producers_max.into(),
                allowed: format!("at least {}, the highest slot of a live producer and one", registry.slots_needed()),
            });
        }
        let mut all = Partitions::default();
        for Recovering { state, replay, .. } in &recovered {
            restore(state, replay, &registry);
            all.names.insert(state.name.clone(), state.number);
            all.all.push(Arc::clone(state));
        }
        let committer = File::open(&partitions).map_err(io_at("open", &partitions))?;
        let committer = Committer::new(options.io_uring, one_flush_serves_all(&committer));
        let core = Core {
            directory: directory.to_owned(),
            options: options.clone(),
            identity,
            clock: Clock::new(),
            waiters: Arc::new(Waiters::default()),
            partitions: RwLock::new(all),
            residents,
            registry: Mutex::new(registry),
            ledger: Mutex::new(outcome.ledger(&recovered)),
            asked: AtomicBool::new(false),
            committer,
            preparer: Signal::default(),
            upkeep: Signal::default(),
            carried_out: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            stopped: AtomicBool::new(false),
        };
        drop(recovered);
        let handle = Handle::start(core, lock).map_err(io_at("start the threads of", directory))?;
        // Before anything is read or appended.
        handle.core.carry_out(&outcome)?;
        event!(INFO, directory = %directory.display(), partitions = found.len(), "the log was opened");
        Ok(Self { handle: Arc::new(handle) })
    }

    /// The partition of that name, which is created if it is not there. It is durable on return; it takes no space before
    /// something is appended to it.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let orders = log.partition("orders")?;
    /// assert_eq!((orders.name(), orders.end_offset()), ("orders", 0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`PartitionError::Name`] for a name that no partition can have, [`PartitionError::Create`] if it cannot be made.
    pub fn partition(&self, name: &str) -> Result<Partition, PartitionError> {
        check_partition_name(name).map_err(|rule| PartitionError::Name { name: name.to_owned(), rule })?;
        let state = self.handle.core.partition_named(name)?;
        Ok(Partition { handle: Arc::clone(&self.handle), state })
    }

    /// Names of all partitions, in the order of their creation, without those that the log keeps for itself.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// assert_eq!(log.partition_names(), ["orders"]);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn partition_names(&self) -> Vec<String> {
        let all = self.handle.core.all_partitions();
        all.iter().filter(|partition| !partition.is_internal()).map(|partition| partition.name.to_string()).collect()
    }

    /// Registers a producer that appends by id, from any thread: gives its id, and an epoch that fences all before it.
    /// Both are durable on return. Its numbering goes on where it ended.
    ///
    /// It waits for appends of this producer that are under way, so it must not be called from a closure that fills a
    /// record in place.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// # use oncelog::{Answer, Stamp};
    /// let registration = log.register("client-7")?;
    /// let stamp = Stamp { producer: registration.id, epoch: registration.epoch, sequence: 0 };
    /// assert_eq!(appender.append_by_id(stamp, b"order 41")?, Answer::Appended { first: 0, last: 0 });
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RegisterError::Full`] when the table holds as many live producers as the options allow, [`RegisterError::Name`]
    /// for a name that no producer can have, and others where writing fails.
    pub fn register(&self, name: &str) -> Result<Registration, RegisterError> {
        self.register_with(name, Numbering::Continue)
    }

    /// As [`Log::register`], with the producer's numbering going on or starting again.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # use oncelog::Numbering;
    /// let first = log.register("client-7")?;
    /// let again = log.register_with("client-7", Numbering::Restart)?;
    /// assert_eq!((again.id, again.epoch), (first.id, first.epoch + 1));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Log::register`].
    pub fn register_with(&self, name: &str, numbering: Numbering) -> Result<Registration, RegisterError> {
        let registered = self.handle.core.register(&[name], Mode::ById, numbering)?;
        registered.into_iter().next().ok_or_else(|| RegisterError::Unknown { producer: ProducerId::from_u64(0) })
    }

    /// Registers many producers with one flush, as [`Log::register`] does one. All of them are registered, or none.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let all = log.register_all(&["client-7", "client-8"])?;
    /// assert_eq!(all.len(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// As for [`Log::register`].
    pub fn register_all<N: AsRef<str>>(&self, names: &[N]) -> Result<Vec<Registration>, RegisterError> {
        self.handle.core.register(names, Mode::ById, Numbering::Continue)
    }

    /// Live producers, those that have been idle for longest first.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let registration = log.register("client-7")?;
    /// assert_eq!(log.producers()[0].id, registration.id);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn producers(&self) -> Vec<ProducerInfo> {
        self.handle.core.producers()
    }

    /// Closes a producer: its id and its handles append no more, and its place in the table is free. This forgets its
    /// sequences, so a retry of its will not be recognised, but refused. Durable on return.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let registration = log.register("client-7")?;
    /// log.close_producer(registration.id)?;
    /// assert!(log.producers().is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`RegisterError::Unknown`] if no live producer has the id, and others where writing fails.
    pub fn close_producer(&self, id: ProducerId) -> Result<(), RegisterError> {
        self.handle.core.close_producers(&[id])
    }

    /// Closes every producer whose latest append is older than `age`, as [`Log::close_producer`] does one, with one
    /// flush. One that has never appended is as old as its registration.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// let closed = log.close_producers_idle_for(std::time::Duration::from_secs(7 * 24 * 3600))?;
    /// assert!(closed.is_empty());
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Where writing fails.
    pub fn close_producers_idle_for(&self, age: Duration) -> Result<Vec<ProducerId>, RegisterError> {
        let core = &self.handle.core;
        let age_ms = u64::try_from(age.as_millis()).unwrap_or(u64::MAX);
        core.close_producers_before(core.clock.now_ms().saturating_sub(age_ms))
    }

    /// Closes the log: seals what is open, so that the next opening reads no frame. A log that is dropped is closed the same
    /// way, and nobody hears of what fails.
    ///
    /// | under way | what becomes of it |
    /// |---|---|
    /// | other handles: logs, partitions, appenders, sessions, groups, commits | the log stays open, and is closed when the last of them is dropped |
    /// | open transactions, by id | aborted, durably; one of a session borrows it, and its drop aborts it |
    /// | committed transactions that nobody waited for | made durable, and marked |
    /// | records that are not durable, in both windows | durable when this returns without an error |
    /// | readers that wait | woken: [`Reader::wait`](crate::Reader::wait) says that nothing came, [`Reader::poll_ready`](crate::Reader::poll_ready) that the log is closed |
    /// | readers and slices | stay: they are no handles, and read what there was |
    ///
    /// It takes as long as one flush of what is not durable, and a snapshot of each partition that was appended to.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// orders.appender()?.append(b"order 41")?;
    /// drop(orders);
    /// log.close()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`CloseError::InUse`] if other handles are alive: the log is closed with the last of them.
    /// [`CloseError::Seal`] if sealing failed: nothing is lost, and the next opening recovers.
    pub fn close(self) -> Result<(), CloseError> {
        match Arc::try_unwrap(self.handle) {
            Ok(mut handle) => handle.shut_down().map_err(CloseError::Seal),
            Err(handle) => Err(CloseError::InUse { handles: Arc::strong_count(&handle) - 1 }),
        }
    }
}

impl Partition {
    /// The partition's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.state.name
    }

    /// Offset of the first record that is kept, or that will be the first.
    #[must_use]
    pub fn start_offset(&self) -> u64 {
        self.state.chain.start_offset()
    }

    /// Offset behind the last visible record: the one that the next record of a quiet partition gets.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// # let mut appender = orders.appender()?;
    /// appender.append_batch(&[b"order 41", b"order 42"])?;
    /// assert_eq!((orders.start_offset(), orders.end_offset()), (0, 2));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn end_offset(&self) -> u64 {
        self.state.chain.visible_end().map_or(0, |end| end.offset)
    }

    /// Bytes of the largest record that this partition takes. A batch takes as many, 4 more for each of its records counted.
    #[must_use]
    pub fn record_bytes_max(&self) -> usize {
        self.state.options.body_bytes_max()
    }

    /// Returns once `segments` segments stand ready beyond the one in use, so that so many rotations wait for nothing.
    ///
    /// ```
    /// # let directory = tempfile::tempdir()?;
    /// # // SAFETY: nobody else writes to the directory.
    /// # let log = unsafe { oncelog::Log::open(directory.path(), &oncelog::Options::new()) }?;
    /// # let orders = log.partition("orders")?;
    /// orders.prepare(2)?;
    /// assert!(orders.stats().segments_ready >= 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`AppendError::NoSpace`] if there is no room for them.
    pub fn prepare(&self, segments: u32) -> Result<(), AppendError> {
        let partition = &*self.state;
        let source = Source { core: &self.handle.core, partition };
        partition.wish(segments);
        let prepared = source.prepare_until(|| partition.chain.end().ready >= segments as usize);
        partition.unwish(segments);
        prepared
    }

    pub(crate) fn source(&self) -> Source<'_> {
        Source { core: &self.handle.core, partition: &self.state }
    }
}
