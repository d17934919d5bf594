//! What texts share, what they copy and what they allocate.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::io::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use tine_values::{Bytes, Edit, Text, text};

const _: () = assert!(size_of::<Text>() == 24 && size_of::<Option<Text>>() == 24);
const _: () = assert!(size_of::<Bytes>() == 24 && size_of::<Option<Bytes>>() == 24);
const _: () = assert!(Text::INLINE == 23);

static GREETING: Text = Text::from_static("a constant of any length, without an allocation");

fn long(bytes: usize) -> Text {
    ('a'..='z').cycle().take(bytes).collect()
}

/// Returns how many shared things the calling test has copied. Tests run in processes of their own.
#[cfg(debug_assertions)]
fn detaches(work: impl FnOnce()) -> usize {
    let before = tine_values::detaches();
    work();
    tine_values::detaches() - before
}

#[test]
fn short_and_static_texts_have_no_heap() {
    for length in 0..=Text::INLINE {
        let text = long(length);
        assert_eq!(
            (text.own_bytes(), text.shared_bytes(), text.is_unique()),
            (0, 0, true),
            "{length}"
        );
    }
    assert_eq!(GREETING.own_bytes(), 0);
    assert!(!GREETING.is_unique() && GREETING.clone().get_mut().is_none());
    assert!(GREETING.slice(2..40).slice(1..30).own_bytes() == 0);
    let mut written = GREETING.clone();
    written.push('!');
    assert!(written.is_unique() && written.own_bytes() > 48);
    assert_eq!(
        text!("nothing to format, and longer than is inline").own_bytes(),
        0
    );
    assert_eq!(text!("{}-{}", "short", 1).own_bytes(), 0);
}

#[test]
fn a_long_text_is_one_allocation_of_its_size() {
    let text = long(1000);
    assert!((1000 + 16..1000 + 40).contains(&Text::from(text.as_str()).own_bytes()));
    let clone = text.clone();
    assert!(clone.ptr_eq(&text) && clone.as_ptr() == text.as_ptr());
    assert_eq!((text.own_bytes(), clone.own_bytes()), (0, 0));
    assert_eq!(text.shared_bytes(), clone.shared_bytes());
}

#[test]
fn a_part_shares_unless_it_keeps_too_much_alive() {
    let text = long(10_000);
    let (half, crumb) = (text.slice(5_000..), text.slice(7_000..7_100));
    assert_eq!(half.as_ptr(), text[5_000..].as_ptr());
    assert!(crumb.is_unique() && crumb.own_bytes() < 200, "a copy");
    assert_eq!(text.slice(3..9), "defghi");
    let mut rest = text.clone();
    rest.truncate(100);
    assert!(
        rest.is_unique() && rest.own_bytes() < 200,
        "what is left is a small part of what others have"
    );
    drop(text);
    assert!(half.is_unique(), "the last owner, though of a part");
    assert_eq!(half.slice_ref(half.split_at(2_000).0).as_ptr(), half.as_ptr());
}

#[test]
fn nothing_is_a_part_wherever_it_is() {
    let text = long(100);
    assert_eq!(
        text.slice_ref(text.strip_prefix("not there").unwrap_or_default()),
        ""
    );
    assert_eq!(text.slice_ref(&text[50..50]), "");
    assert!(text.into_bytes().slice_ref(&[]).is_empty());
}

#[test]
fn a_sole_owner_writes_in_place() {
    let mut text = Text::with_capacity(100);
    let place = text.as_ptr();
    while text.len() < 100 {
        text.push('x');
    }
    text.insert(50, 'y');
    text.remove(50);
    text.truncate(10);
    text.replace_range(2..4, "longer");
    text.as_mut_str().make_ascii_uppercase();
    assert_eq!((text.as_ptr(), &*text), (place, "XXLONGERXXXXXX"));
    assert!(text.capacity() >= 100, "it keeps its room");
    text.shrink_to_fit();
    assert_eq!((text.own_bytes(), &*text), (0, "XXLONGERXXXXXX"));
}

