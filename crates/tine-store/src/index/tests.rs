//! Goal: trees say of every block what a plain map says, whatever was merged, copied on write, or taken over.
//! Method: random runs over random trees, against a map of single blocks; and the costs that merging promises.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;

use super::Nodes;
use super::build::NodeStore;
use super::extent::{Content, Extent};
use super::layers::Layers;
use super::leaf::PieceContent;
use super::merge::{OnHidden, Stream, merge, overlay};
use super::node::{Child, Node, NodeRef};
use super::tree::{Tree, TreeRecord};
use crate::checksum::crc32c;
use crate::error::Result;
use crate::medium::simulated::{Chooser, SimulatedMedium, SimulatedOptions};
use crate::segment::SegmentId;
use crate::segment::table::SegmentTable;

/// Nodes in memory; every eighth of them begins a new segment.
struct Memory {
    table: Arc<SegmentTable>,
    nodes: Mutex<Vec<Vec<u8>>>,
    per_segment: usize,
}

impl Memory {
    fn new(per_segment: usize) -> Self {
        let medium = SimulatedMedium::new(SimulatedOptions::default(), Chooser::seeded(1));
        Self {
            table: Arc::new(SegmentTable::new(medium.start())),
            nodes: Mutex::default(),
            per_segment,
        }
    }

    fn written(&self) -> usize {
        self.nodes.lock().iter().map(Vec::len).sum()
    }

    fn tree(&self, record: TreeRecord) -> Arc<Tree> {
        Tree::new(record, &self.table)
    }
}

impl Nodes for Memory {
    fn load(&self, child: &Child, level: u8) -> Result<Arc<Node>> {
        let nodes = self.nodes.lock();
        let bytes = &nodes[child.at.offset as usize];
        assert_eq!(crc32c(bytes), child.at.checksum);
        let node = Node::decode(bytes, &self.table)?;
        assert_eq!(node.level(), level);
        Ok(Arc::new(node))
    }
}

impl NodeStore for Memory {
    fn put(&self, node: &[u8]) -> Result<NodeRef> {
        let mut nodes = self.nodes.lock();
        nodes.push(node.to_vec());
        let offset = nodes.len() as u64 - 1;
        Ok(NodeRef {
            segment: SegmentId {
                epoch: 9,
                counter: (offset as usize / self.per_segment) as u32,
            },
            offset,
            bytes: node.len() as u32,
            checksum: crc32c(node),
        })
    }
}

const IGNORE: OnHidden<'static> = &|_| ();

struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// What a block is: its segment's block and checksum, zero, or a hole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Block {
    Data(u32, u32, u64),
    Zero(u64),
    Hole(u64),
}

type Model = BTreeMap<u64, Block>;

fn apply(model: &mut Model, extent: &Extent) {
    for (at, block) in (extent.start..extent.end()).enumerate() {
        let content = match &extent.content {
            Content::Data { first, checksums, .. } => {
                Block::Data(first + at as u32, checksums[at], extent.birth)
            }
            Content::Zero => Block::Zero(extent.birth),
            Content::Hole => Block::Hole(extent.birth),
        };
        model.insert(block, content);
    }
}

fn random_run(random: &mut Random, birth: u64, disk: u64, extents: u64) -> Vec<Extent> {
    let mut run = Vec::new();
    let mut at = random.below(disk / 8);
    for _ in 0..extents {
        let count = 1 + if random.below(4) == 0 {
            random.below(200)
        } else {
            random.below(3)
        };
        if at + count > disk {
            break;
        }
        let content = match random.below(6) {
            0 => Content::Zero,
            1 => Content::Hole,
            _ => Content::Data {
                segment: SegmentId {
                    epoch: 1,
                    counter: random.below(3) as u32,
                },
                first: random.below(1 << 20) as u32,
                checksums: (0..count).map(|_| random.below(1 << 32) as u32).collect(),
            },
        };
        run.push(Extent {
            start: at,
            count,
            birth,
            content,
        });
        at += count
            + if random.below(3) == 0 {
                0
            } else {
                random.below(2 * disk / extents)
            };
    }
    run
}

