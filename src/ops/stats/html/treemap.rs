//! Treemap: rectangles whose areas are proportional to weights, as square as possible.
//!
//! Bruls, Huizing and van Wijk, "Squarified Treemaps" (2000): rows are laid along the shorter side of
//! the remaining area, and a row takes the next weight as long as its worst rectangle gets no longer.

#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub x: f64,
    pub y: f64,
    pub width: f64,
    pub height: f64,
}

/// A rectangle in `bounds` for each weight, in order. The weights should be sorted, the largest first. A
/// weight that is not positive gets no area.
pub fn squarify(weights: &[f64], bounds: Rect) -> Vec<Rect> {
    let total: f64 = weights.iter().map(|weight| weight.max(0.0)).sum();
    let scale = if total > 0.0 { bounds.width * bounds.height / total } else { 0.0 };
    let mut areas: Vec<f64> = weights.iter().map(|weight| weight.max(0.0) * scale).collect();
    // Weights without an area come last and get what remains, which is nothing.
    let mut rest = areas.as_mut_slice();
    let mut left = bounds;
    let mut rects = Vec::with_capacity(weights.len());
    while !rest.is_empty() {
        let side = left.width.min(left.height);
        let mut count = 1;
        while count < rest.len() && worst(&rest[..=count], side) <= worst(&rest[..count], side) {
            count += 1;
        }
        let (row, after) = rest.split_at_mut(count);
        left = lay(row, left, after.is_empty(), &mut rects);
        rest = after;
    }
    rects
}

/// The longer side of the worst rectangle of a row, measured by the shorter.
fn worst(row: &[f64], side: f64) -> f64 {
    let sum: f64 = row.iter().sum();
    let (mut least, mut most) = (f64::INFINITY, 0.0_f64);
    for &area in row {
        least = least.min(area);
        most = most.max(area);
    }
    if least <= 0.0 || side <= 0.0 {
        return f64::INFINITY;
    }
    (side * side * most / (sum * sum)).max(sum * sum / (side * side * least))
}

/// Lays a row along the shorter side and returns the remaining area. The last row takes all of it, in
/// spite of rounding.
fn lay(row: &[f64], left: Rect, is_last: bool, rects: &mut Vec<Rect>) -> Rect {
    let sum: f64 = row.iter().sum();
    let is_column = left.width >= left.height;
    let (side, room) =
        if is_column { (left.height, left.width) } else { (left.width, left.height) };
    let depth = if is_last { room } else { (sum / side.max(f64::MIN_POSITIVE)).min(room) };
    let mut at = 0.0;
    for &area in row {
        let length = if sum > 0.0 { (side * area / sum).min(side - at) } else { 0.0 };
        rects.push(if is_column {
            Rect { x: left.x, y: left.y + at, width: depth, height: length }
        } else {
            Rect { x: left.x + at, y: left.y, width: length, height: depth }
        });
        at += length;
    }
    if is_column {
        Rect { x: left.x + depth, width: left.width - depth, ..left }
    } else {
        Rect { y: left.y + depth, height: left.height - depth, ..left }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BOUNDS: Rect = Rect { x: 10.0, y: 20.0, width: 600.0, height: 400.0 };

    fn area(rect: &Rect) -> f64 {
        rect.width * rect.height
    }

    #[test]
    fn the_example_of_the_paper_has_its_layout() {
        let bounds = Rect { x: 0.0, y: 0.0, width: 6.0, height: 4.0 };
        let rects = squarify(&[6.0, 6.0, 4.0, 3.0, 2.0, 2.0, 1.0], bounds);
        assert_eq!(rects[0], Rect { x: 0.0, y: 0.0, width: 3.0, height: 2.0 });
        assert_eq!(rects[1], Rect { x: 0.0, y: 2.0, width: 3.0, height: 2.0 });
        assert!(
            (rects[2].y, rects[2].x) == (0.0, 3.0) && (rects[2].height - 7.0 / 3.0).abs() < 1e-9
        );
    }

    #[test]
    fn a_weight_of_zero_has_no_area() {
        assert_eq!(squarify(&[], BOUNDS), []);
        let rects = squarify(&[0.0, 0.0], BOUNDS);
        assert!(rects.iter().all(|rect| area(rect) < 1e-9), "{rects:?}");
    }

    proptest! {
        #[test]
        fn areas_are_proportional_and_do_not_overlap(
            mut weights in prop::collection::vec(1_u32..1_000_000, 1..80),
            width in 10.0..2000.0,
            height in 10.0..2000.0,
        ) {
            weights.sort_unstable_by(|a, b| b.cmp(a));
            let weights: Vec<f64> = weights.into_iter().map(f64::from).collect();
            let total: f64 = weights.iter().sum();
            let bounds = Rect { width, height, ..BOUNDS };
            let rects = squarify(&weights, bounds);
            prop_assert_eq!(rects.len(), weights.len());
            let slack = 1e-6 * (width + height);
            for (rect, weight) in rects.iter().zip(&weights) {
                let wanted = weight / total * width * height;
                prop_assert!((area(rect) - wanted).abs() < 1e-6 * width * height);
                prop_assert!(rect.x >= bounds.x - slack && rect.y >= bounds.y - slack);
                prop_assert!(rect.x + rect.width <= bounds.x + width + slack);
                prop_assert!(rect.y + rect.height <= bounds.y + height + slack);
            }
            for (number, a) in rects.iter().enumerate() {
                for b in &rects[number + 1..] {
                    let is_beside = a.x + a.width <= b.x + slack || b.x + b.width <= a.x + slack;
                    let is_below = a.y + a.height <= b.y + slack || b.y + b.height <= a.y + slack;
                    prop_assert!(is_beside || is_below, "{a:?} {b:?}");
                }
            }
        }
    }
}
