//! Ten million glyphs of a document by flyweight: what they have in common is there once, a glyph is four bytes.
//!
//! `cargo run --release -p tine-values --example glyphs`

use tine_values::{Interner, List, Symbol, Text};

/// What a plain editor would keep for each glyph.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Glyph {
    character: char,
    font: Text,
    size: u16,
    color: [u8; 4],
}

/// Lays out some glyphs and returns how many different ones there are, and the bytes of all, as symbols and as structs.
pub(crate) fn lay_out(count: usize) -> (usize, usize, usize) {
    let glyphs: Interner<Glyph> = Interner::new();
    let fonts = ["Serif", "Sans", "Monospaced"].map(Text::from_static);
    let document: List<Symbol> = (0..count)
        .map(|at| {
            let glyph = Glyph {
                character: char::from(b'a' + (at * 7 % 26) as u8),
                font: fonts[at / 100_000 % 3].clone(),
                size: 12,
                color: [0, 0, 0, if at.is_multiple_of(1000) { 255 } else { 0 }],
            };
            glyphs.intern(&glyph)
        })
        .collect();
    let bold = document
        .iter()
        .filter(|&&glyph| glyphs[glyph].color[3] == 255)
        .count();
    assert_eq!(bold, count.div_ceil(1000));
    let by_symbols = document.own_bytes() + glyphs.own_bytes();
    (glyphs.len(), by_symbols, count * size_of::<Glyph>())
}

pub(crate) fn main() {
    let count = if cfg!(debug_assertions) {
        100_000
    } else {
        10_000_000
    };
    let (different, by_symbols, plain) = lay_out(count);
    println!("{count} glyphs, {different} different ones");
    println!(
        "plain structs: {plain} bytes; by flyweight: {by_symbols} bytes, {:.1} times less",
        plain as f64 / by_symbols as f64
    );
    assert!(by_symbols * 8 < plain);
}
