//! The window for loom's models: words on the heap, each with an atomic for the word as a publication word and a checked
//! cell for the word as data, so that an unsynchronised read or write of data is reported by the model.

use loom::{
    cell::UnsafeCell,
    sync::atomic::{AtomicU64, Ordering},
};

/// See `window.rs`.
#[derive(Clone)]
pub(crate) struct Window {
    words: std::sync::Arc<Vec<Word>>,
}

struct Word {
    publication: AtomicU64,
    data: UnsafeCell<u64>,
}

// SAFETY: loom's cells check every access for races at run time, which is what the models are for.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    pub(crate) fn fetch_on(&self, _position: usize, _bytes: usize) {}

    pub(crate) fn fetch_headers_on(&self, _position: usize, _bytes: usize) {}

    /// A window of `bytes` zeroed bytes.
    pub(crate) fn on_heap(bytes: usize) -> Self {
        let words = (0..bytes / 8).map(|_| Word { publication: AtomicU64::new(0), data: UnsafeCell::new(0) }).collect();
        Self { words: std::sync::Arc::new(words) }
    }

    pub(crate) fn empty() -> Self {
        Self::on_heap(0)
    }

    pub(crate) fn load(&self, position: usize) -> u64 {
        self.words[position / 8].publication.load(Ordering::Acquire)
    }

    /// # Safety
    /// See `window.rs`; here a breach is reported by the model.
    pub(crate) unsafe fn claim(&self, position: usize, bytes: usize) -> Claim {
        assert!(position.is_multiple_of(8) && bytes >= 8 && position + bytes <= self.words.len() * 8);
        Claim { window: self.clone(), position, bytes }
    }

    /// # Safety
    /// See `window.rs`; here a breach is reported by the model.
    pub(crate) unsafe fn read_words<const N: usize>(&self, position: usize) -> [u64; N] {
        std::array::from_fn(|at| {
            self.words[position / 8 + at].data.with(|word| {
                // SAFETY: loom checks that no write is concurrent.
                unsafe { *word }
            })
        })
    }

    /// A copy of `bytes` bytes at `position`.
    pub(crate) fn copy(&self, position: usize, bytes: usize) -> Vec<u8> {
        assert!(position.is_multiple_of(8));
        let mut copy = Vec::new();
        for at in 0..bytes.div_ceil(8) {
            // SAFETY: loom checks that no write is concurrent.
            let [word] = unsafe { self.read_words::<1>(position + at * 8) };
            copy.extend_from_slice(&word.to_le_bytes());
        }
        copy.truncate(bytes);
        copy
    }
}

/// See `window.rs`.
pub(crate) struct Claim {
    window: Window,
    position: usize,
    bytes: usize,
}

impl Claim {
    pub(crate) fn anew(self) -> Self {
        self
    }

    pub(crate) fn write_words<const N: usize>(&mut self, at: usize, words: [u64; N]) {
        assert!(at >= 8 && at.is_multiple_of(8) && at + N * 8 <= self.bytes);
        for (index, word) in words.into_iter().enumerate() {
            self.window.words[(self.position + at) / 8 + index].data.with_mut(|cell| {
                // SAFETY: loom checks that no access is concurrent.
                unsafe { *cell = word }
            });
        }
    }

    pub(crate) fn write(&mut self, at: usize, bytes: &[u8]) {
        for (index, chunk) in bytes.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_words(at + index * 8, [u64::from_le_bytes(word)]);
        }
    }

    pub(crate) fn fill<R>(&mut self, at: usize, bytes: usize, fill: impl FnOnce(&mut [u8]) -> R) -> R {
        let mut filled = vec![0; bytes];
        let answer = fill(&mut filled);
        self.write(at, &filled);
        answer
    }

    pub(crate) fn read<R>(&self, at: usize, bytes: usize, read: impl FnOnce(&[u8]) -> R) -> R {
        read(&self.window.copy(self.position + at, bytes))
    }

    pub(crate) fn publish(self, word: u64) {
        self.window.words[self.position / 8].publication.store(word, Ordering::Release);
    }
}
