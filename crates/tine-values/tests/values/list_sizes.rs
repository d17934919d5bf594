//! Goal: a list holds elements of any size, from none to more than a leaf is meant to have.
//! Method: each such list is built, cut, written through a clone, and read back.

use tine_values::List;

/// Elements without a size take no room, but a place.
#[test]
fn elements_without_size() {
    let mut list: List<()> = std::iter::repeat_n((), 100_000).collect();
    list.push_front(());
    list.insert(50_000, ());
    let behind = list.split_off(70_000);
    assert_eq!((list.len(), behind.len()), (70_000, 30_002));
    assert_eq!(list.concat(&behind).iter().count(), 100_002);
    assert_eq!(list.get(69_999), Some(&()));
    assert_eq!(list.get(70_000), None);
    assert!(list.into_iter().rev().count() == 70_000);
}

/// Elements larger than a leaf is meant to be, and ones that lie on boundaries of their own.
#[test]
fn elements_of_all_sizes() {
    #[repr(align(64))]
    #[derive(Clone, PartialEq, Debug)]
    struct Line(u8);
    let lines: List<Line> = (0..=255).map(Line).collect();
    assert!(lines.iter().all(|line| std::ptr::from_ref(line).addr() % 64 == 0));
    assert_eq!(lines.slice(3..200).iter().last(), Some(&Line(199)));

    let page = |number: u32| [number; 4_096];
    let mut pages: List<[u32; 4_096]> = (0..70).map(page).collect();
    pages.insert(30, page(100));
    let version = pages.clone();
    pages[31][5] = 7;
    assert_eq!((pages[31][5], version[31][5], pages.len()), (7, 30, 71));

    let bytes: List<u8> = (0..=255).cycle().take(100_000).collect();
    assert!(bytes.iter().copied().eq((0..=255).cycle().take(100_000)));
    assert_eq!(bytes.slice(70_000..90_001)[20_000], (90_000 % 256) as u8);
}
