//! The rows that the flags of `oncelog bench` ask for.

use std::sync::Arc;

use oncelog_load::{
    Acknowledge, Idempotence, LoadError, Pace, Payloads, Reading, Reopen, Row, Sustained, Window, Workload, canonical,
};

use super::{Arguments, filled};
use crate::failure::Failure;

/// Whether a run is the canonical one, or the full one, and no choice of somebody's.
pub(super) fn is_whole(arguments: &Arguments) -> bool {
    let of_its_own = arguments.bytes.is_some() || arguments.reopen_bytes.is_some();
    !(has_axes(arguments) || arguments.quick || of_its_own) && arguments.rows.is_empty()
}

/// Whether the flags choose what is measured.
fn has_axes(arguments: &Arguments) -> bool {
    !(arguments.idempotence.is_empty()
        && arguments.payload_bytes.is_empty()
        && arguments.payload_file.is_none()
        && arguments.batch.is_empty()
        && arguments.threads.is_empty()
        && arguments.producers.is_empty()
        && arguments.partitions.is_empty()
        && arguments.payload_mix.is_none()
        && arguments.skew.is_empty()
        && arguments.readers.is_empty()
        && arguments.duplicates.is_empty()
        && arguments.acknowledge.is_empty()
        && arguments.window.is_empty()
        && arguments.rate.is_empty()
        && arguments.pace.is_none()
        && !arguments.sweep
        && !arguments.scan
        && !arguments.pipelined)
}

/// The rows of the flags: the canonical ones without any, else every combination.
pub(super) fn rows(arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let axes = has_axes(arguments);
    let of_its_own = arguments.bytes.is_some() || arguments.reopen_bytes.is_some();
    if !arguments.rows.is_empty() && (axes || of_its_own) {
        return Err(Failure::Usage("--rows chooses among the usual rows: leave out the axes".to_owned()));
    }
    if arguments.full && axes {
        return Err(Failure::Usage("--full has all axes: leave out the others".to_owned()));
    }
    if let Some(bytes) = arguments.bytes {
        return sustained(arguments, bytes);
    }
    if let Some(bytes) = arguments.reopen_bytes {
        return reopened(arguments, bytes);
    }
    match (axes, arguments.quick) {
        (false, _) if arguments.full => chosen(canonical::full_rows(), arguments),
        (false, false) => chosen(canonical::rows(), arguments),
        (false, true) => chosen(canonical::quick_rows(), arguments),
        (true, _) => combinations(arguments),
    }
}

/// Of the usual rows those that are asked for by name.
fn chosen(mut rows: Vec<Row>, arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    if !arguments.rows.is_empty() {
        rows.retain(|row| arguments.rows.iter().any(|part| row.label().contains(part.as_str())));
    }
    if rows.is_empty() {
        return Err(Failure::Usage(format!("no row has {} in its name", arguments.rows.join(" or "))));
    }
    Ok(rows)
}

/// Refuses flags that a row of its own kind has no use for.
fn without(arguments: &Arguments, flag: &str) -> Result<(), Failure> {
    let given = [
        ("--idempotence", arguments.idempotence.iter().any(|idempotence| *idempotence != Idempotence::Off)),
        ("--payload-file", arguments.payload_file.is_some()),
        ("--batch", !arguments.batch.is_empty()),
        ("--threads", !arguments.threads.is_empty()),
        ("--producers", !arguments.producers.is_empty()),
        ("--partitions", !arguments.partitions.is_empty()),
        ("--payload-mix", arguments.payload_mix.is_some()),
        ("--skew", !arguments.skew.is_empty()),
        ("--readers", !arguments.readers.is_empty()),
        ("--sweep", arguments.sweep),
        ("--scan", arguments.scan),
        ("--full", arguments.full),
        ("--duplicates", !arguments.duplicates.is_empty()),
        ("--acknowledge", !arguments.acknowledge.is_empty()),
        ("--rate", !arguments.rate.is_empty()),
        ("--loop", arguments.pace.is_some()),
        ("--pipelined", arguments.pipelined),
        ("--quick", arguments.quick),
        ("--dir", arguments.dir.is_some()),
    ];
    match given.iter().find(|(_, given)| *given) {
        Some((other, _)) => Err(Failure::Usage(format!("{flag} is a run of its own: leave out {other}"))),
        None => Ok(()),
    }
}

