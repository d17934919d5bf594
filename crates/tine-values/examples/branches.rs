//! A branching undo tree: what is typed after an undo begins a branch, and no branch is lost until memory is asked back.
//!
//! `cargo run -p tine-values --example branches`

use tine_values::{History, List, Text, VersionId, text};

fn print(history: &History<List<Text>>, id: VersionId, depth: usize) {
    let lines = history.get(id).map_or(0, List::len);
    let name = history.names().find(|(_, named)| *named == id);
    let name = name.map_or(Text::new(), |(name, _)| text!(" \"{name}\""));
    let here = if id == history.current_id() {
        " <- here"
    } else {
        ""
    };
    let bytes = history.bytes_of(id).unwrap_or(0);
    println!("{:depth$}{lines} lines, {bytes} bytes of its own{name}{here}", "");
    history
        .children(id)
        .iter()
        .for_each(|child| print(history, *child, depth + 2));
}

pub(crate) fn main() {
    let lines: List<Text> = (0..100_000).map(|number| text!("line {number}")).collect();
    let mut history = History::new(lines);
    let first = history.current_id();
    history.name("as opened");
    history.edit(|lines| lines[5].push_str(", edited"));
    history.edit(|lines| drop(lines.remove(7)));
    let one = history.current_id();
    history.undo();
    history.edit(|lines| lines.push("at the end".into()));
    history.name("draft");
    let other = history.current_id();
    print(&history, first, 0);

    assert_eq!(history.tips().collect::<Vec<_>>(), [one, other]);
    assert!(history.go_to(one));
    assert_eq!(history.current().len(), 99_999);
    assert!(history.undo() && history.undo() && !history.undo());
    assert!(history.redo() && history.redo());
    assert_eq!(history.current_id(), one);

    // What has a name stays, and where we are; the version between them goes.
    let taken = history.own_bytes();
    history.set_bound(Some(1));
    println!(
        "\nforgotten what has no name: {taken} -> {} bytes",
        history.own_bytes()
    );
    print(&history, first, 0);
    assert_eq!((history.len(), history.named("draft")), (3, Some(other)));
}
