//! Transactions: records in many partitions and groups' offsets that count together or not at all. Numbers are those of the
//! scenarios in `tests/README.md`.

#[path = "../logs/mod.rs"]
mod logs;

mod transaction {
    //! Every test of transactions has this in its path: `cargo test transaction` runs them all.

    mod by_id;
    mod ending;
    mod groups;
    mod inputs;
    mod isolation;
    mod recovery;
    mod retention;
    mod truncation;

    use super::logs;
    use oncelog::{FetchError, Isolation, Log, Partition, Reader, TransactionId};

    /// Payloads of a partition as a reader of that kind sees them, and the offset at which it then stands.
    fn read(partition: &Partition, isolation: Isolation) -> (Vec<String>, u64) {
        loop {
            // Retention may overtake this reader: then it begins again.
            let Ok(mut reader) = partition.read_from(partition.start_offset()) else { continue };
            reader.set_isolation(isolation);
            match try_rest(&mut reader) {
                Ok(seen) => return (seen, reader.next_offset()),
                Err(FetchError::Trimmed { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn try_rest(reader: &mut Reader) -> Result<Vec<String>, FetchError> {
        let mut seen = Vec::new();
        while let Some(record) = reader.next()? {
            seen.push(String::from_utf8_lossy(record.payload()).into_owned());
        }
        Ok(seen)
    }

    /// What a reader still gets.
    fn rest(reader: &mut Reader) -> Vec<String> {
        try_rest(reader).expect("read")
    }

    fn committed(partition: &Partition) -> Vec<String> {
        read(partition, Isolation::ReadCommitted).0
    }

    fn all(partition: &Partition) -> Vec<String> {
        read(partition, Isolation::ReadUncommitted).0
    }

    /// The two partitions that most tests write to.
    fn two(log: &Log) -> [Partition; 2] {
        ["left", "right"].map(|name| log.partition(name).expect("a partition"))
    }

    /// A producer that appends by id, and its first transaction's number.
    fn registered(log: &Log, name: &str) -> TransactionId {
        let registration = log.register(name).expect("registered");
        TransactionId { producer: registration.id, epoch: registration.epoch, number: 1 }
    }
}
