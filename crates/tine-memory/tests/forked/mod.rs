//! Processes made by fork(2).

#![allow(unsafe_code)]

/// Runs `child` in a process made by fork(2) and returns how it ended: its exit status, or the signal.
pub(crate) fn in_forked_process(child: impl FnOnce() -> i32) -> i32 {
    // SAFETY: the child does no more than system calls and what `child` says, and ends without destructors.
    let process = unsafe { libc::fork() };
    if process == 0 {
        // AddressSanitizer's handler would end it otherwise than the kernel does.
        // SAFETY: the child's alone.
        unsafe { libc::signal(libc::SIGSEGV, libc::SIG_DFL) };
        let status = child();
        // SAFETY: ends the process.
        unsafe { libc::_exit(status) };
    }
    let mut status = 0;
    // SAFETY: waits for the child into a place of ours.
    unsafe { libc::waitpid(process, &raw mut status, 0) };
    if libc::WIFSIGNALED(status) {
        -libc::WTERMSIG(status)
    } else {
        libc::WEXITSTATUS(status)
    }
}
