//! A producer that comes back after more than the near form of its part reaches, which is 128 KiB in this crate's own
//! tests: its frames take the far form, and old retries are still found through them.

use crate::{Answer, Log, Options, Stamp, Window};

fn appended(answer: Answer) -> u64 {
    match answer {
        Answer::Appended { first, .. } => first,
        other => panic!("{other:?}"),
    }
}

#[expect(unsafe_code, reason = "opening a log is")]
fn through(window: Window) {
    let directory = tempfile::tempdir().expect("a directory");
    let options = Options::new().segment_bytes(64 << 10).first_segment_bytes(64 << 10).window(window);
    // SAFETY: the directory is this test's own.
    let open = || unsafe { Log::open(directory.path(), &options) }.expect("opened");
    let log = open();
    let partition = log.partition("p").expect("made");
    let mut session = log.session("s").expect("registered");
    let id = log.register("i").expect("registered");
    let mut by_id = partition.appender().expect("an appender");
    let mut between = partition.appender().expect("an appender");
    let mut offsets = Vec::new();
    for round in 0..4_u64 {
        let filled = session
            .append_with(&partition, round * 2 + 1, 3, |_, body| -> Result<(), ()> {
                body.copy_from_slice(b"two");
                Ok(())
            })
            .map(|answer| matches!(answer, Answer::OutOfOrder { .. }));
        assert!(filled.expect("answered"), "the sequence before it is missing");
        let one = appended(session.append(&partition, round * 2, b"one").expect("appended"));
        let two = session.append_with(&partition, round * 2 + 1, 3, |_, body| -> Result<(), ()> {
            body.copy_from_slice(b"two");
            Ok(())
        });
        let stamp = Stamp { producer: id.id, epoch: id.epoch, sequence: round };
        let by_id = appended(by_id.append_by_id(stamp, b"by id").expect("appended"));
        offsets.push((one, appended(two.expect("appended")), by_id));
        // Once less than half of the reach, then more than all of it.
        let bytes = if round == 1 { 32 << 10 } else { 200 << 10 };
        for _ in 0..bytes / 1_032 {
            between.append(&[7; 1_000]).expect("appended");
        }
    }
    drop((by_id, between, session, partition));
    log.close().expect("closed");
    let log = open();
    let partition = log.partition("p").expect("there");
    let mut session = log.session("s").expect("registered");
    let mut by_id = partition.appender().expect("an appender");
    for (round, (one, two, third)) in offsets.into_iter().enumerate() {
        let round = round as u64;
        let again = |offset| Answer::Duplicate { first: offset, last: offset };
        assert_eq!(session.append(&partition, round * 2, b"one").expect("answered"), again(one));
        assert_eq!(session.append(&partition, round * 2 + 1, b"two").expect("answered"), again(two));
        let stamp = Stamp { producer: id.id, epoch: id.epoch, sequence: round };
        assert_eq!(by_id.append_by_id(stamp, b"by id").expect("answered"), again(third));
    }
}

#[test]
fn an_old_retry_is_found_through_the_far_form_mapped() {
    through(Window::Mapped);
}

#[test]
fn an_old_retry_is_found_through_the_far_form_direct() {
    through(Window::Direct);
}
