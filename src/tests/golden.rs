//! What this build writes, byte for byte: the same inputs must give the bytes of the golden files in `tests/golden`, and
//! those must be read as what was written. `ONCELOG_BLESS=1` writes them anew.

#[path = "../../tests/golden/hex.rs"]
mod hex;

use crate::{
    format::{
        control::{CONTROL_BYTES, Fence, Mark},
        files::{Directory, Identity},
        frame::{Form, Header, Kind, Part, units_of},
        ledger::{CommitPart, GroupOffset, LedgerEntry},
        registration::RegistrationEntry,
        segment_header::{HEADER_BYTES, Seal, SealReason, SegmentHeader},
        snapshot::{Aborted, Beside, Extent, ProducerEntry, Snapshot, SnapshotHeader, Undecided},
    },
    ids::{Mode, ProducerId, Progress, Stamp},
    options::Options,
    partition::{
        append::{Admission, Cursor, Supply},
        body::{Body, Fitting, Gathered, Single, fit},
        fill::Author,
        slot::{Slot, State},
    },
    raw::table::Table,
    segment::{
        file::Segment,
        scan::{Found, find},
        tail::{FIRST_UNIT, Tail},
    },
};
use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

const LOG: u128 = 0x0123_4567_89AB_CDEF_FEDC_BA98_7654_3210;
const PREPARED_MS: u64 = 1_700_000_000_000;
const SEGMENT_BYTES: u64 = 64 << 10;

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden").join(name)
}

fn check(name: &str, bytes: &[u8]) {
    hex::check(&golden(name), &hex::dump(bytes));
    let read = hex::undump(&fs::read_to_string(golden(name)).expect("a golden file"));
    assert!(read == bytes, "{name} is read as it was written");
}

/// There is no other segment than the first.
struct OneIsEnough;

impl Supply for OneIsEnough {
    type Error = Infallible;

    fn wait_for_successor(&self, _of: &Tail) -> Result<(), Infallible> {
        panic!("the segment has room");
    }

    fn opened(&self) {}
}

fn whole<B: Body>(body: &B) -> Fitting<'_, B> {
    fit(body, 1 << 20).expect("a body has records")
}

fn header() -> SegmentHeader {
    SegmentHeader {
        log: LOG,
        partition: 3,
        number: 7,
        bytes: SEGMENT_BYTES,
        base_position: 6 * SEGMENT_BYTES,
        tag: 0xA1_B2C3_D4E5,
        salt: 0x0F1E_2D3C_4B5A_6978,
        prepared_ms: PREPARED_MS,
    }
}

