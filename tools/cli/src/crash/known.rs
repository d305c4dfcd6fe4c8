//! What is known of a log without looking at it, from what its processes have said: records that were acknowledged, and what
//! was cut off, for certain or perhaps.
//!
//! ```text
//! said                             the log may be
//! acknowledged a, b, c             a b c ..
//! truncation from b begins         a b c ..   or   a ..     all that was acknowledged behind the cut is there, or nothing
//! it has returned                             a ..          b and c never come back
//! ```

use std::collections::BTreeMap;

use super::reports::{Change, Said, Told};

/// A partition as it was found.
#[derive(Default)]
pub(super) struct Seen {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) metadata: Option<Vec<u8>>,
    /// By writer, in the order of their offsets.
    pub(super) records: BTreeMap<u64, Vec<Told>>,
}

impl Seen {
    pub(super) fn of(&self, writer: u64) -> &[Told] {
        self.records.get(&writer).map_or(&[], Vec::as_slice)
    }

    fn has(&self, writer: u64, told: &Told) -> bool {
        let records = self.of(writer);
        records.binary_search_by_key(&told.offset, |found| found.offset).is_ok_and(|at| records.get(at) == Some(told))
    }
}

/// What became of a change that was under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Became {
    Made,
    NotMade,
    /// Nothing was acknowledged that would tell.
    Unknown,
}

/// A cut of the end.
#[derive(Clone)]
struct Cut {
    from: u64,
    /// By writer, what was acknowledged last before; none where it is not known whether the cut was made.
    before: BTreeMap<u64, Told>,
}

#[derive(Clone, Default)]
pub(super) struct Known {
    /// By writer, what was acknowledged and not cut off, in order.
    records: BTreeMap<u64, Vec<Told>>,
    /// By writer, the highest number that was ever acknowledged.
    highest: BTreeMap<u64, u64>,
    cuts: Vec<Cut>,
    /// A change that has begun and not returned, and what a look at what its process left has found of it.
    pending: Option<(Change, Option<Became>)>,
    /// Where the log starts at least.
    purged: u64,
    /// The metadata that is kept at least, and at most.
    metadata: u64,
    metadata_at_most: u64,
}

impl Known {
    /// Nothing but numbers that are there, wherever: nothing was cut.
    pub(super) fn at_least(numbers: &BTreeMap<u64, u64>) -> Self {
        Self { highest: numbers.clone(), ..Self::default() }
    }

    pub(super) fn hear(&mut self, said: &Said) {
        if let Some((change, Some(became))) = self.pending {
            // The next process has opened what was looked at.
            self.settle(change, became);
        }
        match *said {
            Said::Acknowledged { writer, told } => self.tell(writer, told),
            Said::Begins(change) => {
                if let Change::Metadata(number) = change {
                    self.metadata_at_most = number;
                }
                self.pending = Some((change, None));
            }
            Said::Returned { made } => {
                if let Some((change, _)) = self.pending {
                    self.settle(change, if made { Became::Made } else { Became::NotMade });
                }
            }
            Said::Full { .. } | Said::Observed { .. } => {}
        }
    }

    fn tell(&mut self, writer: u64, told: Told) {
        let highest = self.highest.entry(writer).or_default();
        *highest = told.number.max(*highest);
        let records = self.records.entry(writer).or_default();
        if records.last().is_none_or(|last| last.offset < told.offset) {
            records.push(told);
        }
    }

    /// What was found is on the device for certain.
    pub(super) fn take_in(&mut self, seen: &Seen) {
        for (writer, records) in &seen.records {
            records.last().iter().for_each(|last| self.tell(*writer, **last));
        }
    }

    /// Notes what a look has found of the change that was under way, which counts when the next process says something.
    pub(super) fn note(&mut self, became: Option<Became>) {
        if let Some((_, known)) = &mut self.pending {
            *known = became;
        }
    }

    /// Ends what is under way, as it was found.
    pub(super) fn found(&mut self, seen: &Seen) -> Result<Option<Became>, String> {
        let Some((change, _)) = self.pending else { return Ok(None) };
        let became = self.became(change, seen)?;
        self.settle(change, became);
        Ok(Some(became))
    }

