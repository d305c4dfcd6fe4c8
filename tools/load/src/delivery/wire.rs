//! A producer's requests and their replies as bytes, for a broker in a process of its own.
//!
//! ```text
//!   length u32 | client u64 | number u64 | attempt u32 | tag u8 | what the tag says
//! ```

use std::io::{self, Read, Write};
use std::sync::Arc;

use oncelog::delivery::{Acknowledge, Broker, Call, Outcome, Reply, Request};
use oncelog::{Answer, ProducerId, Stamp};

/// Most bytes of one frame: more than the largest record has.
const FRAME_BYTES_MAX: usize = 32 << 20;

/// Answers requests until there are no more.
///
/// # Errors
/// What is no request, and what the pipes refuse.
pub fn serve(broker: &mut Broker, mut requests: impl Read, mut replies: impl Write) -> io::Result<()> {
    while let Some(frame) = read_frame(&mut requests)? {
        let request = decode_request(&frame).ok_or_else(|| io::Error::other("what came is no request"))?;
        if let Some(reply) = broker.handle(&request) {
            let frame = encode_reply(&reply).ok_or_else(|| io::Error::other("a reply that no producer asked for"))?;
            write_frame(&mut replies, &frame)?;
        }
    }
    Ok(())
}

pub(super) fn write_frame(to: &mut impl Write, frame: &[u8]) -> io::Result<()> {
    let length = u32::try_from(frame.len()).map_err(io::Error::other)?;
    to.write_all(&[&length.to_le_bytes(), frame].concat())?;
    to.flush()
}

/// The next frame; none at the end.
pub(super) fn read_frame(from: &mut impl Read) -> io::Result<Option<Vec<u8>>> {
    let mut length = [0; 4];
    match from.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::other(format!("a frame of {length} bytes: at most {FRAME_BYTES_MAX}")));
    }
    let mut frame = vec![0; length];
    from.read_exact(&mut frame)?;
    Ok(Some(frame))
}

/// Bytes that are put together.
struct Bytes(Vec<u8>);

impl Bytes {
    fn of(client: u64, number: u64, attempt: u32, tag: u8) -> Self {
        let mut bytes = Self(Vec::with_capacity(256));
        bytes.word(client).word(number).half(attempt).0.push(tag);
        bytes
    }

    fn word(&mut self, word: u64) -> &mut Self {
        self.0.extend_from_slice(&word.to_le_bytes());
        self
    }

    fn half(&mut self, half: u32) -> &mut Self {
        self.0.extend_from_slice(&half.to_le_bytes());
        self
    }

    fn run(&mut self, run: &[u8]) -> &mut Self {
        self.word(run.len() as u64).0.extend_from_slice(run);
        self
    }
}

/// Bytes that are taken apart.
struct Rest<'b>(&'b [u8]);

impl<'b> Rest<'b> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk::<N>()?;
        self.0 = rest;
        Some(*taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take().map(|[byte]| byte)
    }

    fn word(&mut self) -> Option<u64> {
        self.take().map(u64::from_le_bytes)
    }

    fn half(&mut self) -> Option<u32> {
        self.take().map(u32::from_le_bytes)
    }

    fn run(&mut self) -> Option<&'b [u8]> {
        let length = usize::try_from(self.word()?).ok()?;
        let (run, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(run)
    }

    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.run()?).ok()
    }
}

/// None for a request that is no producer's.
pub(super) fn encode_request(request: &Request) -> Option<Vec<u8>> {
    let begin = |tag| Bytes::of(request.client, request.number, request.attempt, tag);
    Some(match &request.call {
        Call::Register { producer, partition } => {
            begin(0).run(producer.as_bytes()).run(partition.as_bytes()).0.split_off(0)
        }
        Call::Append { partition, stamp, transaction: None, acknowledge, payload } => {
            let mut bytes = begin(1);
            bytes.run(partition.as_bytes()).0.push(match acknowledge {
                Acknowledge::Nothing => 0,
                Acknowledge::Visible => 1,
                Acknowledge::Durable => 2,
            });
            bytes.0.push(u8::from(stamp.is_some()));
            if let Some(Stamp { producer, epoch, sequence }) = stamp {
                bytes.word(producer.get()).half(*epoch).word(*sequence);
            }
            bytes.run(payload).0.split_off(0)
        }
        _ => return None,
    })
}

