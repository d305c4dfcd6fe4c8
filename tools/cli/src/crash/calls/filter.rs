//! What a child process puts before itself: a filter that hands some of its system calls to the harness.
//!
//! The program stays as it is, and so does the library in it: the kernel stops a thread at each of these calls until the
//! harness has answered it. No root is needed, as the process gives up nothing but the gaining of privileges.

use std::io;

use clap::ValueEnum;

/// Which calls the harness sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(in crate::crash) enum Observed {
    /// All that change files or wait for the device.
    Files,
    /// Nothing is flushed: calls that only flush are answered at once, and writes that would flush go to the harness.
    Unflushed,
}

#[cfg(target_arch = "x86_64")]
const MACHINE: Option<u32> = Some(0xC000_003E);
#[cfg(target_arch = "aarch64")]
const MACHINE: Option<u32> = Some(0xC000_00B7);
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: Option<u32> = None;

/// Calls that the harness answers, whatever their arguments.
const ANSWERED: &[libc::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rename,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_unlink,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mkdir,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_rmdir,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
    libc::SYS_mkdirat,
    libc::SYS_ftruncate,
    libc::SYS_fallocate,
    libc::SYS_pwrite64,
    libc::SYS_pwritev2,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_msync,
    libc::SYS_fstatfs,
];

/// Where the kernel puts what a filter looks at: the call's number, the machine, and the low half of each argument.
const NUMBER_AT: u32 = 0;
const MACHINE_AT: u32 = 4;
const fn argument_at(index: u32) -> u32 {
    16 + 8 * index
}

const NOTIFY: u32 = libc::SECCOMP_RET_USER_NOTIF;

/// A filter under construction. Each rule ends with the number loaded again.
struct Program(Vec<libc::sock_filter>);

impl Program {
    fn push(&mut self, code: u32, k: u32, jump_true: u8, jump_false: u8) {
        self.0.push(libc::sock_filter { code: code as u16, jt: jump_true, jf: jump_false, k });
    }

    fn load(&mut self, at: u32) {
        self.push(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, at, 0, 0);
    }

    fn answer(&mut self, with: u32) {
        self.push(libc::BPF_RET | libc::BPF_K, with, 0, 0);
    }

    /// Answers the call `number`.
    fn rule(&mut self, number: libc::c_long, with: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32, 0, 1);
        self.answer(with);
    }

    /// Answers the call `number` if its argument has one of the bits.
    fn rule_if_set(&mut self, number: libc::c_long, argument: u32, bits: u32, with: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32, 0, 4);
        self.load(argument_at(argument));
        self.push(libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K, bits, 0, 1);
        self.answer(with);
        self.load(NUMBER_AT);
    }

    /// Answers the call `number` if its argument is above `limit`.
    fn rule_if_above(&mut self, number: libc::c_long, argument: u32, limit: u32, with: u32) {
        self.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, number as u32, 0, 4);
        self.load(argument_at(argument));
        self.push(libc::BPF_JMP | libc::BPF_JGT | libc::BPF_K, limit, 0, 1);
        self.answer(with);
        self.load(NUMBER_AT);
    }
}

fn program(observed: Observed, machine: u32) -> Vec<libc::sock_filter> {
    let mut program = Program(Vec::new());
    program.load(MACHINE_AT);
    program.push(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, machine, 1, 0);
    program.answer(libc::SECCOMP_RET_ALLOW);
    program.load(NUMBER_AT);
    // A ring's writes would pass unseen: the log does without.
    program.rule(libc::SYS_io_uring_setup, libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32);
    match observed {
        Observed::Files => {
            for number in ANSWERED {
                program.rule(*number, NOTIFY);
            }
            // Standard output and error are the harness's own.
            program.rule_if_above(libc::SYS_write, 0, libc::STDERR_FILENO as u32, NOTIFY);
            program.rule_if_set(libc::SYS_openat, 2, (libc::O_CREAT | libc::O_TRUNC) as u32, NOTIFY);
        }
        Observed::Unflushed => {
            for number in [libc::SYS_fsync, libc::SYS_fdatasync, libc::SYS_msync] {
                program.rule(number, libc::SECCOMP_RET_ERRNO);
            }
            program.rule_if_set(libc::SYS_pwritev2, 5, libc::RWF_DSYNC as u32, NOTIFY);
        }
    }
    program.answer(libc::SECCOMP_RET_ALLOW);
    program.0
}

/// Puts the filter before this process, for good. Returns the descriptor at which the harness hears of calls. To be called
/// before there is another thread.
pub(in crate::crash) fn install(observed: Observed) -> io::Result<i32> {
    let machine = MACHINE.ok_or_else(|| io::Error::other("no filter is known for this machine"))?;
    let mut program = program(observed, machine);
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: the request takes four numbers and touches no memory.
    let answer = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    if answer != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel copies the program, which outlives the call, and whose length is the vector's.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const filter,
        )
    };
    if listener < 0 { Err(io::Error::last_os_error()) } else { Ok(listener as i32) }
}
