//! The delivery matrix: what each delivery makes of each fault.

use super::Chart;
use super::sheet::{MARGIN, Sheet, WIDTH};
use crate::read::Recorded;
use crate::result::Cell;
use crate::units;

const ROW: f64 = 40.0;
const NAMES: f64 = 150.0;
/// Up to this a count is told to the last one.
const COUNT_WHOLE_MAX: f64 = 100_000.0;

/// A row for each fault, a column for each delivery; none where no fault was tried.
pub(crate) fn chart(recorded: &Recorded, name: &str) -> Option<Chart> {
    let cells = &recorded.run.delivery;
    let deliveries = distinct(cells, |cell| &cell.delivery);
    let faults = distinct(cells, |cell| &cell.fault);
    if cells.is_empty() {
        return None;
    }
    let mut sheet = Sheet::new("Delivery: what was sent against what was there in the end");
    sheet.note(&format!(
        "Run {}. In each field: records lost, doubled and reordered of those sent. Coloured where there are any.",
        recorded.name()
    ));
    let width = (WIDTH - 2.0 * MARGIN - NAMES) / deliveries.len() as f64;
    let left = |column: usize| MARGIN + NAMES + column as f64 * width;
    sheet.top += 16.0;
    for (column, delivery) in deliveries.iter().enumerate() {
        sheet.text(left(column) + width / 2.0, sheet.top, "middle", "tick", &delivery.replace('-', " "));
    }
    sheet.top += 8.0;
    for fault in faults {
        let top = sheet.top;
        sheet.text(MARGIN, top + ROW / 2.0 + 4.0, "start", "tick", &fault.replace('-', " "));
        for (column, delivery) in deliveries.iter().enumerate() {
            let here = cells.iter().filter(|cell| cell.fault == fault && cell.delivery == *delivery);
            let Some(cell) = here.reduce(|one, other| if other.rate > one.rate { other } else { one }) else {
                continue;
            };
            field(&mut sheet, cell, (left(column), top), width);
        }
        sheet.top += ROW;
    }
    Some(sheet.finish(name))
}

fn field(sheet: &mut Sheet, cell: &Cell, corner: (f64, f64), width: f64) {
    let fault = cell.lost + cell.doubled + cell.reordered > 0;
    let told = format!(
        "{} under {}: {} sent, {} stored, {} lost, {} doubled, {} reordered",
        cell.delivery, cell.fault, cell.sent, cell.stored, cell.lost, cell.doubled, cell.reordered
    );
    sheet.rectangle(corner, (width, ROW), if fault { "cell bar bad second" } else { "cell none" }, Some(&told));
    let count = |count: u64| match count as f64 {
        few if few < COUNT_WHOLE_MAX => units::number(few),
        many => units::count(many),
    };
    let words = if fault {
        format!("{} · {} · {}", count(cell.lost), count(cell.doubled), count(cell.reordered))
    } else {
        "none".to_owned()
    };
    sheet.text(corner.0 + width / 2.0, corner.1 + 17.0, "middle", "label", &words);
    sheet.text(
        corner.0 + width / 2.0,
        corner.1 + 32.0,
        "middle",
        if fault { "small" } else { "tick" },
        &format!("of {}", count(cell.sent)),
    );
}

fn distinct(cells: &[Cell], of: impl Fn(&Cell) -> &String) -> Vec<&str> {
    let mut values: Vec<&str> = Vec::new();
    for cell in cells {
        if !values.contains(&of(cell).as_str()) {
            values.push(of(cell));
        }
    }
    values
}