fn decode_request(frame: &[u8]) -> Option<Request> {
    let mut rest = Rest(frame);
    let (client, number, attempt) = (rest.word()?, rest.word()?, rest.half()?);
    let call = match rest.byte()? {
        0 => Call::Register { producer: rest.text()?.into(), partition: rest.text()?.into() },
        1 => {
            let partition = rest.text()?.into();
            let acknowledge = match rest.byte()? {
                0 => Acknowledge::Nothing,
                1 => Acknowledge::Visible,
                2 => Acknowledge::Durable,
                _ => return None,
            };
            let stamp = match rest.byte()? {
                0 => None,
                _ => Some(Stamp {
                    producer: ProducerId::from_u64(rest.word()?),
                    epoch: rest.half()?,
                    sequence: rest.word()?,
                }),
            };
            Call::Append { partition, stamp, transaction: None, acknowledge, payload: Arc::from(rest.run()?) }
        }
        _ => return None,
    };
    rest.0.is_empty().then_some(Request { client, number, attempt, call })
}

/// None for a reply that answers no producer.
fn encode_reply(reply: &Reply) -> Option<Vec<u8>> {
    let begin = |tag| Bytes::of(reply.client, reply.number, reply.attempt, tag);
    Some(match &reply.outcome {
        Outcome::Registered { producer, epoch, next_sequence, next_transaction } => {
            begin(0).word(producer.get()).half(*epoch).word(*next_sequence).word(*next_transaction).0.split_off(0)
        }
        Outcome::Answered(answer) => {
            let (tag, words) = match *answer {
                Answer::Appended { first, last } => (0, [first, last]),
                Answer::Duplicate { first, last } => (1, [first, last]),
                Answer::DuplicateTrimmed => (2, [0, 0]),
                Answer::Overlap { expected } => (3, [expected, 0]),
                Answer::OutOfOrder { expected } => (4, [expected, 0]),
                Answer::Fenced { epoch } => (5, [epoch.into(), 0]),
                Answer::EpochNotIssued { current } => (6, [current.into(), 0]),
                Answer::UnknownProducer => (7, [0, 0]),
                Answer::SequenceReused { expected } => (8, [expected, 0]),
                _ => return None,
            };
            begin(1).word(tag).word(words[0]).word(words[1]).0.split_off(0)
        }
        Outcome::Refused { retriable, reason } => {
            begin(2).half(u32::from(*retriable)).run(reason.as_bytes()).0.split_off(0)
        }
        _ => return None,
    })
}

pub(super) fn decode_reply(frame: &[u8]) -> Option<Reply> {
    let mut rest = Rest(frame);
    let (client, number, attempt) = (rest.word()?, rest.word()?, rest.half()?);
    let outcome = match rest.byte()? {
        0 => Outcome::Registered {
            producer: ProducerId::from_u64(rest.word()?),
            epoch: rest.half()?,
            next_sequence: rest.word()?,
            next_transaction: rest.word()?,
        },
        1 => {
            let (tag, first, last) = (rest.word()?, rest.word()?, rest.word()?);
            let epoch = u32::try_from(first);
            Outcome::Answered(match tag {
                0 => Answer::Appended { first, last },
                1 => Answer::Duplicate { first, last },
                2 => Answer::DuplicateTrimmed,
                3 => Answer::Overlap { expected: first },
                4 => Answer::OutOfOrder { expected: first },
                5 => Answer::Fenced { epoch: epoch.ok()? },
                6 => Answer::EpochNotIssued { current: epoch.ok()? },
                7 => Answer::UnknownProducer,
                8 => Answer::SequenceReused { expected: first },
                _ => return None,
            })
        }
        2 => Outcome::Refused { retriable: rest.half()? != 0, reason: rest.text()?.to_owned() },
        _ => return None,
    };
    rest.0.is_empty().then_some(Reply { client, number, attempt, outcome })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_on_the_wire_comes_off_it_and_what_is_cut_does_not() {
        let stamp = Some(Stamp { producer: ProducerId::from_u64(1 << 32), epoch: 7, sequence: u64::MAX });
        let calls = [
            Call::Register { producer: "web".into(), partition: "orders".into() },
            Call::Append {
                partition: "orders".into(),
                stamp,
                transaction: None,
                acknowledge: Acknowledge::Durable,
                payload: b"x"[..].into(),
            },
        ];
        for call in calls {
            let request = Request { client: u64::MAX, number: 3, attempt: 2, call };
            let bytes = encode_request(&request).expect("a producer's");
            assert_eq!(decode_request(&bytes), Some(request));
            assert!((0..bytes.len()).all(|length| decode_request(&bytes[..length]).is_none()));
        }
        let outcomes = [
            Outcome::Registered { producer: ProducerId::from_u64(9), epoch: 1, next_sequence: 2, next_transaction: 3 },
            Outcome::Answered(Answer::OutOfOrder { expected: 5 }),
            Outcome::Refused { retriable: true, reason: "no room".to_owned() },
        ];
        for outcome in outcomes {
            let reply = Reply { client: 1, number: 2, attempt: 3, outcome };
            let bytes = encode_reply(&reply).expect("to a producer");
            assert_eq!(decode_reply(&bytes), Some(reply));
            assert!((0..bytes.len()).all(|length| decode_reply(&bytes[..length]).is_none()));
        }
    }
}
