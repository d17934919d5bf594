//! The examples run to their end, as they assert on the way.

#[path = "../examples/branches.rs"]
mod branches;
#[path = "../examples/glyphs.rs"]
mod glyphs;
#[path = "../examples/published.rs"]
mod published;
#[path = "../examples/template.rs"]
mod template;
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

#[test]
fn scopes_are_clones() {
    template::main();
}

#[test]
fn glyphs_are_few() {
    glyphs::main();
}

#[test]
fn branches_of_undo_stay() {
    branches::main();
}