    fn became(&self, change: Change, seen: &Seen) -> Result<Became, String> {
        match change {
            // It goes to where nothing was.
            Change::Reset(base) if seen.start >= base => Ok(Became::Made),
            Change::Reset(_) => Ok(Became::NotMade),
            Change::Truncate(from) => {
                let all = self.records.iter().flat_map(|(writer, all)| all.iter().map(move |told| (*writer, told)));
                let beyond: Vec<_> = all.filter(|(_, told)| told.offset >= from.max(seen.start)).collect();
                let there = beyond.iter().filter(|(writer, told)| seen.has(*writer, told)).count();
                match there {
                    _ if beyond.is_empty() => Ok(Became::Unknown),
                    0 => Ok(Became::Made),
                    there if there == beyond.len() => Ok(Became::NotMade),
                    there => Err(format!(
                        "while it was truncated at {from} it crashed: of {} records acknowledged behind, {there} are there",
                        beyond.len()
                    )),
                }
            }
            Change::Purge(_) | Change::Metadata(_) => Ok(Became::Unknown),
        }
    }

    fn settle(&mut self, change: Change, became: Became) {
        self.pending = None;
        match (change, became) {
            (_, Became::NotMade) | (Change::Purge(_) | Change::Metadata(_), Became::Unknown) => {}
            (Change::Truncate(from), _) => self.cut(from, became == Became::Made),
            (Change::Reset(base), _) => {
                self.cut(0, true);
                self.purged = base;
            }
            (Change::Purge(to), Became::Made) => self.purged = to.max(self.purged),
            (Change::Metadata(number), Became::Made) => self.metadata = number,
        }
    }

    fn cut(&mut self, from: u64, is_certain: bool) {
        let last = |records: &Vec<Told>| records.last().copied();
        let before = self.records.iter().filter_map(|(writer, records)| Some((*writer, last(records)?)));
        let before = if is_certain { before.collect() } else { BTreeMap::new() };
        self.cuts.push(Cut { from, before });
        for records in self.records.values_mut() {
            records.truncate(records.partition_point(|told| told.offset < from));
        }
    }

    /// The number that comes next to a writer without a sequence: none is used twice.
    pub(super) fn next(&self, writer: u64) -> u64 {
        self.highest.get(&writer).map_or(0, |highest| highest + 1)
    }

    /// Whether numbers of a writer without a sequence may be missing between two records.
    pub(super) fn may_lack(&self, before: Option<u64>, next: u64) -> bool {
        self.cuts.iter().any(|cut| before.is_none_or(|before| before < cut.from) && cut.from <= next)
    }

    /// Compares what was found: what was acknowledged is there, what was cut off is not.
    pub(super) fn compare(&self, seen: &Seen, next: impl Fn(u64) -> u64) -> Result<(), String> {
        if seen.start < self.purged {
            return Err(format!("it was purged up to {}, and starts at {}", self.purged, seen.start));
        }
        for (writer, records) in &self.records {
            let Some(last) = records.last() else { continue };
            if last.offset >= seen.start && !seen.has(*writer, last) {
                return Err(format!("writer {writer}: {last:?} was acknowledged, and is not there"));
            }
        }
        for cut in &self.cuts {
            for (writer, before) in &cut.before {
                let records = seen.of(*writer);
                let behind = records.get(records.partition_point(|told| told.offset < cut.from)..).unwrap_or(&[]);
                let back = behind.iter().find(|told| told.number <= before.number && told.epoch <= before.epoch);
                if let Some(back) = back {
                    return Err(format!("writer {writer}: {back:?} was cut off at {}, and has come back", cut.from));
                }
            }
        }
        // Nothing was ever taken back from those whose numbers only grow.
        for (writer, highest) in self.highest.iter().filter(|_| self.cuts.is_empty()) {
            if next(*writer) <= *highest {
                return Err(format!("writer {writer}: {highest} was acknowledged, and {} comes next", next(*writer)));
            }
        }
        let metadata = seen.metadata.as_deref().map_or(Some(0), metadata_number);
        if metadata.is_none_or(|number| number < self.metadata || number > self.metadata_at_most) {
            let Self { metadata: least, metadata_at_most: most, .. } = self;
            return Err(format!("the metadata is {metadata:?}, and {least} to {most} was set"));
        }
        Ok(())
    }
}

/// Metadata that says which it is, of a length of its own.
pub(super) fn metadata(number: u64) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.resize(8 + (number.wrapping_mul(37) % 900) as usize, number as u8);
    bytes
}

/// Which metadata that is, if it is any.
pub(super) fn metadata_number(bytes: &[u8]) -> Option<u64> {
    let number = u64::from_le_bytes(*bytes.first_chunk()?);
    (metadata(number) == bytes).then_some(number)
}