/// A segment with every kind of frame in it.
fn segment(directory: &Path) -> Segment {
    let segment = Segment::prepare(directory, header(), None, &Options::new()).expect("prepared");
    let tail = segment.tail().expect("it takes claims");
    let before = Tail::ended(6, 5 * SEGMENT_BYTES, 6 * SEGMENT_BYTES - 800, 1_000);
    before.link(Arc::clone(tail));
    // Writes the START frame.
    assert!(before.successor().is_some_and(|(_, opened)| opened));
    let mut cursor = Cursor::new(Arc::clone(tail));
    let control = |kind, words, now_ms| {
        let reservation = tail.claim(0, units_of(CONTROL_BYTES, Form::Plain)).expect("room");
        let place = reservation.place;
        let header = Header {
            body_bytes: CONTROL_BYTES as u32,
            kind,
            records: 0,
            offset_delta: place.records as u32,
            time_delta: tail.time_delta(now_ms),
            part: Part::None,
        };
        tail.publish_control(reservation.claim, place.units, header, words);
    };

    let Ok(_) = cursor.append(&whole(&Single(b"a plain record")), PREPARED_MS + 1, &OneIsEnough);
    let Ok(_) = cursor.append(&whole(&Single(b"")), PREPARED_MS + 2, &OneIsEnough);
    let Ok(_) = cursor.append(&whole(&Gathered(&[b"a batch", b"", b"of three"])), PREPARED_MS + 300, &OneIsEnough);
    let given_up = cursor.append_with(50, None, PREPARED_MS + 301, &OneIsEnough, |_, bytes| {
        // Zero again, so that what a void frame holds is the same each time.
        bytes.fill(0);
        Err(())
    });
    assert!(matches!(given_up, Ok(Err(()))));

    let table: Table<Slot> = Table::new(2).expect("a table");
    let (id, state) = (ProducerId::new(0, 5), State::new(9, Mode::Session));
    let slot = table.get(0).expect("a slot");
    let mut progress = Progress { expected: 40, last_position: 4_096 + 56, last_ms: PREPARED_MS };
    slot.assign(id, state, progress);
    let now_ms = PREPARED_MS + 70_000;
    let body = Single(b"of a session");
    let admitted = cursor.append_session(&whole(&body), slot, id, state, &mut progress, now_ms, &OneIsEnough);
    assert!(matches!(admitted, Ok(Admission::Appended(_))));
    let author = Author { slot, id, state, progress: &mut progress };
    let filled = cursor.append_with(6, Some(author), now_ms, &OneIsEnough, |_, bytes| {
        bytes.copy_from_slice(b"filled");
        Ok::<(), ()>(())
    });
    assert!(matches!(filled, Ok(Ok(Admission::Appended(_)))));
    let fence = Fence { producer: id, epoch: 10, restart: false };
    let Ok(fenced) = cursor.fence(slot, State::new(10, Mode::Session), fence, now_ms + 1, &OneIsEnough, |_| {});
    assert_eq!(fenced, progress);
    let batch = Gathered(&[b"fenced", b"twice"]);
    let refused = cursor.append_session(&whole(&batch), slot, id, state, &mut progress, now_ms + 2, &OneIsEnough);
    assert!(matches!(refused, Ok(Admission::State)));

    let (id, state) = (ProducerId::new(1, 1), State::new(1, Mode::ById));
    let slot = table.get(1).expect("a slot");
    slot.assign(id, state, Progress::default());
    let stamp = Stamp { producer: id, epoch: 1, sequence: 0 };
    let batch = Gathered(&[b"by", b"id"]);
    let admitted = cursor.append_by_id(&whole(&batch), slot, stamp, 0, state, now_ms + 3);
    assert!(admitted.is_ok());
    control(Kind::Fence, Fence { producer: id, epoch: 2, restart: true }.words(), now_ms + 4);
    control(Kind::Mark, Mark { durable: 6 * SEGMENT_BYTES + 4_096 + 56 }.words(), now_ms + 5);

    // Larger than what is left: the rest becomes padding.
    assert!(tail.claim(1, tail.shape().capacity).is_none());
    let end = segment.visible().expect("mapped");
    assert_eq!(end.units, tail.shape().capacity);
    segment.write_seal(end, 1_000, now_ms + 5, 6 * SEGMENT_BYTES + 8_192, SealReason::Full).expect("sealed");
    segment
}

#[test]
fn a_segment_is_written_as_it_always_was() {
    let directory = tempfile::tempdir().expect("a directory");
    let segment = segment(directory.path());
    check("segment.hex", &fs::read(segment.path()).expect("readable"));
}

/// The other way: the golden segment's frames, by kind.
#[test]
fn a_golden_segment_is_read_as_what_it_is() {
    let bytes = hex::undump(&fs::read_to_string(golden("segment.hex")).expect("a golden file"));
    let block = bytes.first_chunk().expect("a block");
    let decoded = SegmentHeader::decode(block.first_chunk::<HEADER_BYTES>().expect("a header")).expect("valid");
    assert_eq!(decoded, header());
    let seal = Seal::newest(block, &decoded).expect("sealed");
    assert_eq!((seal.end_units, seal.records, seal.base_offset), (SEGMENT_BYTES / 8, 12, 1_000));
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("segment");
    fs::write(&path, bytes).expect("written");
    let segment = Segment::sealed(path, decoded, seal);
    let window = segment.window().expect("mapped");
    let mut unit = FIRST_UNIT;
    let mut kinds = Vec::new();
    let mut padding = 0;
    while unit < segment.limit() {
        match find(&window, segment.shape(), unit) {
            Found::Frame(frame) => {
                assert!(segment.verifies(&window, &frame), "the frame at unit {unit}");
                kinds.push((frame.stored.kind(), frame.stored.records()));
                unit += frame.units;
            }
            Found::Padding { units } => {
                padding += 1;
                unit += units;
            }
            Found::Nothing | Found::Invalid => panic!("no frame at unit {unit}"),
        }
    }
    let expected = [
        (Kind::Start, 0),
        (Kind::Record, 1),
        (Kind::Record, 1),
        (Kind::Batch, 3),
        (Kind::Void, 1),
        (Kind::Record, 1),
        (Kind::Record, 1),
        (Kind::Fence, 0),
        (Kind::Void, 2),
        (Kind::Batch, 2),
        (Kind::Fence, 0),
        (Kind::Mark, 0),
    ];
    assert_eq!((kinds.as_slice(), padding), (expected.as_slice(), 1));
}