fn stream(extents: &[Extent]) -> Stream<'_> {
    Stream::new(extents.iter().cloned().map(Ok))
}

fn content_of(layers: &Layers, nodes: &dyn Nodes, disk: u64) -> Model {
    let mut found = Model::new();
    let mut next = 0;
    let whole = layers.resolve(nodes, 0..disk, &mut |blocks, piece| {
        assert_eq!(blocks.start, next, "everything is told once, in order");
        next = blocks.end;
        if let Some(piece) = piece {
            apply(&mut found, &piece.to_extent());
        }
        Ok(true)
    });
    assert!(whole.unwrap());
    assert_eq!(next, disk);
    found
}

/// Checks a tree's own figures against what it holds.
fn check_figures(memory: &Memory, tree: &Tree) {
    let mut extents = 0;
    let mut end = 0;
    for extent in tree.cursor(memory).unwrap() {
        let extent = extent.unwrap();
        assert!(extent.start >= end);
        end = extent.end();
        extents += 1;
    }
    assert_eq!(extents, tree.record.extents);
    assert!(end <= tree.record.span.end);
    let mut homes: BTreeMap<SegmentId, u64> = BTreeMap::new();
    each_node(memory, &tree.root, tree.record.level, &mut |at| {
        *homes.entry(at.segment).or_default() += u64::from(at.bytes);
    });
    assert_eq!(homes.into_iter().collect::<Vec<_>>(), tree.record.homes);
}

fn each_node(memory: &Memory, child: &Child, level: u8, each: &mut dyn FnMut(&NodeRef)) {
    each(&child.at);
    if let super::node::NodeKind::Inner { level, children } = memory.load(child, level).unwrap().kind() {
        for child in children.iter() {
            each_node(memory, child, level - 1, each);
        }
    }
}

#[test]
fn merged_trees_say_what_a_map_says_and_tell_every_death() {
    for seed in 0..20 {
        let mut random = Random(seed);
        let memory = Memory::new(8);
        let disk = 8_000;
        let mut model = Model::new();
        let mut tree: Option<Arc<Tree>> = None;
        for birth in 1..=12 {
            let extents = 1 + random.below(if birth == 1 { 2000 } else { 300 });
            let run = random_run(&mut random, birth, disk, extents);
            let before = model.clone();
            for extent in &run {
                apply(&mut model, extent);
            }
            let died: RefCell<Vec<(u64, Block)>> = RefCell::default();
            let on_hidden = |extent: &Extent| {
                let mut one = Model::new();
                apply(&mut one, extent);
                died.borrow_mut().extend(one);
            };
            let record = merge(&memory, tree.as_deref(), stream(&run), true, &on_hidden).unwrap();
            // Holes vanish at the bottom.
            model.retain(|_, block| !matches!(block, Block::Hole(_)));
            let covered = |block: u64| run.iter().any(|e| e.start <= block && block < e.end());
            let expected: Vec<(u64, Block)> =
                before.into_iter().filter(|(block, _)| covered(*block)).collect();
            let mut died = died.into_inner();
            died.sort_by_key(|(block, _)| *block);
            assert_eq!(died, expected, "seed {seed}");
            tree = record.map(|record| memory.tree(record));
            let layers = Layers::new(birth, tree.iter().cloned().collect());
            assert_eq!(
                content_of(&layers, &memory, disk),
                model,
                "seed {seed}, run {birth}"
            );
            if let Some(tree) = &tree {
                check_figures(&memory, tree);
            }
        }
    }
}

