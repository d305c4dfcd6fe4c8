//! What a record says of itself: which attempt it belongs to, where it was meant to go, and which of its records it is.

/// Bytes of the three words.
const HEAD: usize = 16;

/// The bytes of one record of an attempt.
pub(crate) fn payload(attempt: u64, partition: u32, record: u32) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + 64);
    bytes.extend(attempt.to_le_bytes());
    bytes.extend(partition.to_le_bytes());
    bytes.extend(record.to_le_bytes());
    // Some thousand now and then, so that segments end in many places.
    let more = attempt.wrapping_mul(31).wrapping_add(u64::from(record) * 7) % 190;
    let long = if more == 77 { 3_000 } else { 0 };
    bytes.resize(HEAD + long + more as usize, attempt as u8);
    bytes
}

/// The attempt, the partition and the record of a payload, if it is whole.
pub(crate) fn written_by(bytes: &[u8]) -> Option<(u64, u32, u32)> {
    let (attempt, rest) = bytes.split_first_chunk()?;
    let (partition, rest) = rest.split_first_chunk()?;
    let (record, _) = rest.split_first_chunk()?;
    let (attempt, partition, record) =
        (u64::from_le_bytes(*attempt), u32::from_le_bytes(*partition), u32::from_le_bytes(*record));
    (payload(attempt, partition, record) == bytes).then_some((attempt, partition, record))
}
