//! Random concurrent histories of transactions, with crashes in between, of which every answer and everything read must be
//! explained by some order of them (`tools/history`). `oncelog crash transactions` does so for longer, and kills processes.

use oncelog::{Log, Window};
use oncelog_history::{Counts, Dice, End, History, Recorder, Stage, check, look};
use std::{fs, io, path::Path, time::Duration};

/// Crashes of one history.
const CRASHES: u64 = 4;

fn open(directory: &Path, window: Window) -> Log {
    // SAFETY: the directory is this test's own.
    unsafe { Stage::options(window).open(directory) }.expect("the log opens")
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let to = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &to)?;
        } else {
            fs::copy(entry.path(), to)?;
        }
    }
    Ok(())
}

/// The files as they are while the log is open, with nobody at work but the log's own threads, which rename some. What they
/// write meanwhile would make a state that no crash leaves: one file from before a commit, and another with its marker.
fn copy_of_open_log(log: &Log, from: &Path, to: &Path) {
    for _ in 0..1_000 {
        let before = log.stats().flush;
        if copy(from, to).is_ok() && log.stats().flush == before {
            return;
        }
        let _ = fs::remove_dir_all(to);
    }
    panic!("the log's files never come to rest");
}

/// Lives of one log, each ended by a crash: all handles are left as they are, and the files copied and opened again.
fn lives(window: Window, seed: u64) -> Counts {
    let place = tempfile::tempdir().expect("a directory");
    let directory = |number: u64| place.path().join(number.to_string());
    let mut dice = Dice::new(seed);
    let mut history = History::default();
    for crash in 0..CRASHES {
        let recorder = Recorder::in_memory();
        let log = open(&directory(crash), window);
        // Half of the lives end in quiet, and are compared with what was read to the last offset.
        let finish = dice.one_in(2);
        {
            let stage = Stage::new(&log, &recorder, dice.roll(), crash).expect("a stage");
            stage.ask_again(&history.pending());
            stage.run(Duration::from_millis(60 + dice.below(60)), finish);
        }
        let end = if window == Window::Mapped { End::KeepsVisible } else { End::KeepsDurable };
        let mut events = recorder.take();
        if finish {
            history.push(std::mem::take(&mut events), End::Quiet, look(&log).expect("it is read"));
        }
        copy_of_open_log(&log, &directory(crash), &directory(crash + 1));
        drop(log);
        let copied = open(&directory(crash + 1), window);
        history.push(events, end, look(&copied).expect("it is read"));
        // Let go of as it is: the next life opens it once more.
        drop(copied);
        if let Err(fault) = check(&history) {
            panic!("{window:?}, seed {seed}, crash {crash}: {fault}");
        }
    }
    check(&history).expect("it was checked")
}

mod transaction {
    use super::*;

    fn histories(window: Window, seeds: std::ops::Range<u64>) {
        let mut counts = Counts::new();
        for seed in seeds {
            for (what, count) in lives(window, seed) {
                *counts.entry(what).or_default() += count;
            }
        }
        // A history in which nothing happens proves nothing.
        for what in [
            "answers that it is committed",
            "answers that it is durable",
            "aborted: asked for",
            "aborted: dropped",
            "aborted: timed out",
            "aborted: fenced",
            "offsets in transactions",
            "groups taken over",
            "late calls",
        ] {
            assert!(counts.get(what).is_some_and(|count| *count > 0), "none of these: {what}; {counts:#?}");
        }
    }

    #[test]
    fn histories_with_crashes_are_explained_in_the_mapped_window() {
        histories(Window::Mapped, 1..5);
    }

    #[test]
    fn histories_with_crashes_are_explained_in_the_direct_window() {
        histories(Window::Direct, 101..105);
    }
}
