//! System calls that a filter of the kernel's refuses to this thread, as sandboxes have them. No privilege is needed.

#![allow(unsafe_code)]

use libc::{
    BPF_ABS, BPF_JEQ, BPF_JMP, BPF_JSET, BPF_K, BPF_LD, BPF_RET, BPF_W, SECCOMP_RET_ALLOW, SECCOMP_RET_ERRNO,
    sock_filter, sock_fprog,
};

/// A call that is refused, and with which error.
struct Refused {
    call: libc::c_long,
    /// One of the arguments, and what it is.
    argument: Option<(u32, Is)>,
    error: i32,
}

#[derive(Clone, Copy)]
enum Is {
    Equal(u32),
    /// It has this bit.
    Has(u32),
}

/// `PAGEMAP_SCAN` and `UFFDIO_REGISTER`.
const SCAN: Is = Is::Equal(0xC060_6610);
const REGISTER: Is = Is::Equal(0xC020_AA00);

/// Has the kernel refuse to this thread all that tine-memory can do without.
pub(crate) fn what_has_a_fallback() {
    let refused = [
        // A container's filter, or no CONFIG_USERFAULTFD; and a descriptor that was made before.
        (libc::SYS_userfaultfd, None, libc::EPERM),
        (libc::SYS_ioctl, Some((1, REGISTER)), libc::EINVAL),
        // Before Linux 6.7.
        (libc::SYS_ioctl, Some((1, SCAN)), libc::ENOTTY),
        // Before 6.13, for the own process.
        (libc::SYS_process_madvise, None, libc::ENOSYS),
        // Before 5.13, for files.
        (
            libc::SYS_mremap,
            Some((3, Is::Has(libc::MREMAP_DONTUNMAP.cast_unsigned()))),
            libc::EINVAL,
        ),
        // Before 6.3: MFD_NOEXEC_SEAL.
        (libc::SYS_memfd_create, Some((1, Is::Has(8))), libc::EINVAL),
    ]
    .map(|(call, argument, error)| Refused {
        call,
        argument,
        error,
    });
    filter(&refused);
    // SAFETY: what it makes is refused.
    let made = unsafe { libc::syscall(libc::SYS_userfaultfd, 1) };
    assert_eq!(
        (made, std::io::Error::last_os_error().raw_os_error()),
        (-1, Some(libc::EPERM))
    );
}

/// Has the kernel refuse calls to this thread, for good.
fn filter(refused: &[Refused]) {
    let statement = |code: u32, k: u32, jt: u8, jf: u8| sock_filter {
        code: code.try_into().unwrap(),
        jt,
        jf,
        k,
    };
    // `struct seccomp_data`: the call's number, then its arguments from 16 on, of 8 bytes each; the lower half of one is its first.
    let load = |at: u32| statement(BPF_LD | BPF_W | BPF_ABS, at, 0, 0);
    let mut program = Vec::new();
    for one in refused {
        let answer = statement(
            BPF_RET | BPF_K,
            SECCOMP_RET_ERRNO | one.error.cast_unsigned(),
            0,
            0,
        );
        let call = u32::try_from(one.call).unwrap();
        let is_call = |others: u8| statement(BPF_JMP | BPF_JEQ | BPF_K, call, 0, others);
        program.push(load(0));
        if let Some((argument, is)) = one.argument {
            let (code, value) = match is {
                Is::Equal(value) => (BPF_JEQ, value),
                Is::Has(bit) => (BPF_JSET, bit),
            };
            program.push(is_call(3));
            program.push(load(16 + 8 * argument));
            program.push(statement(BPF_JMP | code | BPF_K, value, 0, 1));
        } else {
            program.push(is_call(1));
        }
        program.push(answer);
    }
    program.push(statement(BPF_RET | BPF_K, SECCOMP_RET_ALLOW, 0, 0));
    let program = sock_fprog {
        len: program.len().try_into().unwrap(),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: the program lives through the calls, which read it.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::prctl(
                libc::PR_SET_SECCOMP,
                libc::SECCOMP_MODE_FILTER,
                &raw const program,
            ) == 0
    };
    assert!(done, "{}", std::io::Error::last_os_error());
}
