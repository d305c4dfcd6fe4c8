//! x
use oncelog::*;
fn open(dir: &std::path::Path) -> Log {
    unsafe { Log::open(dir, &Options::new().segment_bytes(65536)).unwrap() }
}
#[test]
fn smoke() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..3u64 {
        let log = open(dir.path());
        let p = log.partition("orders").unwrap();
        assert_eq!(p.end_offset(), round * 10002);
        let mut a = p.appender().unwrap();
        for i in 0..5000u64 {
            assert_eq!(a.append(&i.to_le_bytes()).unwrap(), round * 10002 + i);
        }
        let mut s = log.session("me").unwrap();
        let last = s.last(&p).unwrap();
        assert_eq!(last.map(|l| l.sequence), (round * 5000).checked_sub(1));
        for i in 0..5000u64 {
            assert_eq!(
                s.append(&p, round * 5000 + i, &i.to_le_bytes()).unwrap(),
                Answer::Appended { first: round * 10002 + 5000 + i, last: round * 10002 + 5000 + i }
            );
        }
        assert!(matches!(s.append(&p, 7, &7u64.to_le_bytes()).unwrap(), Answer::Duplicate { first: 5007, .. }));
        assert!(matches!(s.append(&p, 7, &8u64.to_le_bytes()).unwrap(), Answer::SequenceReused { .. }));
        a.append_batch(&[b"a", b"bc"]).unwrap();
        let mut r = p.read_from(0).unwrap();
        let mut n = 0;
        while let Some(rec) = r.next().unwrap() {
            assert_eq!(rec.offset(), n);
            n += 1;
        }
        assert_eq!(n, (round + 1) * 10002);
        println!("{:?}", p.stats());
        drop((a, s, p));
        log.close().unwrap();
    }
}
