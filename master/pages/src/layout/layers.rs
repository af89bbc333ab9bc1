//! Columns: an arrow goes to a later one, and passes those between at places of its own. Pure.

use std::collections::BTreeSet;

/// A graph in columns. Vertices are the boxes by position, and after them the places where arrows pass a column.
pub(super) struct Layered {
    /// Vertices by column, in their order from top to bottom.
    pub(super) layers: Vec<Vec<usize>>,
    /// Pairs of vertices in columns side by side, the left one first.
    pub(super) links: Vec<(usize, usize)>,
    /// Of each arrow, in the order of the arrows.
    pub(super) chains: Vec<Chain>,
    /// By vertex.
    levels: Vec<usize>,
    boxes: usize,
}

/// The vertices of an arrow from left to right; none when it is not drawn.
#[derive(Default)]
pub(super) struct Chain {
    pub(super) vertices: Vec<usize>,
    /// The arrow points to the left: it closes a circle.
    pub(super) is_turned: bool,
}

impl Layered {
    pub(super) fn of(boxes: usize, arrows: &[(usize, usize)]) -> Self {
        let drawn = |(from, to): &(usize, usize)| from != to && *from < boxes && *to < boxes;
        let ranks = ranks(boxes, &arrows.iter().copied().filter(drawn).collect());
        let rank = |vertex: usize| ranks.get(vertex).copied().unwrap_or_default();
        let rightward = |(from, to): (usize, usize)| if rank(from) < rank(to) { (from, to) } else { (to, from) };
        let edges: BTreeSet<(usize, usize)> = arrows.iter().copied().filter(drawn).map(rightward).collect();
        let mut layered = Self {
            layers: Vec::new(),
            links: Vec::new(),
            chains: Vec::with_capacity(arrows.len()),
            levels: levels(boxes, &ranks, &edges),
            boxes,
        };
        for vertex in 0..boxes {
            layered.enter(vertex);
        }
        // Arrows between the same boxes run the same way.
        let mut paths = std::collections::BTreeMap::new();
        for edge in edges {
            paths.insert(edge, layered.path(edge));
        }
        for arrow in arrows {
            let edge = rightward(*arrow);
            let vertices = paths.get(&edge).filter(|_| drawn(arrow)).cloned().unwrap_or_default();
            layered.chains.push(Chain { vertices, is_turned: edge != *arrow });
        }
        layered
    }

    /// The column of a vertex.
    pub(super) fn level(&self, vertex: usize) -> usize {
        self.levels.get(vertex).copied().unwrap_or_default()
    }

    /// How many vertices there are.
    pub(super) fn len(&self) -> usize {
        self.levels.len()
    }

    /// Whether an arrow passes here, and no box stands here.
    pub(super) const fn is_passage(&self, vertex: usize) -> bool {
        vertex >= self.boxes
    }

    /// Neighbours in the columns before and after, by vertex.
    pub(super) fn neighbours(&self) -> (Vec<Vec<usize>>, Vec<Vec<usize>>) {
        let mut before = vec![Vec::new(); self.len()];
        let mut after = vec![Vec::new(); self.len()];
        for (left, right) in &self.links {
            after.get_mut(*left).into_iter().for_each(|list: &mut Vec<usize>| list.push(*right));
            before.get_mut(*right).into_iter().for_each(|list: &mut Vec<usize>| list.push(*left));
        }
        (before, after)
    }

    fn enter(&mut self, vertex: usize) {
        let level = self.level(vertex);
        if self.layers.len() <= level {
            self.layers.resize_with(level + 1, Vec::new);
        }
        self.layers.get_mut(level).into_iter().for_each(|layer| layer.push(vertex));
    }

    fn path(&mut self, (from, to): (usize, usize)) -> Vec<usize> {
        let mut path = vec![from];
        let mut last = from;
        for level in self.level(from) + 1..self.level(to) {
            let passage = self.len();
            self.levels.push(level);
            self.enter(passage);
            self.links.push((last, passage));
            path.push(passage);
            last = passage;
        }
        self.links.push((last, to));
        path.push(to);
        path
    }
}

/// A rank for each box, so that as a rule arrows go to higher ones. Of a circle, the box that comes first in the list is
/// its start.
fn ranks(boxes: usize, arrows: &BTreeSet<(usize, usize)>) -> Vec<usize> {
    let mut waits_for = vec![0_usize; boxes];
    let mut targets = vec![Vec::new(); boxes];
    for (from, to) in arrows {
        waits_for.get_mut(*to).into_iter().for_each(|count| *count += 1);
        targets.get_mut(*from).into_iter().for_each(|list: &mut Vec<usize>| list.push(*to));
    }
    let is_free = |vertex: &usize| waits_for.get(*vertex) == Some(&0);
    let mut ready: BTreeSet<usize> = (0..boxes).filter(is_free).collect();
    let mut left: BTreeSet<usize> = (0..boxes).collect();
    let mut ranks = vec![0; boxes];
    let mut next = 0;
    while let Some(vertex) = ready.pop_first().or_else(|| left.first().copied()) {
        if !left.remove(&vertex) {
            continue;
        }
        ranks.get_mut(vertex).into_iter().for_each(|rank| *rank = next);
        next += 1;
        for target in targets.get(vertex).into_iter().flatten() {
            if let Some(count) = waits_for.get_mut(*target) {
                *count = count.saturating_sub(1);
                if *count == 0 {
                    ready.insert(*target);
                }
            }
        }
    }
    ranks
}

/// The column of each box: behind all that lead to it, and what nothing leads to just before what it leads to.
fn levels(boxes: usize, ranks: &[usize], edges: &BTreeSet<(usize, usize)>) -> Vec<usize> {
    let mut by_rank: Vec<(usize, usize, usize)> = Vec::with_capacity(edges.len());
    for (from, to) in edges {
        by_rank.push((ranks.get(*from).copied().unwrap_or_default(), *from, *to));
    }
    by_rank.sort_unstable();
    let mut levels = vec![0_usize; boxes];
    let level = |levels: &[usize], vertex: usize| levels.get(vertex).copied().unwrap_or_default();
    for (_, from, to) in &by_rank {
        let behind = level(&levels, *from) + 1;
        levels.get_mut(*to).into_iter().for_each(|level| *level = behind.max(*level));
    }
    let has_input: BTreeSet<usize> = edges.iter().map(|(_, to)| *to).collect();
    for vertex in (0..boxes).filter(|vertex| !has_input.contains(vertex)) {
        let targets = edges.range((vertex, 0)..=(vertex, usize::MAX)).map(|(_, to)| level(&levels, *to));
        if let Some(first) = targets.min() {
            levels.get_mut(vertex).into_iter().for_each(|level| *level = first.saturating_sub(1));
        }
    }
    levels
}
