//! openraft's own suite for log stores, in full, in both windows.

mod machine;

use machine::{Machine, Types};
use oncelog::{Options, Window};
use oncelog_raft_store::RaftStore;
use openraft::{
    StorageError,
    testing::log::{StoreBuilder, Suite},
};
use tempfile::TempDir;

/// Builds a store in a log of its own, in a directory that is gone with the case.
struct Builder(Window);

impl StoreBuilder<Types, RaftStore<Types>, Machine, TempDir> for Builder {
    async fn build(&self) -> Result<(TempDir, RaftStore<Types>, Machine), StorageError<Types>> {
        let directory = tempfile::tempdir().expect("a directory");
        let options = Options::new().window(self.0).segment_bytes(1 << 20);
        // SAFETY: the directory was made for this log, and nothing else writes there.
        #[expect(unsafe_code, reason = "opening is a promise of the caller's")]
        let log = unsafe { options.open(directory.path()) }.expect("opened");
        let store = RaftStore::open(&log, "group").expect("a store");
        Ok((directory, store, Machine::default()))
    }
}

fn run(window: Window) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(Suite::test_all(Builder(window))).expect("every case passes");
}

#[test]
fn every_case_of_the_suite_passes_in_the_direct_window() {
    run(Window::Direct);
}

#[test]
fn every_case_of_the_suite_passes_in_the_mapped_window() {
    run(Window::Mapped);
}