#[test]
fn layers_hide_what_is_below_them_and_merge_into_the_same() {
    for seed in 100..115 {
        let mut random = Random(seed);
        let memory = Memory::new(5);
        let disk = 8000;
        let mut model = Model::new();
        let mut trees = Vec::new();
        for birth in 1..=5 {
            let run = random_run(&mut random, birth, disk, 200);
            for extent in &run {
                apply(&mut model, extent);
            }
            let record = merge(&memory, None, stream(&run), false, IGNORE).unwrap();
            trees.extend(record.map(|record| memory.tree(record)));
        }
        let layers = Layers::new(5, trees.clone());
        assert_eq!(content_of(&layers, &memory, disk), model, "seed {seed}");
        // Each block by itself, as a read of it looks.
        for block in 0..disk {
            let mut found = None;
            layers
                .resolve(&memory, block..block + 1, &mut |_, piece| {
                    found = piece.map(|piece| match piece.content {
                        PieceContent::Data { first, checksums, .. } => {
                            Block::Data(first, checksums[0], piece.birth())
                        }
                        PieceContent::Zero => Block::Zero(piece.birth()),
                        PieceContent::Hole => Block::Hole(piece.birth()),
                    });
                    Ok(true)
                })
                .unwrap();
            assert_eq!(found, model.get(&block).copied());
        }
        let mut above = Stream::new(std::iter::empty());
        for tree in &trees[1..] {
            above = overlay(Stream::new(tree.cursor(&memory).unwrap()), above, IGNORE);
        }
        let record = merge(&memory, Some(&trees[0]), above, true, IGNORE).unwrap();
        let merged = Layers::new(5, record.map(|record| memory.tree(record)).into_iter().collect());
        model.retain(|_, block| !matches!(block, Block::Hole(_)));
        assert_eq!(content_of(&merged, &memory, disk), model, "seed {seed}");
    }
}

fn singles(birth: u64, blocks: impl Iterator<Item = u64>) -> Vec<Extent> {
    blocks
        .map(|start| Extent {
            start,
            count: 1,
            birth,
            content: Content::Data {
                segment: SegmentId { epoch: 1, counter: 1 },
                first: (start % 4000) as u32 * 2,
                checksums: vec![start as u32],
            },
        })
        .collect()
}

#[test]
fn a_small_change_of_a_large_tree_costs_a_leaf_and_its_parents() {
    let memory = Memory::new(1 << 20);
    let large = singles(1, (0..200_000).map(|at| at * 3));
    let record = merge(&memory, None, stream(&large), true, IGNORE)
        .unwrap()
        .unwrap();
    assert!(record.level >= 2);
    let tree = memory.tree(record);
    let before = memory.written();
    let record = merge(
        &memory,
        Some(&tree),
        stream(&singles(2, [300_001].into_iter())),
        true,
        IGNORE,
    );
    let cost = memory.written() - before;
    assert!(cost < 40 << 10, "{cost} bytes");
    let tree = memory.tree(record.unwrap().unwrap());
    check_figures(&memory, &tree);
    assert_eq!(tree.record.extents, 200_001);
}

#[test]
fn a_tree_that_is_changed_for_ever_stays_in_few_segments() {
    let memory = Memory::new(40);
    let mut random = Random(1);
    let large = singles(1, (0..20_000).map(|at| at * 2));
    let mut tree = memory.tree(
        merge(&memory, None, stream(&large), true, IGNORE)
            .unwrap()
            .unwrap(),
    );
    for birth in 2..150 {
        let mut blocks: Vec<u64> = (0..20).map(|_| random.below(40_000)).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let run = singles(birth, blocks.into_iter());
        tree = memory.tree(
            merge(&memory, Some(&tree), stream(&run), true, IGNORE)
                .unwrap()
                .unwrap(),
        );
        assert!(
            tree.record.homes.len() <= 70,
            "{} segments",
            tree.record.homes.len()
        );
    }
    check_figures(&memory, &tree);
    // Leaves do not crumble: about as many bytes as if it had been built at once.
    assert!(tree.record.bytes < tree.record.extents * 40 * 2);
}

#[test]
fn a_node_with_any_bit_wrong_is_refused_or_decoded_without_a_panic() {
    let memory = Memory::new(100);
    let mut random = Random(3);
    let run = random_run(&mut random, 1, 30_000, 1000);
    merge(&memory, None, stream(&run), false, IGNORE).unwrap();
    for node in memory.nodes.lock().iter() {
        for length in 0..node.len().min(200) {
            assert!(Node::decode(&node[..length], &memory.table).is_err());
        }
        for bit in 0..node.len().min(300) * 8 {
            let mut wrong = node.clone();
            wrong[bit / 8] ^= 1 << (bit % 8);
            let _ = Node::decode(&wrong, &memory.table);
        }
    }
}
