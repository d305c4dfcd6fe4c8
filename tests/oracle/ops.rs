//! The operations.

/// Which sequence a producer's append carries, from the one that comes next.
#[derive(Clone, Copy, Debug)]
pub enum From {
    Next,
    /// So many before it: a retry, or an overlap if there are more records.
    Before(u8),
    After(u8),
}

#[derive(Clone, Copy, Debug)]
pub enum Outcome {
    Filled,
    Refused,
    Panicked,
}

/// An operation. Numbers are taken modulo what there is; a payload is told by one byte.
#[derive(Clone, Debug)]
pub enum Op {
    Append {
        partition: u8,
        payload: u8,
    },
    AppendBatch {
        partition: u8,
        payloads: Vec<u8>,
    },
    Fill {
        partition: u8,
        payload: u8,
        outcome: Outcome,
    },
    /// By a session that was opened before, fenced since or not. What is sent again is what was stored, unless `other`.
    Session {
        session: u8,
        partition: u8,
        from: From,
        payloads: Vec<u8>,
        other: bool,
    },
    SessionFill {
        session: u8,
        partition: u8,
        from: From,
        payload: u8,
        outcome: Outcome,
    },
    /// Under an id that was given before, live or closed; the epoch is the present one, and so much.
    ById {
        id: u8,
        epoch: i8,
        partition: u8,
        from: From,
        payloads: Vec<u8>,
        other: bool,
    },
    OpenSession {
        name: u8,
    },
    Register {
        name: u8,
        restart: bool,
    },
    Close {
        name: u8,
    },
    Read {
        partition: u8,
        from: u8,
    },
    /// From so many 255ths of the end on.
    Truncate {
        partition: u8,
        from: u8,
    },
    Reopen,
    Kill,
}

/// The bytes that a payload's number stands for: some empty, some of a few kilobytes.
pub fn bytes_of(payload: u8) -> Vec<u8> {
    vec![payload; usize::from(payload) * usize::from(payload) / 20]
}