/// Workloads of one thread without idempotence, by payload and window.
fn plain(arguments: &Arguments, windows: &[Window]) -> Result<Vec<Workload>, Failure> {
    let sizes = or(&arguments.payload_bytes, &[1024]);
    let payloads = sizes.iter().map(|bytes| fixed(*bytes)).collect::<Result<Vec<_>, _>>()?;
    let workloads: Vec<Workload> = payloads.into_iter().map(|payloads| Workload::new(Arc::new(payloads))).collect();
    Ok(each(&workloads, &or(&arguments.window, windows), |workload, window| workload.window = window))
}

fn sustained(arguments: &Arguments, bytes: u64) -> Result<Vec<Row>, Failure> {
    without(arguments, "--bytes")?;
    let least = arguments.segment_bytes.unwrap_or(64 << 20) * 2;
    if arguments.retention_bytes < least {
        return Err(Failure::Usage(format!(
            "retention bytes is {}: at least two segments, which are {least}",
            arguments.retention_bytes
        )));
    }
    let sustained = Sustained { bytes, retention_bytes: arguments.retention_bytes, recycle: !arguments.no_recycle };
    let row = |workload| Row::Sustained(workload, sustained);
    Ok(plain(arguments, &[Window::Direct, Window::Mapped])?.into_iter().map(row).collect())
}

fn reopened(arguments: &Arguments, bytes: u64) -> Result<Vec<Row>, Failure> {
    without(arguments, "--reopen-bytes")?;
    let reopen = Reopen { bytes, fill_and_kill: filled::fill_and_kill };
    Ok(plain(arguments, &[Window::Direct])?.into_iter().map(|workload| Row::Reopen(workload, reopen)).collect())
}

fn combinations(arguments: &Arguments) -> Result<Vec<Row>, Failure> {
    let durable = arguments.acknowledge.contains(&Acknowledge::Durable) || arguments.pipelined;
    let threads: &[usize] = if durable && arguments.quick { &[1, 16] } else { &[1] };
    let window = if durable { Window::Direct } else { Window::Mapped };
    let level = if arguments.pipelined { Acknowledge::Durable } else { Acknowledge::Written };
    let idempotences = or(&arguments.idempotence, &[Idempotence::Off, Idempotence::Session, Idempotence::ById]);
    let mut workloads: Vec<Workload> =
        payloads(arguments)?.into_iter().map(|payloads| Workload::new(Arc::new(payloads))).collect();
    workloads = each(&workloads, &or(&arguments.batch, &[1]), |workload, batch| workload.batch = batch);
    workloads = each(&workloads, &or(&arguments.threads, threads), |workload, threads| workload.threads = threads);
    workloads = each(&workloads, &or(&arguments.readers, &[0]), |workload, readers| workload.readers = readers);
    workloads = each(&workloads, &or(&arguments.reading, &[Reading::Polling]), |workload, reading| {
        workload.reading = reading;
    });
    let partitions: Vec<Option<usize>> =
        or(&arguments.partitions.iter().copied().map(Some).collect::<Vec<_>>(), &[None]);
    workloads = each(&workloads, &partitions, |workload, partitions| {
        // Readers that follow need to know who appends to their partition.
        let usual = if workload.readers > 0 && !arguments.scan { workload.threads } else { 1 };
        workload.partitions = partitions.unwrap_or(usual);
    });
    workloads = each(&workloads, &or(&arguments.skew, &[0.0]), |workload, skew| workload.skew = skew);
    workloads = each(&workloads, &or(&arguments.acknowledge, &[level]), |workload, level| {
        workload.acknowledge = level;
    });
    workloads = each(&workloads, &or(&arguments.window, &[window]), |workload, window| workload.window = window);
    workloads = each(&workloads, &paces(arguments)?, |workload, pace| workload.pace = pace);
    workloads = each(&workloads, &idempotences, |workload, idempotence| workload.idempotence = idempotence);
    let producers: Vec<Option<usize>> = or(&arguments.producers.iter().copied().map(Some).collect::<Vec<_>>(), &[None]);
    workloads =
        each(&workloads, &producers, |workload, producers| workload.producers = producers.unwrap_or(workload.threads));
    workloads = each(&workloads, &or(&arguments.duplicates, &[0.0]), |workload, share| workload.duplicates = share);
    // Off has no producers and recognises no retry; beside the others it is measured once, as what they are compared with.
    if idempotences.len() > 1 {
        for workload in &mut workloads {
            if workload.idempotence == Idempotence::Off {
                *workload = workload.without_idempotence();
            }
        }
    }
    let mut rows: Vec<Row> = Vec::new();
    for workload in workloads {
        if arguments.pipelined && workload.acknowledge != Acknowledge::Durable {
            return Err(Failure::Usage(format!("a pipeline ends when it is durable, not {}", workload.acknowledge)));
        }
        let row = match (arguments.pipelined, arguments.sweep, arguments.scan) {
            (true, ..) => Row::Pipelined(workload),
            (_, true, _) => Row::Sweep(workload),
            (.., true) => Row::Fetch(workload),
            _ => Row::Append(workload),
        };
        row.check().map_err(LoadError::from)?;
        if rows.iter().all(|other| other.label() != row.label()) {
            rows.push(row);
        }
    }
    Ok(rows)
}

