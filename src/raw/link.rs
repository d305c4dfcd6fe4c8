//! A pointer to a successor that is set once and never changed: the link of a chain that is walked without a lock.

use crate::sync::{Arc, AtomicPtr, Ordering};

/// Empty, or one strong reference to a `T`.
pub(crate) struct Link<T> {
    /// Null, or `Arc::into_raw` of the successor. Written once, by the one preparer of the chain; read by whoever follows it.
    target: AtomicPtr<T>,
}

impl<T> Link<T> {
    pub(crate) fn new() -> Self {
        Self { target: AtomicPtr::new(std::ptr::null_mut()) }
    }

    /// Sets the successor. A second call is a mistake of ours and panics.
    pub(crate) fn set(&self, successor: Arc<T>) {
        let raw = Arc::into_raw(successor).cast_mut();
        // Release: the successor is whole before anyone can reach it; pairs with the Acquire in `get`.
        let set = self.target.compare_exchange(std::ptr::null_mut(), raw, Ordering::Release, Ordering::Relaxed);
        assert!(set.is_ok(), "a chain has one preparer, and a link is set once");
    }

    /// The successor, if it is linked.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        // Acquire: pairs with the Release in `set`.
        let raw = self.target.load(Ordering::Acquire);
        if raw.is_null() {
            return None;
        }
        // SAFETY: `raw` came from `Arc::into_raw` in `set`, and the reference it stands for is kept until `self` drops;
        // the count is raised before an `Arc` is made of it.
        unsafe { Arc::increment_strong_count(raw) };
        // SAFETY: as above; this takes the reference just added.
        Some(unsafe { Arc::from_raw(raw) })
    }

    /// Takes the reference out, if there is one.
    pub(crate) fn take(&mut self) -> Option<Arc<T>> {
        let raw = self.target.swap(std::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: `raw` came from `Arc::into_raw` in `set`; the swap made this the only owner of that reference.
        (!raw.is_null()).then(|| unsafe { Arc::from_raw(raw) })
    }
}

impl<T> Drop for Link<T> {
    fn drop(&mut self) {
        drop(self.take());
    }
}
