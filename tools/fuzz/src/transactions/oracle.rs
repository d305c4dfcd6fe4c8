//! What must be in a log with transactions: records by offset, who has appended them in which attempt, and the ledger's
//! entries in their order. After a crash a prefix of each partition is left, and a prefix of the ledger.

/// By side.
pub(super) const SIDES: [&str; 2] = ["left", "right"];
/// One appends by session, the other by id.
pub(super) const PRODUCERS: [&str; 2] = ["session", "by id"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Open,
    /// By that entry of the ledger; none where nothing had to be written.
    Committed(Option<usize>),
    Aborted,
}

/// A record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Stored {
    pub(super) payload: Vec<u8>,
    /// Producer and sequence.
    pub(super) by: Option<(usize, u64)>,
    pub(super) attempt: Option<usize>,
}

/// What a reader gets of a record: offset, payload, producer and sequence.
pub(super) type Read = (u64, Vec<u8>, Option<(usize, u64)>);

/// An entry of the ledger.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    attempt: Option<usize>,
    offset: Option<u64>,
    /// It was told to be durable.
    pub(super) is_durable: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Oracle {
    pub(super) records: [Vec<Stored>; 2],
    pub(super) attempts: Vec<Outcome>,
    pub(super) entries: Vec<Entry>,
}

impl Oracle {
    pub(super) fn end(&self, side: usize) -> u64 {
        self.records[side].len() as u64
    }

    /// The sequence that comes next.
    pub(super) fn next(&self, producer: usize, side: usize) -> u64 {
        let counts = |stored: &&Stored| {
            let is_aborted = stored.attempt.is_some_and(|attempt| self.attempts[attempt] == Outcome::Aborted);
            stored.by.is_some_and(|(by, _)| by == producer) && !is_aborted
        };
        self.records[side].iter().filter(counts).count() as u64
    }

    /// Stores a record, under the producer's next sequence.
    pub(super) fn store(&mut self, side: usize, payload: Vec<u8>, producer: Option<usize>, attempt: Option<usize>) {
        let by = producer.map(|producer| (producer, self.next(producer, side)));
        self.records[side].push(Stored { payload, by, attempt });
    }

    pub(super) fn begin(&mut self) -> usize {
        self.attempts.push(Outcome::Open);
        self.attempts.len() - 1
    }

    /// Commits an attempt, with the offset that it holds of the group.
    pub(super) fn commit(&mut self, attempt: usize, offset: Option<u64>, is_durable: bool) {
        let wrote = offset.is_some() || self.records.iter().flatten().any(|stored| stored.attempt == Some(attempt));
        self.attempts[attempt] = Outcome::Committed(wrote.then_some(self.entries.len()));
        if wrote {
            self.entries.push(Entry { attempt: Some(attempt), offset, is_durable });
        }
    }

    pub(super) fn abort(&mut self, attempt: usize) {
        self.attempts[attempt] = Outcome::Aborted;
    }

    /// Commits an offset outside of transactions.
    pub(super) fn commit_offset(&mut self, offset: u64) {
        self.entries.push(Entry { attempt: None, offset: Some(offset), is_durable: false });
    }

    /// What the group has committed by the first `count` entries.
    fn group_by(&self, count: usize) -> Option<u64> {
        self.entries.iter().take(count).filter_map(|entry| entry.offset).next_back()
    }

    pub(super) fn group(&self) -> Option<u64> {
        self.group_by(self.entries.len())
    }

    /// Up to where a reader of committed records comes.
    pub(super) fn stable(&self, side: usize) -> u64 {
        let open = |stored: &Stored| stored.attempt.is_some_and(|attempt| self.attempts[attempt] == Outcome::Open);
        let first = self.records[side].iter().position(open);
        first.map_or(self.end(side), |first| first as u64)
    }

    /// All records, or those that are committed.
    pub(super) fn expected(&self, side: usize, committed: bool) -> Vec<Read> {
        let limit = if committed { self.stable(side) } else { u64::MAX };
        let is_seen = |stored: &Stored| {
            let aborted = stored.attempt.is_some_and(|attempt| self.attempts[attempt] == Outcome::Aborted);
            !committed || !aborted
        };
        let records = (0..).zip(&self.records[side]).take_while(|(offset, _)| *offset < limit);
        let seen = records.filter(|(_, stored)| is_seen(stored));
        seen.map(|(offset, stored)| (offset, stored.payload.clone(), stored.by)).collect()
    }

    /// Takes over what a crash has left: by side the end, and which offsets a reader of committed records gets; and what
    /// the group has committed. An error if that cannot be.
    pub(super) fn crash(
        &mut self,
        durable: [u64; 2],
        ends: [u64; 2],
        committed: [&[u64]; 2],
        group: Option<u64>,
    ) -> Result<(), String> {
        for side in 0..2 {
            let (end, most) = (ends[side], self.end(side));
            if end < durable[side] || end > most {
                let durable = durable[side];
                return Err(format!("{} ends at {end}; {durable} were durable, and {most} appended", SIDES[side]));
            }
        }
        // Whether each of an attempt's records is seen; none of it may be where one is lost.
        let seen = |attempt: usize| {
            let of = (0..2).flat_map(|side| {
                let all = (0..).zip(&self.records[side]).filter(move |(_, stored)| stored.attempt == Some(attempt));
                all.map(move |(offset, _)| committed[side].contains(&offset))
            });
            let (mut all, mut any, mut count) = (true, false, 0);
            for is_seen in of {
                (all, any, count) = (all && is_seen, any || is_seen, count + 1);
            }
            (all, any, count)
        };
        // Entries that must count, and those that may.
        let (mut least, mut most) = (0, self.entries.len());
        for (index, entry) in self.entries.iter().enumerate() {
            if entry.is_durable {
                least = index + 1;
            }
            let Some(attempt) = entry.attempt else { continue };
            // A commit does not outlive what its group has read.
            if entry.offset.is_some_and(|offset| offset > ends[0]) {
                most = most.min(index);
            }
            match seen(attempt) {
                (_, _, 0) => {}
                (true, ..) => least = index + 1,
                (false, true, _) => return Err(format!("attempt {attempt} is there in part: ends {ends:?}")),
                (false, false, _) => most = most.min(index),
            }
        }
        if least > most {
            return Err(format!("entry {} of the ledger counts, and entry {most} before it does not", least - 1));
        }
        // An offset beyond what is left comes back to the end.
        let left = |offset: u64| offset.min(ends[0]);
        let Some(counts) = (least..=most).find(|count| self.group_by(*count).map(left) == group) else {
            return Err(format!(
                "the group has committed {group:?}; by {least} entries {:?}, by {most} {:?}",
                self.group_by(least),
                self.group_by(most)
            ));
        };
        self.entries.truncate(counts);
        if self.group() != group {
            self.entries.push(Entry { attempt: None, offset: group, is_durable: true });
        }
        for entry in &mut self.entries {
            entry.is_durable = true;
        }
        for (side, end) in ends.into_iter().enumerate() {
            self.records[side].truncate(end as usize);
        }
        for outcome in &mut self.attempts {
            match outcome {
                Outcome::Open => *outcome = Outcome::Aborted,
                Outcome::Committed(Some(entry)) if *entry >= counts => *outcome = Outcome::Aborted,
                _ => {}
            }
        }
        Ok(())
    }
}
