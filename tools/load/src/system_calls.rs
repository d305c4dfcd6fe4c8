//! How many system calls a producer's thread makes for an append, counted in a short block of its own that is not
//! timed: the kernel hands each call of that one thread to a signal handler first, which counts it and then makes it.

use crate::closed::{Site, acknowledge};
use crate::error::LoadError;
use crate::lane::{Append, Outcome, Work};
use crate::stage::{Extent, Stage};
use crate::workload::{Acknowledge, Workload};

/// Segments are small, so that rotations are counted too.
const SEGMENT_BYTES: u64 = 64 * 1024;
const SEGMENTS: u64 = 8;
/// Each of them takes as long as a flush.
const DURABLE_CALLS: u64 = 200;
const PRODUCERS_MAX: usize = 1_024;

/// System calls per append; none where the kernel or the processor cannot count them.
pub(crate) fn per_append(workload: &Workload, site: Site<'_>) -> Option<f64> {
    let one_thread = Workload { threads: 1, producers: workload.producers.min(PRODUCERS_MAX), ..workload.clone() };
    let ring = one_thread.payloads.ring(one_thread.batch);
    let whole_batches = (one_thread.payloads.longest() * one_thread.batch * 16).next_power_of_two() as u64;
    let extent = Extent::of(&one_thread, SEGMENT_BYTES.max(whole_batches), SEGMENTS);
    let calls = match one_thread.acknowledge {
        Acknowledge::Durable => extent.calls.min(DURABLE_CALLS),
        Acknowledge::Written | Acknowledge::Visible => extent.calls,
    };
    let count = || -> Result<Option<u64>, LoadError> {
        let scratch = tempfile::tempdir_in(site.scratch).map_err(LoadError::io("a scratch directory"))?;
        let mut stage = Stage::open(&scratch.path().join("calls"), &one_thread, &ring, extent, site.seed)?;
        stage.warm_up()?;
        stage.prepare()?;
        stage.lanes[0].work(Counted { calls, acknowledge: one_thread.acknowledge })
    };
    count().ok().flatten().map(|counted| counted as f64 / calls as f64)
}

/// The system calls that this thread makes while `work` runs; none where the kernel or the processor cannot count them. By one
/// thread of a process at a time.
pub fn count_system_calls<R>(work: impl FnOnce() -> R) -> (Option<u64>, R) {
    dispatch::count(work)
}

struct Counted {
    calls: u64,
    acknowledge: Acknowledge,
}

impl Work for Counted {
    type Output = Option<u64>;