#[test]
fn a_part_grows_in_place_when_it_is_alone() {
    let mut whole = long(100);
    whole.reserve(100);
    let mut end = whole.split_off(50);
    let place = end.as_ptr();
    drop(whole);
    end.push_str(" and more");
    assert_eq!(end.as_ptr(), place, "behind it there was room");
    assert!(end.ends_with("tuv and more"));

    // A queue: what is taken from the front makes room for what comes at the end.
    let mut queue = long(1000);
    let bytes = queue.own_bytes();
    for _ in 0..10_000 {
        queue.push_str("0123456789");
        let rest = queue.slice(10..);
        queue = rest;
    }
    assert!(
        queue.len() == 1000 && queue.own_bytes() <= 3 * bytes,
        "{}",
        queue.own_bytes()
    );
}

#[cfg(debug_assertions)]
#[test]
fn only_a_write_to_what_others_have_copies() {
    let mut text = long(100);
    let other = text.clone();
    let reads = detaches(|| {
        assert!(text.get_mut().is_none());
        assert!(text.contains("xyz") && text.diff(&other).next().is_none() && text == other);
        let _ = (text.slice(2..80), text.split_at(5), text.clone().into_bytes());
    });
    assert_eq!(reads, 0);
    assert_eq!(detaches(|| text.push('!')), 1);
    assert_eq!(detaches(|| text.push('!')), 0, "alone now");
    assert_eq!(detaches(|| other.clone().retain(|character| character != 'x')), 1);
    assert_eq!(detaches(|| Text::from_static("never anybody's").push('!')), 0);
}

#[test]
fn a_panic_while_retaining_leaves_the_text() {
    let mut text = long(100);
    let other = text.clone();
    for nth in 0..100 {
        let mut calls = 0;
        let retained = catch_unwind(AssertUnwindSafe(|| {
            text.retain(|_| {
                assert!(calls < nth, "planned");
                calls += 1;
                calls % 2 == 0
            });
        }));
        assert!(retained.is_err() && text == other);
    }
    let mut bytes = other.clone().into_bytes();
    assert!(
        catch_unwind(AssertUnwindSafe(
            || bytes.retain(|byte| byte != b'a' || panic!("planned"))
        ))
        .is_err()
    );
    assert_eq!(bytes, other.as_bytes());
}

#[test]
fn what_cuts_a_character_or_leaves_the_text_panics() {
    let text = Text::from("añ and a few more characters");
    let panics: [&dyn Fn(Text); 9] = [
        &|text| drop(text.slice(2..)),
        &|text| drop(text.slice(..99)),
        &|mut text| text.insert(2, 'x'),
        &|mut text| assert!(text.remove(99) > ' '),
        &|mut text| text.truncate(2),
        &|mut text| text.replace_range(0..2, ""),
        &|mut text| drop(text.drain(2..4)),
        &|mut text| drop(text.split_off(2)),
        &|text| drop(text.slice_ref("elsewhere")),
    ];
    for (number, panics) in panics.into_iter().enumerate() {
        let clone = text.clone();
        assert!(
            catch_unwind(AssertUnwindSafe(|| panics(clone))).is_err(),
            "{number}"
        );
    }
    assert_eq!(text, "añ and a few more characters");
}

#[test]
fn a_diff_of_what_is_shared_looks_at_nothing() {
    let text = long(1_000_000);
    let clone = text.clone();
    assert_eq!(text.diff(&clone).count(), 0);
    let part = text.slice(400_000..900_000);
    let cuts = [(0..400_000, 0..0), (900_000..1_000_000, 500_000..500_000)];
    assert!(
        text.diff(&part)
            .eq(cuts.map(|(ours, theirs)| Edit { ours, theirs }))
    );
}