#[test]
fn seals_are_written_as_they_always_were() {
    let mut bytes = Vec::new();
    for (generation, reason) in [(1, SealReason::Full), (2, SealReason::Closed), (3, SealReason::Recovered)] {
        let seal = Seal {
            generation,
            end_units: 600,
            records: 3,
            base_offset: 1_000,
            latest_ms: PREPARED_MS,
            durable: 77,
            reason,
        };
        bytes.extend(seal.encode(header().salt));
    }
    check("seals.hex", &bytes);
}

#[test]
fn identities_are_written_as_they_always_were() {
    let log = Identity { log: LOG, directory: Directory::Log };
    let partition = Identity { log: LOG, directory: Directory::Partition { number: 3 } };
    let bytes = [log.encode(), partition.encode()].concat();
    check("identities.hex", &bytes);
    assert_eq!(bytes.chunks(bytes.len() / 2).map(Identity::decode).collect::<Vec<_>>(), [Ok(log), Ok(partition)]);
}

#[test]
fn a_snapshot_is_written_as_it_always_was() {
    let producers = [(0, 5, 10, 42), (7, 1, 1, 0)].map(|(slot, generation, epoch, expected)| ProducerEntry {
        id: ProducerId::new(slot, generation),
        epoch,
        progress: Progress { expected, last_position: 6 * SEGMENT_BYTES + 4_152, last_ms: PREPARED_MS + 1 },
        transaction: expected / 8,
    });
    let undecided = Undecided {
        producer: ProducerId::new(0, 5),
        transaction: 5,
        epoch: 10,
        first_offset: 1_000,
        end: Extent { last_offset: 1_001, end_sequence: 42, end_position: 6 * SEGMENT_BYTES + 4_232 },
        before: Progress { expected: 40, last_position: 5 * SEGMENT_BYTES + 4_152, last_ms: PREPARED_MS },
    };
    let end = Extent { last_offset: 999, end_sequence: 40, end_position: 6 * SEGMENT_BYTES + 4_080 };
    let aborted = Aborted { producer: ProducerId::new(0, 5), transaction: 4, marker: 6 * SEGMENT_BYTES + 4_096, end };
    let offset = GroupOffset { group: "readers".into(), generation: 3, partition: 2, offset: 77 };
    let part = CommitPart { partition: 2, position: 8_192, checksum: 0x0123_4567_89AB_CDEF };
    let ledger = [
        LedgerEntry::Commit {
            producer: ProducerId::new(0, 5),
            epoch: 10,
            transaction: 3,
            parts: vec![part],
            offsets: vec![offset.clone()],
        },
        LedgerEntry::Offsets(vec![offset]),
        LedgerEntry::Group { group: "readers".into(), generation: 3 },
        LedgerEntry::Undo { from: 12 },
    ];
    let registrations = [("writer", Mode::Session, true), ("gone", Mode::ById, false), ("b\u{e4}r", Mode::ById, true)];
    let registrations = registrations.map(|(name, mode, live)| RegistrationEntry {
        id: ProducerId::new(name.len() as u32, 2),
        epoch: 11,
        mode,
        live,
        at_ms: PREPARED_MS + 2,
        name: name.into(),
    });
    let snapshot = Snapshot {
        header: SnapshotHeader {
            log: LOG,
            partition: 3,
            segment: 7,
            end_position: 7 * SEGMENT_BYTES,
            end_offset: 1_012,
        },
        producers: producers.to_vec(),
        undecided: vec![undecided],
        aborted: vec![aborted],
        registrations: registrations.to_vec(),
        ledger: ledger.to_vec(),
        beside: Beside::default(),
    };
    let bytes = snapshot.encode();
    check("snapshot.hex", &bytes);
    assert_eq!(Snapshot::decode(&bytes), Ok(snapshot));
}