    fn on(self, lane: &mut impl Append) -> Result<Option<u64>, LoadError> {
        let (counted, appended) = dispatch::count(|| {
            for _ in 0..self.calls {
                if let Outcome::Appended { last } = lane.append(false)? {
                    acknowledge(lane, last, self.acknowledge)?;
                }
            }
            Ok(())
        });
        appended.map(|()| counted)
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod dispatch {
    pub(super) fn count<R>(work: impl FnOnce() -> R) -> (Option<u64>, R) {
        (None, work())
    }
}

/// Syscall User Dispatch (Linux 5.11): while a byte says so, a thread's calls become signals to it.
#[cfg(target_arch = "x86_64")]
mod dispatch {
    use std::arch::asm;
    use std::mem::MaybeUninit;
    use std::ptr;
    use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
    use std::sync::{Mutex, PoisonError};

    const PR_SET_SYSCALL_USER_DISPATCH: libc::c_int = 59;
    const OFF: u64 = 0;
    const ON: u64 = 1;
    /// Values of the byte.
    const ALLOW: u8 = 0;
    const BLOCK: u8 = 1;

    static SELECTOR: AtomicU8 = AtomicU8::new(ALLOW);
    static CALLS: AtomicU64 = AtomicU64::new(0);
    /// The byte and the handler belong to one count at a time.
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

    /// What the kernel keeps of a signal's handler; the C library's structure hides the restorer.
    #[repr(C)]
    struct KernelAction {
        handler: usize,
        flags: u64,
        restorer: u64,
        mask: u64,
    }

    /// Does some work and counts the system calls of this thread meanwhile.
    pub(super) fn count<R>(work: impl FnOnce() -> R) -> (Option<u64>, R) {
        let _guard = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(before) = install() else { return (None, work()) };
        CALLS.store(0, Ordering::Relaxed);
        let on = restorer().is_some_and(|restorer| dispatch(ON, restorer, 16, SELECTOR.as_ptr() as u64));
        if on {
            SELECTOR.store(BLOCK, Ordering::Relaxed);
        }
        let result = work();
        SELECTOR.store(ALLOW, Ordering::Relaxed);
        if on {
            dispatch(OFF, 0, 0, 0);
        }
        // SAFETY: `before` is what was installed until now.
        unsafe { libc::sigaction(libc::SIGSYS, &raw const before, ptr::null_mut()) };
        (on.then(|| CALLS.load(Ordering::Relaxed)), result)
    }

    fn install() -> Option<libc::sigaction> {
        let mut before = MaybeUninit::<libc::sigaction>::uninit();
        // SAFETY: all zeroes is a valid action: no flags, an empty mask.
        let mut action: libc::sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
        action.sa_sigaction = handle as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO;
        // SAFETY: the handler has the signature that SA_SIGINFO asks for, and touches only atomics and its context.
        let code = unsafe { libc::sigaction(libc::SIGSYS, &raw const action, before.as_mut_ptr()) };
        // SAFETY: the call succeeded, so it filled the structure.
        (code == 0).then(|| unsafe { before.assume_init() })
    }

    /// Where a handler returns to: code of the C library that must be able to call the system undisturbed.
    fn restorer() -> Option<u64> {
        let mut action = MaybeUninit::<KernelAction>::zeroed();
        // SAFETY: the kernel fills a structure of this layout; its mask is 8 bytes, as is said.
        let code = unsafe { libc::syscall(libc::SYS_rt_sigaction, libc::SIGSYS, 0, action.as_mut_ptr(), 8) };
        // SAFETY: all zeroes is a valid value of it, and so is what the kernel writes.
        let action = unsafe { action.assume_init() };
        (code == 0 && action.restorer != 0).then_some(action.restorer)
    }

    fn dispatch(mode: u64, allowed_from: u64, allowed_bytes: u64, selector: u64) -> bool {
        // SAFETY: the selector is a static, and while it says BLOCK the handler is installed.
        unsafe { libc::prctl(PR_SET_SYSCALL_USER_DISPATCH, mode, allowed_from, allowed_bytes, selector) == 0 }
    }

    extern "C" fn handle(_signal: libc::c_int, _info: *mut libc::siginfo_t, context: *mut libc::c_void) {
        SELECTOR.store(ALLOW, Ordering::Relaxed);
        CALLS.fetch_add(1, Ordering::Relaxed);
        let context = context.cast::<libc::ucontext_t>();
        // SAFETY: the kernel passes the interrupted thread's context, which nobody else refers to.
        let registers = unsafe { &mut (*context).uc_mcontext.gregs };
        let register = |which: libc::c_int| registers[which as usize];
        let result: i64;
        // SAFETY: this is the call that the thread was about to make, with its own arguments.
        unsafe {
            asm!(
                "syscall",
                inlateout("rax") register(libc::REG_RAX) => result,
                in("rdi") register(libc::REG_RDI),
                in("rsi") register(libc::REG_RSI),
                in("rdx") register(libc::REG_RDX),
                in("r10") register(libc::REG_R10),
                in("r8") register(libc::REG_R8),
                in("r9") register(libc::REG_R9),
                lateout("rcx") _,
                lateout("r11") _,
            );
        }
        registers[libc::REG_RAX as usize] = result;
        SELECTOR.store(BLOCK, Ordering::Relaxed);
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn calls_are_counted_and_made() {
            let (none, ()) = count(|| ());
            // SAFETY: the call takes no memory.
            let (some, ids) = count(|| [(); 3].map(|()| unsafe { libc::getppid() }));
            // SAFETY: as above.
            let parent = unsafe { libc::getppid() };
            assert_eq!(ids, [parent; 3]);
            // Absent where the kernel does not offer it.
            if let (Some(none), Some(some)) = (none, some) {
                assert_eq!((none, some), (0, 3));
            }
        }
    }
}
