//! The root of one stretch: what is new of it becomes a run, and is merged with the layers below that are worth it.
//!
//! Invariant: what cannot be read of one disk's layers keeps nobody else's from being saved. Such a disk's runs lie on what
//! is unreadable, as they are, and only who reads it or wants it merged is told.

use std::cell::RefCell;
use std::sync::Arc;

use crate::buffer::{Place as SourcePlace, StretchId};
use crate::codec::Encoder;
use crate::error::Result;
use crate::index::extent::{Content, Extent};
use crate::index::layers::{LAYERS_MAX, Layers, layers_kept};
use crate::index::merge::{Stream, merge, overlay};
use crate::index::node::extent_bytes;
use crate::index::tree::Tree;
use crate::overlay::{Entry, Overlay};
use crate::planted::{Bug, planted};
use crate::store::Engine;
use crate::store::checkpoint::{Changed, Merging};
use crate::store::content::{Applier, add_parts};
use crate::store::durable::NewRoot;
use crate::store::index_writer::IndexWriter;
use crate::store::stretch::{Deaths, PublishedPart, Stretch};

/// What is new of a stretch.
struct Run {
    extents: Vec<Extent>,
    /// Blocks of it that died before they came here.
    deaths: Deaths,
}

impl Engine {
    pub(super) fn make_root(
        &self,
        writer: &IndexWriter<'_>,
        stretch: &Arc<Stretch>,
        changed: Changed,
        base: &Arc<Layers>,
        merging: Merging,
    ) -> Result<NewRoot> {
        let run = self.run(stretch, &changed.parts);
        let run_bytes: u64 = run.extents.iter().map(|extent| extent_bytes(extent) as u64).sum();
        let trees = &base.trees;
        let is_wanted = merging == Merging::Whole(stretch.id);
        let is_unmergeable = stretch.state.lock().unmergeable;
        let keep = match merging {
            _ if is_wanted => 0,
            // Only what lies on the layer that cannot be read, if there are too many.
            _ if is_unmergeable => trees.len().min(LAYERS_MAX - 1),
            Merging::Least if trees.len() < LAYERS_MAX => trees.len(),
            Merging::Deep => {
                usize::from(base.owner != stretch.id || stretch.parent.is_some()).min(trees.len())
            }
            Merging::Paced | Merging::Whole(_) if run.extents.is_empty() => trees.len(),
            Merging::Least | Merging::Paced | Merging::Whole(_) => layers_kept(trees, run_bytes),
        };
        let paid = changed
            .paid
            .filter(|_| merging != Merging::Least && !is_unmergeable);
        let keep = paid.map_or(keep, |paid| keep.min(paid));
        let (layers, deaths) = match self.lay_on(writer, stretch, trees, run, keep) {
            // Something could not be read. Without merging nothing has to be.
            Err(_) if keep < trees.len() && !is_wanted && !writer.has_failed() => {
                stretch.state.lock().unmergeable = true;
                let run = self.run(stretch, &changed.parts);
                self.lay_on(writer, stretch, trees, run, trees.len())?
            }
            result => result?,
        };
        // The set of written blocks is needed for as long as it may change; of a point its count, which cannot be found
        // out without the parts.
        let mut alive = None;
        let written = if changed.is_final && stretch.alive().is_some() {
            None
        } else {
            let at = stretch.state.lock().written_at;
            match self.saved_set(at.as_ref(), changed.root.as_deref(), stretch.id) {
                Ok(mut written) => {
                    add_parts(&mut written, &changed.parts);
                    if changed.is_final {
                        // Nobody writes to it any more.
                        stretch.set_alive(written.count());
                        None
                    } else {
                        alive = Some(written.count());
                        let mut out = Encoder::default();
                        written.encode(&mut out);
                        Some(writer.put_set(&out.bytes)?)
                    }
                }
                // Who asks for it is told.
                Err(_) => at,
            }
        };
        let layers = match &changed.root {
            // What look-ups in it have not paid for yet.
            Some(root) if Arc::ptr_eq(root, base) => root.next(stretch.id, layers, paid),
            _ => Layers::new(stretch.id, layers),
        };
        let upto = changed.parts.iter().map(|part| part.part.upto).max();
        Ok(NewRoot {
            covered: upto.unwrap_or(0).max(stretch.state.lock().covered),
            stretch: Arc::clone(stretch),
            layers,
            is_final: changed.is_final,
            written,
            alive,
            deaths,
        })
    }

    fn run(&self, stretch: &Stretch, parts: &[PublishedPart]) -> Run {
        let mut overlay = Overlay::new();
        let mut applier = Applier::new(self, stretch.id, &mut overlay);
        for part in parts {
            applier.part(part.segment, &part.part);
        }
        let deaths = applier.deaths;
        Run {
            extents: extents(&overlay, stretch.id),
            deaths,
        }
    }

    /// Returns the lowest `keep` trees and one of all others and the run, with what died.
    fn lay_on(
        &self,
        writer: &IndexWriter<'_>,
        stretch: &Stretch,
        trees: &[Arc<Tree>],
        run: Run,
        keep: usize,
    ) -> Result<(Vec<Arc<Tree>>, Deaths)> {
        let deaths = RefCell::new(run.deaths);
        let on_hidden = |hidden: &Extent| {
            if let (true, Content::Data { segment, .. }) = (hidden.birth == stretch.id, &hidden.content) {
                *deaths.borrow_mut().entry(*segment).or_default() += hidden.count;
            }
        };
        let mut layers = trees[..keep].to_vec();
        if keep < trees.len() || !run.extents.is_empty() {
            let mut newer = Stream::new(run.extents.into_iter().map(Ok));
            for tree in trees.iter().skip(keep + 1).rev() {
                newer = overlay(newer, Stream::new(tree.cursor(writer)?), &on_hidden);
            }
            let older = trees.get(keep).map(Arc::as_ref);
            let bottom = keep == 0 || planted(Bug::TombstoneOverLive);
            let merged = merge(writer, older, newer, bottom, &on_hidden)?;
            layers.extend(merged.map(|record| Tree::new(record, &self.segments)));
        }
        Ok((layers, deaths.into_inner()))
    }
}

/// Turns an overlay of one stretch into extents: consecutive blocks of one segment become one.
fn extents(overlay: &Overlay, birth: StretchId) -> Vec<Extent> {
    let mut extents: Vec<Extent> = Vec::new();
    for (range, entry) in overlay {
        let content = match entry {
            Entry::Zero(zero) if zero.is_hole() => Content::Hole,
            Entry::Zero(_) => Content::Zero,
            Entry::Data {
                source,
                slot,
                checksum,
            } => {
                let SourcePlace::Stored { segment, .. } = &*source.place.read() else {
                    unreachable!("an applier makes stored sources of parts");
                };
                Content::Data {
                    segment: segment.id,
                    first: *slot,
                    checksums: vec![*checksum],
                }
            }
        };
        let next = Extent {
            start: range.start,
            count: range.end - range.start,
            birth,
            content,
        };
        let alone = match extents.last_mut() {
            Some(last) => last.append(next).err(),
            None => Some(next),
        };
        extents.extend(alone);
    }
    extents
}
