//! What a child says to the harness, through its standard output; and the one thing that it hears.
//!
//! A report is five words in one write, which a pipe never tears. A child that is about to change its partition's bounds says
//! so, and goes on when the harness has heard it: whatever a crash leaves of that change, the harness knows of it.

use std::io::{self, Read, Write};
use std::sync::Barrier;
use std::sync::atomic::{AtomicU64, Ordering};

const WORDS: usize = 5;

/// A record as a writer was told of it, or as it was found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) number: u64,
    pub(super) offset: u64,
    /// Which of a producer's appends of that number it is: behind a truncation comes another one. 0 without a producer.
    pub(super) epoch: u32,
}

/// What is done to a partition besides appending.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Truncate(u64),
    Reset(u64),
    Purge(u64),
    Metadata(u64),
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Said {
    /// All of a writer's records up to this one are acknowledged.
    Acknowledged { writer: u64, told: Told },
    /// There is no room for a writer's record.
    Full { writer: u64 },
    /// The descriptor at which the harness hears of the process's calls.
    Observed { listener: u64 },
    /// A change begins.
    Begins(Change),
    /// It has returned: made, or refused.
    Returned { made: bool },
}

impl Said {
    const fn words(self) -> [u64; WORDS] {
        match self {
            Self::Acknowledged { writer, told: Told { number, offset, epoch } } => {
                [0, writer, number, offset, epoch as u64]
            }
            Self::Full { writer } => [1, writer, 0, 0, 0],
            Self::Observed { listener } => [2, listener, 0, 0, 0],
            Self::Returned { made } => [3, made as u64, 0, 0, 0],
            Self::Begins(Change::Truncate(from)) => [4, from, 0, 0, 0],
            Self::Begins(Change::Reset(base)) => [5, base, 0, 0, 0],
            Self::Begins(Change::Purge(to)) => [6, to, 0, 0, 0],
            Self::Begins(Change::Metadata(number)) => [7, number, 0, 0, 0],
        }
    }

    fn of([kind, first, number, offset, epoch]: [u64; WORDS]) -> Option<Self> {
        Some(match kind {
            0 => Self::Acknowledged { writer: first, told: Told { number, offset, epoch: epoch as u32 } },
            1 => Self::Full { writer: first },
            2 => Self::Observed { listener: first },
            3 => Self::Returned { made: first != 0 },
            4 => Self::Begins(Change::Truncate(first)),
            5 => Self::Begins(Change::Reset(first)),
            6 => Self::Begins(Change::Purge(first)),
            7 => Self::Begins(Change::Metadata(first)),
            _ => return None,
        })
    }

    /// The next report of a child; none when it is dead.
    pub(super) fn hear(from: &mut impl Read) -> Option<Self> {
        let mut bytes = [0; 8 * WORDS];
        from.read_exact(&mut bytes).ok()?;
        Self::of(std::array::from_fn(|word| u64::from_le_bytes(std::array::from_fn(|index| bytes[8 * word + index]))))
    }

    fn write(self, out: &mut impl Write) -> Result<(), String> {
        let bytes = self.words().map(u64::to_le_bytes);
        let written = out.write_all(bytes.as_flattened()).and_then(|()| out.flush());
        written.map_err(|error| format!("nobody listens: {error}"))
    }

    pub(super) fn say(self) -> Result<(), String> {
        self.write(&mut io::stdout().lock())
    }
}

/// Says that all of a writer's records up to this number are acknowledged, wherever they are.
pub(super) fn report(writer: u64, number: u64) -> Result<(), String> {
    Said::Acknowledged { writer, told: Told { number, ..Told::default() } }.say()
}

/// What writers and the thread that changes their partition share: how often it has begun to, and ended.
pub(super) struct Turns {
    /// Odd while the end of the partition is being moved.
    moves: AtomicU64,
    /// Where all wait until the writers know where they stand.
    pub(super) begun: Barrier,
}

impl Turns {
    pub(super) fn new(threads: usize) -> Self {
        Self { moves: AtomicU64::new(0), begun: Barrier::new(threads) }
    }

    /// To be asked before an append.
    pub(super) fn now(&self) -> u64 {
        self.moves.load(Ordering::SeqCst)
    }

    /// Whether the end was where it was all the time since then.
    pub(super) fn is_still(&self, then: u64) -> bool {
        then.is_multiple_of(2) && self.now() == then
    }

    /// Reports a record unless the end was moved since then: with a move under way nobody can say whether it is cut off.
    pub(super) fn acknowledge(&self, then: u64, writer: u64, told: Told) -> Result<(), String> {
        let mut out = io::stdout().lock();
        if self.is_still(then) { Said::Acknowledged { writer, told }.write(&mut out) } else { Ok(()) }
    }

    /// Says that a change begins, does it when that was heard, and says that it is over.
    pub(super) fn change(&self, change: Change, make: impl FnOnce() -> Result<bool, String>) -> Result<(), String> {
        let step = u64::from(matches!(change, Change::Truncate(_) | Change::Reset(_)));
        {
            let mut out = io::stdout().lock();
            self.moves.fetch_add(step, Ordering::SeqCst);
            Said::Begins(change).write(&mut out)?;
        }
        io::stdin().read_exact(&mut [0]).map_err(|error| format!("nobody has heard of {change:?}: {error}"))?;
        let made = make()?;
        let mut out = io::stdout().lock();
        self.moves.fetch_add(step, Ordering::SeqCst);
        Said::Returned { made }.write(&mut out)
    }
}
