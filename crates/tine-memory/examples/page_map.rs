//! Prints where each page of a family of regions comes from: copy-on-write's page table, made visible.

use tine_memory::{PAGE_BYTES, Region, Result};

fn main() -> Result {
    let mut golden = Region::zeroed(100 * PAGE_BYTES)?;
    golden.slice_mut(0..40 * PAGE_BYTES)?.fill(1);
    let mut child = golden.fork()?;
    show("golden, forked", &golden)?;
    child.write_at(b"written", 10 * PAGE_BYTES)?;
    show("its child, one page written", &child)?;
    let mut grandchild = child.fork()?;
    grandchild.write_at(b"written", 50 * PAGE_BYTES)?;
    show("the child's fork, another page written", &grandchild)?;
    grandchild.rollback()?;
    show("the same, rolled back", &grandchild)
}

fn show(what: &str, region: &Region) -> Result {
    println!("{what}:");
    print!("{}", region.page_map()?);
    let stats = region.stats()?;
    println!(
        "{:>8} KiB own, {} shared, {} zero\n",
        stats.own >> 10,
        stats.shared >> 10,
        stats.zero >> 10
    );
    Ok(())
}
