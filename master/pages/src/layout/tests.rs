use proptest::prelude::*;

use super::*;

const BOX: Size = Size { width: 180.0, height: 48.0 };

fn drawn(boxes: usize, arrows: &[(usize, usize)]) -> Layout {
    layout(&vec![BOX; boxes], arrows)
}

fn overlaps(layout: &Layout) -> bool {
    let apart = |one: &Point, other: &Point| {
        (one.x - other.x).abs() >= BOX.width - 0.01 || (one.y - other.y).abs() >= BOX.height - 0.01
    };
    layout.corners.iter().enumerate().any(|(index, one)| layout.corners[index + 1..].iter().any(|o| !apart(one, o)))
}

#[test]
fn a_chain_is_a_straight_line() {
    let layout = drawn(3, &[(0, 1), (1, 2)]);
    assert_eq!(layout.corners.iter().map(|corner| corner.y).collect::<Vec<_>>(), [0.0; 3]);
    assert_eq!(layout.corners.iter().map(|corner| corner.x).collect::<Vec<_>>(), [0.0, 236.0, 472.0]);
    assert_eq!(layout.size, Size { width: 652.0, height: 48.0 });
    assert_eq!(layout.routes[0], [Point { x: 180.0, y: 24.0 }, Point { x: 236.0, y: 24.0 }]);
}

#[test]
fn nothing_has_no_size() {
    assert_eq!(drawn(0, &[]), Layout { size: Size { width: 0.0, height: 0.0 }, corners: vec![], routes: vec![] });
    assert_eq!(drawn(1, &[(0, 0), (0, 7)]).routes, [vec![], vec![]]);
}

#[test]
fn a_source_stands_beside_what_reads_it() {
    // 0 → 1 → 2 → 3, and 4 → 3.
    let layout = drawn(5, &[(0, 1), (1, 2), (2, 3), (4, 3)]);
    assert_eq!(layout.corners[4].x, layout.corners[2].x);
}

#[test]
fn an_arrow_passes_the_boxes_between() {
    // 0 → 1 → 2 and 0 → 2: the long arrow has a place of its own in the column of 1.
    let layout = drawn(3, &[(0, 1), (1, 2), (0, 2)]);
    let route = &layout.routes[2];
    assert_eq!(route.len(), 4);
    let between = layout.corners[1];
    assert!(route[1].y < between.y || route[1].y > between.y + BOX.height, "{route:?} crosses {between:?}");
    assert_eq!((route[1].x, route[2].x), (between.x, between.x + BOX.width));
}

#[test]
fn an_arrow_that_closes_a_circle_runs_back() {
    let layout = drawn(3, &[(0, 1), (1, 2), (2, 0)]);
    assert!(layout.corners[0].x < layout.corners[1].x && layout.corners[1].x < layout.corners[2].x);
    let back = &layout.routes[2];
    assert!(back.first().unwrap().x > back.last().unwrap().x, "{back:?}");
}

#[test]
fn crossings_that_can_be_avoided_are() {
    // Two chains whose ends are listed the other way round.
    let layout = drawn(4, &[(0, 3), (1, 2)]);
    assert_eq!(layout.corners[0].y, layout.corners[3].y);
    assert_eq!(layout.corners[1].y, layout.corners[2].y);
}

proptest! {
    #[test]
    fn boxes_never_overlap_and_arrows_join_their_boxes(
        boxes in 1_usize..24,
        arrows in prop::collection::vec((0_usize..26, 0_usize..26), 0..50),
    ) {
        let layout = drawn(boxes, &arrows);
        prop_assert!(!overlaps(&layout), "{layout:?}");
        prop_assert_eq!(layout.corners.len(), boxes);
        prop_assert_eq!(layout.routes.len(), arrows.len());
        for corner in &layout.corners {
            prop_assert!(corner.x >= 0.0 && corner.y > -0.01, "{corner:?}");
            prop_assert!(corner.x + BOX.width <= layout.size.width + 0.01);
            prop_assert!(corner.y + BOX.height <= layout.size.height + 0.01);
        }
        for ((from, to), route) in arrows.iter().zip(&layout.routes) {
            let is_drawn = from != to && *from < boxes && *to < boxes;
            prop_assert_eq!(!route.is_empty(), is_drawn);
            let ends = [(route.first(), layout.corners.get(*from)), (route.last(), layout.corners.get(*to))];
            for (end, corner) in ends.into_iter().filter(|_| is_drawn) {
                let (end, corner) = (end.unwrap(), corner.unwrap());
                prop_assert!((end.y - (corner.y + BOX.height / 2.0)).abs() < 0.01);
                prop_assert!(end.x == corner.x || end.x == corner.x + BOX.width);
            }
        }
        prop_assert_eq!(drawn(boxes, &arrows), layout);
    }
}
