//! Goal: damaged bytes are told, never shown, whatever they belong to.
//! Method: every byte of journal, manifests, segment headers, indexes and footers flipped, every file cut and lost,
//! in a store that was closed, one whose process died, and one that was recovered; see `support::rot`.

mod support;

use support::rot;

#[test]
fn no_damage_shows_wrong_bytes() {
    let stride = support::number_from_environment("TINE_STRIDE").unwrap_or(1);
    for still in rot::stores().unwrap_or_else(|why| panic!("{why}")) {
        match rot::damage_everything(&still, stride) {
            Ok(told) => println!("{told:?}"),
            Err(why) => panic!("{why}"),
        }
    }
}

#[test]
fn an_older_manifest_never_stands_in() {
    rot::older_manifest().unwrap_or_else(|why| panic!("{why}"));
}
