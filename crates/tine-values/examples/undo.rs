//! An editor's undo history in twenty lines: every version is kept, and a version costs what it changed.
//!
//! `cargo run -p tine-values --example undo`

use tine_values::{List, Text};

/// A document is its lines. A clone of it costs one count, whatever its size.
#[derive(Default)]
struct Editor {
    lines: List<Text>,
    past: Vec<List<Text>>,
    future: Vec<List<Text>>,
}

impl Editor {
    fn edit(&mut self, change: impl FnOnce(&mut List<Text>)) {
        self.past.push(self.lines.clone());
        self.future.clear();
        change(&mut self.lines);
    }

    fn undo(&mut self) {
        let Some(past) = self.past.pop() else { return };
        self.future.push(std::mem::replace(&mut self.lines, past));
    }

    fn redo(&mut self) {
        let Some(future) = self.future.pop() else { return };
        self.past.push(std::mem::replace(&mut self.lines, future));
    }
}

pub(crate) fn main() {
    let mut editor = Editor::default();
    editor.edit(|lines| lines.extend((0..100_000).map(|number| tine_values::text!("line {number}"))));
    for number in 0..1_000 {
        editor.edit(|lines| lines[number * 100].push_str(", edited"));
    }
    editor.edit(|lines| drop(lines.remove(50_000)));
    let (lines, versions) = (editor.lines.len(), editor.past.len());
    println!("{lines} lines, {versions} versions to go back to");

    let newest = editor.lines.clone();
    while !editor.past.is_empty() {
        editor.undo();
    }
    assert!(editor.lines.is_empty());
    while !editor.future.is_empty() {
        editor.redo();
    }
    assert!(editor.lines.ptr_eq(&newest));
    editor.undo();
    println!(
        "undone: line 50,000 is back: {:?}, {} bytes are this version's own",
        editor.lines[50_000],
        editor.lines.own_bytes()
    );
}
