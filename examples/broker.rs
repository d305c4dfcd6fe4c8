//! A broker over TCP: producers keep several records in flight and send again what was not answered, and each record is
//! stored once; consumers wait for what comes. The standard library and this log, nothing else.
//!
//! Both ways a message is a length (u32), a verb (u8), three numbers (u64) and bytes, little-endian:
//!
//! ```text
//!                 request                            answer
//! R  register     bytes: name                         id, epoch, next sequence
//! A  append       id, epoch, sequence; bytes: record  sequence, 1 if it was stored before; or X, bytes: why not
//! F  fetch        offset                              offset to go on at; bytes: records, each behind its length
//! ```
//!
//! `cargo run --example broker`
#![allow(clippy::print_stdout, reason = "an example speaks")]

use oncelog::{Answer, Log, Options, Partition, ProducerId, Stamp, Window};
use std::{
    error::Error,
    io::{self, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    sync::{
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

type Failure = Box<dyn Error + Send + Sync>;

const HEAD_BYTES: usize = 25;
const REQUEST_BYTES_MAX: usize = 1 << 20;
const ANSWER_BYTES_MAX: usize = 2 * REQUEST_BYTES_MAX; // Half of it, and one record more.
const IN_FLIGHT: u64 = 16;
const PATIENCE: Duration = Duration::from_secs(60);

struct Message(u8, [u64; 3], Vec<u8>); // Verb, numbers, bytes.

impl Message {
    fn send(&self, mut stream: &TcpStream) -> io::Result<()> {
        let Self(verb, numbers, bytes) = self;
        let mut message = ((HEAD_BYTES + bytes.len()) as u32).to_le_bytes().to_vec();
        message.push(*verb);
        numbers.iter().for_each(|number| message.extend(number.to_le_bytes()));
        message.extend(bytes);
        stream.write_all(&message)
    }

    fn receive(mut stream: &TcpStream, most: usize) -> io::Result<Self> {
        let mut length = [0; 4];
        stream.read_exact(&mut length)?;
        let length = u32::from_le_bytes(length) as usize;
        if !(HEAD_BYTES..=most).contains(&length) {
            return Err(io::Error::other(format!("a message of {length} bytes: {HEAD_BYTES} to {most} are possible")));
        }
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes)?;
        let number = |index: usize| bytes[1 + 8 * index..].first_chunk().map_or(0, |eight| u64::from_le_bytes(*eight));
        let (verb, numbers) = (bytes[0], [number(0), number(1), number(2)]);
        Ok(Self(verb, numbers, bytes.split_off(HEAD_BYTES)))
    }
}

/// Serves one connection until its other end is closed. Requests are carried out as they come; answers wait for the device
/// on a thread of their own, so a whole window of appends shares a flush. No answer, to a consumer neither, speaks of what
/// a power cut could still take back.
fn serve(log: &Log, orders: &Partition, stream: &TcpStream, answered: &AtomicU64) -> Result<(), Failure> {
    let mut appender = orders.appender()?;
    let mut reader = orders.read_from(orders.start_offset())?;
    let (answers, ready) = mpsc::sync_channel::<(Message, Option<u64>)>(IN_FLIGHT as usize);
    thread::scope(move |scope| {
        scope.spawn(move || -> Result<(), Failure> {
            for (answer, durable) in ready {
                let is_durable = durable.is_none_or(|offset| orders.wait_durable(offset, PATIENCE).unwrap_or(false));
                // What networks do by themselves: a connection breaks, and takes answers with it.
                let breaks = answer.0 == b'A' && answered.fetch_add(1, Relaxed) % 50 == 49;
                if !is_durable || breaks {
                    return Ok(stream.shutdown(Shutdown::Both)?);
                }
                answer.send(stream)?;
            }
            Ok(())
        });
        loop {
            let Message(verb, [first, second, sequence], bytes) = Message::receive(stream, REQUEST_BYTES_MAX)?;
            answers.send(match verb {
                b'R' => {
                    let producer = log.register(std::str::from_utf8(&bytes)?)?;
                    let numbers = [producer.id.get(), producer.epoch.into(), orders.next_sequence(producer.id)];
                    (Message(verb, numbers, Vec::new()), None)
                }
                b'A' => {
                    let (producer, epoch) = (ProducerId::from_u64(first), u32::try_from(second)?);
                    let answer = appender.append_by_id(Stamp { producer, epoch, sequence }, &bytes)?;
                    let stored = answer.offsets().map(|offsets| offsets.last);
                    match answer {
                        Answer::Appended { .. } => (Message(verb, [sequence, 0, 0], Vec::new()), stored),
                        _ if answer.is_stored() => (Message(verb, [sequence, 1, 0], Vec::new()), stored),
                        _ => (Message(b'X', [0; 3], format!("{answer:?}").into()), None),
                    }
                }
                b'F' => {
                    if reader.next_offset() != first {
                        reader.seek(first)?;
                    }
                    reader.wait(Duration::from_millis(100))?;
                    let mut bytes = Vec::new();
                    while bytes.len() < ANSWER_BYTES_MAX / 2
                        && let Some(record) = reader.next()?
                    {
                        bytes.extend((record.payload().len() as u32).to_le_bytes());
                        bytes.extend(record.payload());
                    }
                    let next = reader.next_offset();
                    (Message(verb, [next, 0, 0], bytes), next.checked_sub(1))
                }
                other => return Err(format!("verb {other}: R, A and F are known").into()),
            })?;
        }
    })
}

/// Sends records until all are answered, over as many connections as it takes. Returns how many were stored before.
fn produce(address: SocketAddr, name: &str, records: u64) -> Result<u64, Failure> {
    let mut stream = TcpStream::connect(address)?;
    Message(b'R', [0; 3], name.into()).send(&stream)?;
    let Message(_, [id, epoch, mut answered], _) = Message::receive(&stream, ANSWER_BYTES_MAX)?;
    let (mut sent, mut stored) = (answered, 0);
    while answered < records {
        let exchanged = if sent < records.min(answered + IN_FLIGHT) {
            Message(b'A', [id, epoch, sent], format!("{name} {sent}").into()).send(&stream).map(|()| None)
        } else {
            Message::receive(&stream, ANSWER_BYTES_MAX).map(Some)
        };
        match exchanged {
            Ok(None) => sent += 1,
            Ok(Some(Message(b'A', [sequence, again, _], _))) => (answered, stored) = (sequence + 1, stored + again),
            Ok(Some(Message(_, _, why))) => return Err(String::from_utf8(why)?.into()),
            // Nobody knows what was stored of what was sent. So it is sent again, under the same numbers.
            Err(_) => (stream, sent) = (TcpStream::connect(address)?, answered),
        }
    }
    Ok(stored)
}

/// Reads from the first record on until it has seen so many, or has lost patience.
fn consume(address: SocketAddr, records: usize) -> Result<Vec<String>, Failure> {
    let stream = TcpStream::connect(address)?;
    let (mut next, mut seen, until) = (0, Vec::new(), Instant::now() + PATIENCE);
    while seen.len() < records && Instant::now() < until {
        Message(b'F', [next, 0, 0], Vec::new()).send(&stream)?;
        let Message(_, [go_on_at, ..], bytes) = Message::receive(&stream, ANSWER_BYTES_MAX)?;
        let mut rest = &bytes[..];
        while let Some((length, behind)) = rest.split_first_chunk() {
            let (record, behind) = behind.split_at(u32::from_le_bytes(*length) as usize);
            seen.push(String::from_utf8(record.to_vec())?);
            rest = behind;
        }
        next = go_on_at;
    }
    Ok(seen)
}

fn main() -> Result<(), Failure> {
    let dir = tempfile::tempdir()?;
    // SAFETY: nothing else writes to this directory.
    let log = unsafe { Options::new().window(Window::Direct).open(dir.path())? };
    let orders = log.partition("orders")?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let (address, answered, over) = (listener.local_addr()?, AtomicU64::new(0), AtomicBool::new(false));
    let (tills, consumers) = thread::scope(|scope| {
        let (log, orders, answered, over) = (&log, &orders, &answered, &over);
        scope.spawn(move || {
            for stream in listener.incoming().flatten().take_while(|_| !over.load(Relaxed)) {
                scope.spawn(move || serve(log, orders, &stream, answered));
            }
        });
        let tills = [0, 1, 2, 3].map(|till| scope.spawn(move || produce(address, &format!("till-{till}"), 500)));
        let consumers = [0; 2].map(|_| scope.spawn(move || consume(address, 2_000)));
        let outcomes = (tills.map(|till| till.join()), consumers.map(|consumer| consumer.join()));
        over.store(true, Relaxed);
        drop(TcpStream::connect(address)); // The broker waits for connections no more.
        outcomes
    });
    let mut again = 0;
    for till in tills {
        again += till.expect("no panic")?;
    }
    for seen in consumers {
        let seen = seen.expect("no panic")?;
        for till in 0..4 {
            let own = seen.iter().filter_map(|record| record.strip_prefix(&format!("till-{till} ")));
            assert!(own.eq((0..500).map(|number| number.to_string())), "each once, in order");
        }
    }
    println!("2000 records stored once, {again} of them sent again, and seen in order by 2 consumers");
    drop(orders);
    Ok(log.close()?)
}
