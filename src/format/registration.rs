//! One producer's registration, as a record of the log's own partition of producers and as an entry of its snapshots.
//! The latest one of a slot counts.
//!
//! ```text
//!   0 producer id
//!   8 epoch: u32   12 mode: u8   13 live: u8   14 bytes of the name: u16
//!  16 time, ms since the epoch
//!  24 name, UTF-8
//! ```

use crate::ids::{Mode, ProducerId};

const NAME_AT: usize = 24;

/// A slot's latest owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RegistrationEntry {
    pub(crate) id: ProducerId,
    pub(crate) epoch: u32,
    pub(crate) mode: Mode,
    /// False once the producer was closed: the slot is free, its epoch and generation go on.
    pub(crate) live: bool,
    /// When this was registered.
    pub(crate) at_ms: u64,
    pub(crate) name: Box<str>,
}

impl RegistrationEntry {
    pub(crate) fn encode(&self, into: &mut Vec<u8>) {
        into.extend(self.id.get().to_le_bytes());
        into.extend(self.epoch.to_le_bytes());
        into.push(self.mode as u8);
        into.push(u8::from(self.live));
        // A name's length was checked when it was given.
        into.extend((self.name.len() as u16).to_le_bytes());
        into.extend(self.at_ms.to_le_bytes());
        into.extend(self.name.as_bytes());
    }

    /// The first entry of `bytes`, and what follows it.
    pub(crate) fn decode(bytes: &[u8]) -> Option<(Self, &[u8])> {
        let (head, rest) = bytes.split_first_chunk::<NAME_AT>()?;
        let id = u64::from_le_bytes(std::array::from_fn(|at| head[at]));
        let epoch = u32::from_le_bytes(std::array::from_fn(|at| head[8 + at]));
        let mode = match head[12] {
            1 => Mode::Session,
            2 => Mode::ById,
            _ => return None,
        };
        let live = match head[13] {
            0 => false,
            1 => true,
            _ => return None,
        };
        let at_ms = u64::from_le_bytes(std::array::from_fn(|at| head[16 + at]));
        let (name, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[14], head[15]])))?;
        let name = std::str::from_utf8(name).ok()?.into();
        Some((Self { id: ProducerId::from_u64(id), epoch, mode, live, at_ms, name }, rest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_follow_each_other_and_a_cut_one_is_refused() {
        let entry = RegistrationEntry {
            id: ProducerId::new(3, 4),
            epoch: 5,
            mode: Mode::ById,
            live: true,
            at_ms: 6,
            name: "a-b".into(),
        };
        let mut bytes = Vec::new();
        entry.encode(&mut bytes);
        entry.encode(&mut bytes);
        let (first, rest) = RegistrationEntry::decode(&bytes).expect("whole");
        assert_eq!((first, rest.len()), (entry, bytes.len() / 2));
        for cut in 0..rest.len() {
            assert_eq!(RegistrationEntry::decode(&rest[..cut]), None);
        }
    }
}
