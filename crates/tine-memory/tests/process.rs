//! What becomes of regions when their process forks, executes, or reaches a bound. One test, since all of it is the process's.

#![allow(unsafe_code)]

mod forked;

use std::process::Command;

use forked::in_forked_process;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tine_memory::{Error, PAGE_BYTES, Region, Save};

#[test]
fn the_process_and_its_bounds() {
    a_forked_process_has_no_regions();
    a_fork_goes_to_another_process();
    an_executed_program_inherits_nothing();
    regions_have_few_mappings();
    mappings_are_bounded();
    signals_interrupt_nothing();
    descriptors_are_bounded();
    files_are_bounded();
}

fn a_forked_process_has_no_regions() {
    let mut live = Region::zeroed(4 * PAGE_BYTES).unwrap();
    live.write_at(b"live", 0).unwrap();
    let mut frozen = Region::zeroed(4 * PAGE_BYTES).unwrap();
    frozen.write_at(b"frozen", 0).unwrap();
    let mut fork = frozen.fork().unwrap();
    fork.write_at(b"fork", 0).unwrap();
    // Operations that the kernel is asked for are errors there, and dropping a region unmaps nothing.
    let status = in_forked_process(|| {
        let refused =
            |result: Result<(), Error>| i32::from(!matches!(result, Err(Error::OtherProcess { .. })));
        let mut wrong = 0;
        for region in [&mut live, &mut fork, &mut frozen] {
            wrong += refused(region.rollback());
            wrong += refused(region.freeze());
            wrong += refused(region.fork().map(drop));
            wrong += refused(region.dirty().map(drop));
        }
        wrong
    });
    assert_eq!(status, 0);
    // Touching one is a fault, not another process's memory.
    let status = in_forked_process(|| i32::from(live.as_slice()[0]));
    assert_eq!(status, -libc::SIGSEGV);
    let status = in_forked_process(|| i32::from(fork.as_slice()[0]));
    assert_eq!(status, -libc::SIGSEGV);
    // It can have its own.
    let status = in_forked_process(|| {
        let mut own = Region::zeroed(4 * PAGE_BYTES).unwrap();
        own.write_at(b"own", 0).unwrap();
        let mut fork = own.fork().unwrap();
        fork.write_at(b"x", 0).unwrap();
        let again = fork.fork().unwrap();
        i32::from(again.as_slice() != fork.as_slice() || own.as_slice()[0] != b'o')
    });
    assert_eq!(status, 0);
    assert_eq!(&live.as_slice()[..4], b"live");
    assert_eq!(&fork.as_slice()[..4], b"fork");
}

fn a_fork_goes_to_another_process() {
    let length = 100 * PAGE_BYTES - 5;
    let mut region = Region::zeroed(length).unwrap();
    region.as_mut_slice().fill(1);
    let mut brother = region.fork().unwrap();
    region.write_at(b"written", 50 * PAGE_BYTES).unwrap();
    let descriptor = region.fork_fd().unwrap();
    region.write_at(b"later", 50 * PAGE_BYTES).unwrap();
    let status = in_forked_process(|| {
        let mut other = Region::from_fd(&descriptor, length).unwrap();
        other.write_at(b"other", 0).unwrap();
        let mut fork = other.fork().unwrap();
        let is_right = &fork.as_slice()[..6] == b"other\x01"
            && &fork.as_slice()[50 * PAGE_BYTES..][..8] == b"written\x01"
            && fork.dirty().unwrap().is_empty();
        fork.write_at(b"fork", 0).unwrap();
        fork.rollback().unwrap();
        i32::from(!is_right || fork.as_slice() != other.as_slice())
    });
    assert_eq!(status, 0);
    assert_eq!(region.as_slice()[0], 1);
    assert_eq!(&region.as_slice()[50 * PAGE_BYTES..][..8], b"lateren\x01");
    // What was sealed is not amended; a second descriptor is of what was written since.
    let second = region.fork_fd().unwrap();
    let mut first = Region::from_fd(&descriptor, length).unwrap();
    let other = Region::from_fd(&second, length).unwrap();
    assert_eq!(&first.as_slice()[50 * PAGE_BYTES..][..7], b"written");
    assert!(other.as_slice() == region.as_slice());
    assert_eq!(first.diff(&other).unwrap().len(), 1);
    assert!(brother.fork_fd().is_ok());
    first.rollback().unwrap();
    for (file, length) in [(&descriptor, length + PAGE_BYTES), (&descriptor, 1 << 40)] {
        let error = Region::from_fd(file, length).err().unwrap();
        assert!(matches!(error, Error::NotSealed { .. }));
    }
    let file = std::fs::File::open("/proc/self/exe").unwrap();
    assert!(matches!(
        Region::from_fd(&file, PAGE_BYTES),
        Err(Error::NotSealed { .. })
    ));
}

fn an_executed_program_inherits_nothing() {
    let _region = Region::zeroed(PAGE_BYTES).unwrap().fork().unwrap();
    let open = Command::new("ls").args(["-l", "/proc/self/fd"]).output().unwrap();
    let open = String::from_utf8_lossy(&open.stdout).into_owned();
    assert!(
        !open.contains("memfd") && !open.contains("userfaultfd") && !open.contains("pagemap"),
        "{open}"
    );
}

