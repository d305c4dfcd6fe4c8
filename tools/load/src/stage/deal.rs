//! Producers and partitions, dealt out to the threads.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use oncelog::{Log, Partition, ProducerId};

use crate::error::LoadError;
use crate::lane::{Kind, Place};
use crate::turns::Turns;
use crate::workload::{Idempotence, Workload};

/// What each thread appends through.
pub(super) fn kinds(
    log: &Log,
    name: &str,
    workload: &Workload,
    partitions: &[Partition],
    seed: u64,
) -> Result<Vec<Kind>, LoadError> {
    let threads = workload.threads;
    let producer_name = |producer: usize| format!("{name}-producer-{producer}");
    let place = |partition: &Partition| -> Result<Place, LoadError> {
        Ok(Place { appender: partition.appender()?, partition: partition.clone() })
    };
    let places = || partitions.iter().map(place).collect::<Result<Vec<_>, _>>();
    let (ids, epoch) = match workload.idempotence {
        Idempotence::ById => register(log, workload.producers, producer_name)?,
        _ => ((0..workload.producers.max(threads) as u64).map(ProducerId::from_u64).collect(), 0),
    };
    let sequences: Vec<_> = partitions.iter().map(|_| Arc::new(Mutex::new(HashMap::new()))).collect();
    (0..threads)
        .map(|thread| {
            let own: Vec<ProducerId> = ids.iter().skip(thread).step_by(threads).copied().collect();
            let dealt: Vec<u32> = dealt(thread, threads, partitions.len());
            let turns = |ids: &[ProducerId]| {
                Turns::shuffled(ids, &dealt, workload.skew, workload.batch, seed ^ (thread as u64) << 32)
            };
            Ok(match workload.idempotence {
                Idempotence::Off if dealt.len() == 1 => Kind::Plain(place(&partitions[dealt[0] as usize])?),
                Idempotence::Off => Kind::PlainAmong { places: places()?, turns: turns(&own[..1]), at: 0 },
                Idempotence::Session => {
                    let names = (0..workload.producers).skip(thread).step_by(threads).map(producer_name);
                    let mut sessions = names.map(|name| log.session(&name)).collect::<Result<Vec<_>, _>>()?;
                    match sessions.pop() {
                        Some(session) if sessions.is_empty() && dealt.len() == 1 => Kind::Session {
                            session,
                            partition: partitions[dealt[0] as usize].clone(),
                            sequence: 0_u64.wrapping_sub(workload.batch as u64),
                        },
                        last => {
                            sessions.extend(last);
                            Kind::Sessions { sessions, partitions: partitions.to_vec(), turns: turns(&own), at: 0 }
                        }
                    }
                }
                Idempotence::ById => Kind::ById { places: places()?, turns: turns(&own), epoch, at: 0 },
                Idempotence::Mutex => Kind::Mutex {
                    places: places()?.into_iter().zip(sequences.iter().cloned()).collect(),
                    turns: turns(&own),
                    at: 0,
                },
            })
        })
        .collect()
}

/// Registers producers in chunks, so that their names are never all in memory.
fn register(log: &Log, producers: usize, name: impl Fn(usize) -> String) -> Result<(Vec<ProducerId>, u32), LoadError> {
    const CHUNK: usize = 65_536;
    let mut ids = Vec::with_capacity(producers);
    let mut epochs = None;
    for first in (0..producers).step_by(CHUNK) {
        let names: Vec<String> = (first..producers.min(first + CHUNK)).map(&name).collect();
        for registration in log.register_all(&names)? {
            if *epochs.get_or_insert(registration.epoch) != registration.epoch {
                return Err(LoadError::Answer(format!("epoch {} for a new name", registration.epoch)));
            }
            ids.push(registration.id);
        }
    }
    Ok((ids, epochs.unwrap_or(0)))
}

/// The partitions of one thread: all of them over all threads, and at least one each.
fn dealt(thread: usize, threads: usize, partitions: usize) -> Vec<u32> {
    if partitions >= threads {
        (thread as u32..partitions as u32).step_by(threads).collect()
    } else {
        vec![(thread % partitions) as u32]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_partition_is_dealt_and_every_thread_gets_one() {
        assert_eq!(dealt(0, 2, 5), [0, 2, 4]);
        assert_eq!(dealt(1, 2, 5), [1, 3]);
        assert_eq!(dealt(3, 4, 3), [0]);
    }
}
