//! What readers see of transactions.

/// Which records of transactions a reader sees. Records outside of transactions it sees either way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Isolation {
    /// All of them, also of transactions that are open or aborted.
    #[default]
    ReadUncommitted,
    /// Those of committed ones, up to the last stable offset: the first record of the oldest transaction that is open in
    /// the partition. So no record comes out of its order.
    ReadCommitted,
}