/// However it was written and forked, and however deep.
fn regions_have_few_mappings() {
    let mapped = || {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines().filter(|line| line.contains("memfd:tine")).count()
    };
    let before = mapped();
    let mut regions = vec![Region::zeroed(8 << 20).unwrap()];
    for generation in 0..20 {
        let last = &mut regions[generation];
        for page in (generation..last.pages()).step_by(3 + generation) {
            last.write_at(&[1], page * PAGE_BYTES).unwrap();
        }
        let fork = last.fork().unwrap();
        last.write_at(&[2], 0).unwrap();
        if generation % 3 == 0 {
            last.rollback().unwrap();
        }
        if generation % 5 == 0 {
            last.freeze().unwrap();
        }
        regions.push(fork);
    }
    // One each, and the page tables that were set aside once.
    assert_eq!(mapped() - before, regions.len() + 1);
}

fn mappings_are_bounded() {
    let mut golden = Region::zeroed(PAGE_BYTES).unwrap();
    golden.write_at(b"golden", 0).unwrap();
    let mut forks = Vec::new();
    let error = loop {
        match golden.fork() {
            Ok(fork) => forks.push(fork),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::TooManyMappings { .. }), "{error}");
    assert!(error.hint().unwrap().contains("vm.max_map_count"));
    assert!(forks.iter().all(|fork| fork.as_slice() == golden.as_slice()));
    forks.truncate(10);
    forks.push(golden.fork().unwrap());
}

/// A profiler's signals come every millisecond, which is less than it takes to get memory for a large region.
fn signals_interrupt_nothing() {
    extern "C" fn nothing(_: libc::c_int) {}
    // SAFETY: the handler does nothing, and the structure lives through the call.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = nothing as *const () as usize;
        libc::sigaction(libc::SIGALRM, &raw const action, std::ptr::null_mut());
    }
    // In a process with one thread, since any thread may get them.
    let status = in_forked_process(|| {
        signal_every(1000);
        let mut region = Region::zeroed(128 << 20).unwrap();
        region.freeze().unwrap();
        // All of it goes into holes of its own base.
        region.as_mut_slice().fill(1);
        let forked = region.fork().map(drop);
        region.as_mut_slice().fill(2);
        let mut saved = Vec::new();
        let mark = region.save(&mut saved, Save::Full).map(drop);
        let loaded = Region::load(&mut &saved[..]).map(drop);
        signal_every(0);
        i32::from(forked.and(mark).and(loaded).is_err())
    });
    assert_eq!(status, 0);
}

/// Has the kernel send SIGALRM every so many microseconds, or no more.
fn signal_every(microseconds: libc::suseconds_t) {
    let time = libc::timeval {
        tv_sec: 0,
        tv_usec: microseconds,
    };
    let timer = libc::itimerval {
        it_interval: time,
        it_value: time,
    };
    // SAFETY: the structure lives through the call.
    unsafe { libc::setitimer(libc::ITIMER_REAL, &raw const timer, std::ptr::null_mut()) };
}

fn descriptors_are_bounded() {
    let mut region = Region::zeroed(PAGE_BYTES).unwrap();
    region.write_at(&[1], 0).unwrap();
    let mut full = Vec::new();
    let mark = region.save(&mut full, Save::Full).unwrap();
    region.write_at(&[2], 0).unwrap();
    let mut since = Vec::new();
    region.save(&mut since, Save::Since(&mark)).unwrap();
    let mut loaded = Region::load(&mut &full[..]).unwrap();
    let _shares_its_base = loaded.fork().unwrap();
    let before = getrlimit(Resource::Nofile);
    let low = Rlimit {
        current: Some(40),
        ..before
    };
    setrlimit(Resource::Nofile, low).unwrap();
    let mut regions = Vec::new();
    let error = loop {
        match Region::zeroed(PAGE_BYTES) {
            Ok(region) => regions.push(region),
            Err(error) => break error,
        }
        assert!(regions.len() < 50);
    };
    // Forks share their base's.
    let forks = regions[0].fork_many(100).unwrap();
    // A save that cannot be made a base is not applied.
    let applied = loaded.load_since(&mut &since[..]);
    setrlimit(Resource::Nofile, before).unwrap();
    assert!(error.hint().unwrap().contains("RLIMIT_NOFILE"), "{error}");
    assert_eq!(forks.len(), 100);
    assert!(matches!(applied, Err(Error::System { .. })), "{applied:?}");
    assert_eq!(loaded.as_slice()[0], 1);
    loaded.load_since(&mut &since[..]).unwrap();
    assert_eq!(loaded.as_slice()[0], 2);
}

fn files_are_bounded() {
    let before = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(1 << 20),
            ..before
        },
    )
    .unwrap();
    let error = Region::zeroed(2 << 20).err().unwrap();
    setrlimit(Resource::Fsize, before).unwrap();
    assert!(error.hint().unwrap().contains("RLIMIT_FSIZE"), "{error}");
}
