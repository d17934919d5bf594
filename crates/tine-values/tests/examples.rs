//! The examples run to their end, as they assert on the way.

#[path = "../examples/published.rs"]
mod published;
#[path = "../examples/undo.rs"]
mod undo;

#[test]
fn an_editor_undoes() {
    undo::main();
}

#[test]
fn readers_see_whole_versions_while_one_writes() {
    published::main();
}
