//! What a partition and a producer may be called.

use crate::format::NAME_BYTES_MAX;

/// The log's own partition of registrations.
pub(crate) const PRODUCERS: &str = "__producers";
/// The log's own partition of decided transactions and of groups' offsets.
pub(crate) const TRANSACTIONS: &str = "__transactions";

/// What the records of a partition are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// The users'.
    Records,
    /// Registrations.
    Registrations,
    /// Entries of the ledger.
    Ledger,
}

impl Content {
    /// Of the partition with that name.
    pub(crate) fn of(name: &str) -> Self {
        match name {
            PRODUCERS => Self::Registrations,
            TRANSACTIONS => Self::Ledger,
            _ => Self::Records,
        }
    }
}

/// A rule about names, broken.
const EMPTY: &str = "must not be empty";
const TOO_LONG: &str = "must be at most 200 bytes long";

/// Checks a partition's name, which is a directory's name too.
pub(crate) fn check_partition_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err(EMPTY),
        _ if name.len() > NAME_BYTES_MAX => Err(TOO_LONG),
        _ if name.starts_with("__") => Err("must not begin with __, which the log keeps for itself"),
        _ if name.starts_with('.') => Err("must not begin with a dot"),
        _ if !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)) => {
            Err("must be made of letters, digits, '.', '_' and '-' alone: no separator")
        }
        _ => Ok(()),
    }
}

/// Checks a producer's or a group's name, which is only ever compared.
pub(crate) fn check_producer_name(name: &str) -> Result<(), &'static str> {
    match name {
        "" => Err(EMPTY),
        _ if name.len() > NAME_BYTES_MAX => Err(TOO_LONG),
        _ if name.contains(|character: char| character.is_control() || character == '/') => {
            Err("must not hold a control character or the separator '/'")
        }
        _ => Ok(()),
    }
}
