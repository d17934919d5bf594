//! `tine tree`: which branch comes from which.

use std::collections::HashMap;
use std::env;

use tine_server::api::{Family, Point};
use tine_server::words::human;
use tine_store::Target;

use super::ls::no_branches;
use crate::context::{Context, Missing};
use crate::error::{Exit, Outcome};

/// Draws which branch and snapshot comes from which
///
/// Branches are leaves, snapshots and the states that were forked are what they grow from. In brackets: what was written
/// since the one above.
#[derive(clap::Args)]
#[command(after_long_help = "\
Example:
  tine tree")]
pub(crate) struct Args {}

pub(crate) fn run(_: &Args, context: &Context) -> Outcome {
    let Family { points, damaged } = context.ask(Missing::Refuse, tine_server::api::Tree {})?;
    let ui = &context.ui;
    if ui.json {
        for point in &points {
            ui.object(point)?;
        }
        return Ok(Exit::Done);
    }
    if points.is_empty() {
        ui.say(no_branches(damaged));
    }
    for line in Tree::new(&points).draw(strokes()) {
        ui.line(line)?;
    }
    Ok(Exit::Done)
}

/// What a tree is drawn with.
#[derive(Clone, Copy)]
struct Strokes {
    child: &'static str,
    last: &'static str,
    beside: &'static str,
    below: &'static str,
}

const BOX: Strokes = Strokes {
    child: "├─ ",
    last: "└─ ",
    beside: "│  ",
    below: "   ",
};
const ASCII: Strokes = Strokes {
    child: "|- ",
    last: "`- ",
    beside: "|  ",
    below: "   ",
};

fn strokes() -> Strokes {
    // The first of these that is set says which characters the terminal shows.
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .filter_map(|name| env::var(name).ok())
        .find(|value| !value.is_empty())
        .unwrap_or_default()
        .to_ascii_lowercase();
    if locale.contains("utf-8") || locale.contains("utf8") {
        BOX
    } else {
        ASCII
    }
}

struct Tree<'a> {
    points: &'a [Point],
    /// By place in `points`, as all that follows.
    children: Vec<Vec<usize>>,
    roots: Vec<usize>,
    /// Where a line of points that nobody named and nothing else grows from ends, and what they wrote in all.
    ends: Vec<(usize, u64)>,
}

impl<'a> Tree<'a> {
    /// Makes the tree of points that come parents first.
    fn new(points: &'a [Point]) -> Self {
        let places: HashMap<u64, usize> = points
            .iter()
            .enumerate()
            .map(|(place, point)| (point.point, place))
            .collect();
        let mut children = vec![Vec::new(); points.len()];
        let mut roots = Vec::new();
        for (place, point) in points.iter().enumerate() {
            match point.parent.and_then(|parent| places.get(&parent)) {
                Some(parent) => children[*parent].push(place),
                None => roots.push(place),
            }
        }
        let ends = ends(points, &children);
        let order = |place: &usize| order(&points[ends[*place].0]);
        for children in &mut children {
            children.sort_by_cached_key(order);
        }
        roots.sort_by_cached_key(order);
        Self {
            points,
            children,
            roots,
            ends,
        }
    }

    /// Draws from the top, without recursion: a line of forks may be longer than the stack is deep.
    fn draw(&self, strokes: Strokes) -> Vec<String> {
        let mut lines = Vec::new();
        let mut todo: Vec<(usize, String, String)> = self
            .roots
            .iter()
            .rev()
            .map(|root| (*root, String::new(), String::new()))
            .collect();
        while let Some((place, stem, below)) = todo.pop() {
            let (place, written) = self.ends[place];
            lines.push(format!("{stem}{}", self.label(place, written)));
            for (nth, child) in self.children[place].iter().enumerate().rev() {
                let is_last = nth + 1 == self.children[place].len();
                let (stroke, space) = if is_last {
                    (strokes.last, strokes.below)
                } else {
                    (strokes.child, strokes.beside)
                };
                todo.push((*child, format!("{below}{stroke}"), format!("{below}{space}")));
            }
        }
        lines
    }

    fn label(&self, place: usize, written: u64) -> String {
        let point = &self.points[place];
        let mut names: Vec<String> = match &point.name {
            Some(branch) => vec![branch.to_string()],
            None => point.snapshots.iter().map(ToString::to_string).collect(),
        };
        if let Some(origin) = &point.forked_as
            && !names.contains(origin)
        {
            names.push(format!("({origin} when it was forked)"));
        }
        let name = if names.is_empty() {
            "(no name)".to_owned()
        } else {
            names.join(", ")
        };
        if written > 0 {
            format!("{name} [{}]", human(written))
        } else {
            name
        }
    }
}

fn ends(points: &[Point], children: &[Vec<usize>]) -> Vec<(usize, u64)> {
    let mut ends: Vec<_> = points
        .iter()
        .enumerate()
        .map(|(place, point)| (place, point.written))
        .collect();
    // From the last, so that a child's end is known before its parent's.
    for (place, point) in points.iter().enumerate().rev() {
        if let [only] = children[place][..]
            && point.snapshots.is_empty()
            && point.forked_as.is_none()
        {
            ends[place] = (ends[only].0, ends[only].1 + point.written);
        }
    }
    ends
}

/// Sorts siblings by the branch that they are, or are a snapshot of; numbers in its name by value.
fn order(point: &Point) -> String {
    let branch = point
        .name
        .as_ref()
        .or_else(|| point.snapshots.first().map(Target::branch));
    by_value(branch.map_or("", AsRef::as_ref))
}

/// Returns a text that sorts as a person would: `job-2` before `job-10`.
fn by_value(name: &str) -> String {
    let mut key = String::with_capacity(name.len() + 16);
    let mut rest = name;
    while let Some(start) = rest.find(|c: char| c.is_ascii_digit()) {
        let digits = rest[start..]
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len() - start);
        key.push_str(&rest[..start]);
        let number = rest[start..start + digits].trim_start_matches('0');
        key.push_str(&format!("{number:0>128}"));
        rest = &rest[start + digits..];
    }
    key + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(id: u64, parent: Option<u64>, branch: Option<&str>, snapshot: Option<&str>) -> Point {
        Point {
            point: id,
            parent,
            size: 1 << 20,
            written: if branch.is_some() { 0 } else { 4096 },
            name: branch.map(|name| name.parse().unwrap()),
            snapshots: snapshot.map(|name| name.parse().unwrap()).into_iter().collect(),
            forked_as: None,
        }
    }

    #[test]
    fn a_family_is_drawn_with_what_nobody_named_left_out() {
        let points = [
            point(1, None, None, Some("golden@v1")),
            point(2, Some(1), None, None),
            point(3, Some(2), None, Some("web@clean")),
            point(4, Some(3), Some("web"), None),
            point(5, Some(1), Some("job-10"), None),
            point(6, Some(1), Some("job-9"), None),
        ];
        let drawn = Tree::new(&points).draw(BOX).join("\n");
        let expected = "\
golden@v1 [4.0 KiB]
├─ job-9
├─ job-10
└─ web@clean [8.0 KiB]
   └─ web";
        assert_eq!(drawn, expected);
    }

    #[test]
    fn a_line_of_a_hundred_thousand_forks_is_drawn() {
        let points: Vec<_> = (0..100_000)
            .map(|id: u64| point(id, id.checked_sub(1), None, None))
            .collect();
        assert_eq!(Tree::new(&points).draw(ASCII).len(), 1);
    }
}