#[test]
fn a_merge_asks_only_where_both_differ() {
    let base = text!("{}", "The cat sat on the mat, and the dog lay by the door.");
    let ours = Text::from("The cat slept on the mat, and the dog lay by the window.");
    let theirs = Text::from("The cat sat on the mat, and the hound lay by the gate.");
    let mut asked = Vec::new();
    let merged = base.merge(&ours, &theirs, |overlap| {
        asked.push((
            ours[overlap.ours.clone()].to_owned(),
            theirs[overlap.theirs.clone()].to_owned(),
        ));
        ours.slice(overlap.ours)
    });
    assert_eq!(
        merged,
        "The cat slept on the mat, and the hound lay by the window."
    );
    assert_eq!(asked, [("window".to_owned(), "gate".to_owned())]);
    assert!(
        base.merge(&ours, &base, |_| unreachable!()).ptr_eq(&ours),
        "without a copy"
    );
}

#[test]
fn it_reads_and_writes_as_a_string() {
    let mut text = Text::new();
    write!(text, "{:>5}|é", 42).unwrap();
    assert_eq!(text, "   42|é");
    assert!("   42|é" == text && text == format!("{:>5}|é", 42) && text < *"b");
    let map = HashMap::from([(Text::from("key"), 1)]);
    assert_eq!(map.get("key"), Some(&1));
    assert!(BTreeSet::from([Text::from("b"), "a".into()]).contains("a"));
    assert_eq!(AsRef::<Path>::as_ref(&text), Path::new("   42|é"));
    let joined: Text = ["a", "b"].into_iter().chain(Some("c")).collect();
    assert_eq!(joined + "d", "abcd");
    assert_eq!("parsed".parse::<Text>().unwrap(), text!("parsed"));
    assert_eq!(std::borrow::Cow::from(&text), "   42|é");
    assert_eq!(
        (String::from(&text).len(), format!("{text:?}")),
        (8, "\"   42|é\"".into())
    );
    assert_eq!(Text::from_utf8_lossy(b"a\xFFb".as_slice().into()), "a\u{FFFD}b");
    let units: Vec<u16> = "a€😀".encode_utf16().collect();
    assert_eq!(Text::from_utf16(&units).unwrap(), "a€😀");
    assert_eq!(Text::from_utf16_lossy(&units), "a€😀");
    let alone = &units[..units.len() - 1];
    assert!(Text::from_utf16(alone).is_err());
    assert_eq!(Text::from_utf16_lossy(alone), "a€\u{FFFD}");

    let mut bytes = Bytes::new();
    bytes.write_all(b"written").unwrap();
    assert_eq!(
        bytes
            .write_vectored(&[std::io::IoSlice::new(b", "), std::io::IoSlice::new(b"twice")])
            .unwrap(),
        7
    );
    bytes[0] = b'W';
    assert_eq!(bytes, b"Written, twice");
}

#[test]
fn threads_write_to_their_own() {
    let origin = long(500);
    thread::scope(|scope| {
        for number in 0..4_usize {
            let mut mine = origin.clone();
            scope.spawn(move || {
                for round in 0..500 {
                    mine.push_str("abc");
                    let part = mine.slice(number..number + 100 + round);
                    assert!(mine[number..].starts_with(&*part));
                }
                assert_eq!(mine.len(), 2000);
            });
        }
    });
    assert!(origin.is_unique() && origin == long(500));
}

#[cfg(feature = "serde")]
#[test]
fn to_a_format_it_is_a_string() {
    let values = (
        Text::from("a \"text\" that is longer than what is inline"),
        Bytes::from([1, 2]),
    );
    let json = serde_json::to_string(&values).unwrap();
    assert_eq!(json, r#"["a \"text\" that is longer than what is inline",[1,2]]"#);
    assert_eq!(serde_json::from_str::<(Text, Bytes)>(&json).unwrap(), values);
}