fn payloads(arguments: &Arguments) -> Result<Vec<Payloads>, Failure> {
    if let Some(path) = &arguments.payload_file {
        return Ok(vec![Payloads::lines_of(path).map_err(LoadError::from)?]);
    }
    if let Some(mix) = &arguments.payload_mix {
        let limit = oncelog::format::FRAME_BYTES_MAX;
        return match mix.iter().find(|(bytes, _)| *bytes > limit) {
            Some((bytes, _)) => Err(Failure::Usage(format!("payload bytes is {bytes}: the limit is {limit}"))),
            None => Ok(vec![Payloads::mixed(mix).map_err(LoadError::from)?]),
        };
    }
    let usual: &[usize] = if arguments.quick { &[100, 1024] } else { &[100] };
    let sizes = or(&arguments.payload_bytes, usual);
    sizes.into_iter().map(fixed).collect()
}

fn fixed(bytes: usize) -> Result<Payloads, Failure> {
    let limit = oncelog::format::FRAME_BYTES_MAX;
    if bytes > limit {
        return Err(Failure::Usage(format!("payload bytes is {bytes}: the limit is {limit}")));
    }
    Ok(Payloads::fixed(bytes))
}

fn paces(arguments: &Arguments) -> Result<Vec<Pace>, Failure> {
    match (arguments.pace.as_deref(), arguments.rate.as_slice()) {
        (Some("closed"), [rate, ..]) => Err(Failure::Usage(format!(
            "a rate of {rate} a second is a schedule: a closed loop has none, leave out one of the two"
        ))),
        (Some("closed"), []) if arguments.sweep => {
            Err(Failure::Usage("a sweep is of schedules: a closed loop has none, leave out one of the two".to_owned()))
        }
        (None, []) if arguments.sweep && arguments.acknowledge.contains(&Acknowledge::Durable) => {
            Ok(vec![Pace::Open { rate_per_second: canonical::DURABLE_SWEEP_PER_SECOND }])
        }
        (None, []) if arguments.sweep || (!arguments.readers.is_empty() && !arguments.scan) => {
            Ok(vec![Pace::Open { rate_per_second: canonical::RATE_PER_SECOND }])
        }
        (Some("open"), []) => Ok(vec![Pace::Open { rate_per_second: canonical::RATE_PER_SECOND }]),
        (_, []) => Ok(vec![Pace::Closed]),
        (_, rates) => Ok(rates.iter().map(|rate| Pace::Open { rate_per_second: *rate }).collect()),
    }
}

fn or<T: Clone>(given: &[T], usual: &[T]) -> Vec<T> {
    if given.is_empty() { usual.to_vec() } else { given.to_vec() }
}

/// Every workload with every value of one more axis.
fn each<T: Copy>(workloads: &[Workload], values: &[T], set: impl Fn(&mut Workload, T)) -> Vec<Workload> {
    let with = |workload: &Workload, value: &T| {
        let mut workload = workload.clone();
        set(&mut workload, *value);
        workload
    };
    workloads.iter().flat_map(|workload| values.iter().map(move |value| with(workload, value))).collect()
}
