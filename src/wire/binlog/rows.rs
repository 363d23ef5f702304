//! Rows that were written, changed or deleted: the values of a few columns, before and after.
//!
//! Everything else in a row is stepped over. What cannot be read to its very end is not read at
//! all. Called by `freshness`, which holds the table maps.

use std::borrow::Cow;

use super::column::Column;
use super::table_map::{TableMap, table_id};
use super::{inflate, kind};
use crate::limits;
use crate::wire::cursor::Cursor;
use crate::wire::{Malformed, malformed};

/// Rows of one table.
#[derive(Debug)]
pub struct Rows<'a> {
    /// The table, as a map before called it.
    pub table: u64,
    /// They are the last of their statement.
    pub ends_statement: bool,
    change: Change,
    /// `None`: too many to be looked at, or compressed in a way that is not known.
    images: Option<Images<'a>>,
}

/// What one column holds in one image of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// It is not in this image.
    Absent,
    /// NULL.
    Null,
    /// Text, or bytes.
    Bytes(&'a [u8]),
    /// With its sign, if it has one: a large unsigned number looks negative.
    Integer(i64),
    /// Of a type that is stepped over.
    Other,
}

/// The rows are not all understood: any row of the table may have changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

impl From<Malformed> for Unreadable {
    fn from(_: Malformed) -> Unreadable {
        Unreadable
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Change {
    /// One image of each row.
    Once,
    /// Two: before, and after.
    Update,
    /// Two, of which the second may tell JSON by what changed in it.
    PartialUpdate,
}

#[derive(Debug)]
struct Images<'a> {
    width: usize,
    /// Which columns are in the first image, and in the second, a bit each.
    present: [&'a [u8]; 2],
    rows: Cow<'a, [u8]>,
}

/// An image with a bit for each column whose JSON is partial.
const PARTIAL_JSON: u64 = 1;

impl<'a> Rows<'a> {
    // page_protocol_replication_binlog_event.html, ROWS_EVENT
    pub(super) fn parse(kind: u8, body: &'a [u8], is_whole: bool) -> Result<Rows<'a>, Malformed> {
        let mut cursor = Cursor::new(body);
        let table = table_id(&mut cursor)?;
        let ends_statement = cursor.u16()? & 1 != 0;
        let (change, has_extra, is_compressed) = shape(kind);
        let images = match is_whole {
            true => Some(Images::parse(cursor, change, has_extra)?),
            false => None,
        };
        let images =
            images.and_then(|images| if is_compressed { images.inflate() } else { Some(images) });
        Ok(Rows { table, ends_statement, change, images })
    }

    /// Shows the wanted columns of every image of every row, in the order in which they are
    /// wanted. They may be any; one that the table does not have is [`Value::Absent`].
    pub fn read<const N: usize>(
        &self,
        map: &TableMap,
        wanted: [usize; N],
        mut each: impl FnMut([Value<'_>; N]),
    ) -> Result<(), Unreadable> {
        let (Some(images), Some(columns)) = (&self.images, &map.columns) else {
            return Err(Unreadable);
        };
        if images.width != map.width || columns.len() != map.width {
            return Err(Unreadable);
        }
        let [before, after] = images
            .present
            .map(|present| (0..map.width).filter(|at| bit(present, *at)).collect::<Vec<usize>>());
        let mut rows = Cursor::new(&images.rows);
        loop {
            let left = rows.remaining();
            each(image(&mut rows, columns, &before, &wanted)?);
            if self.change == Change::PartialUpdate {
                skip_partial_bits(&mut rows, columns)?;
            }
            if self.change != Change::Once {
                each(image(&mut rows, columns, &after, &wanted)?);
            }
            match rows.remaining() {
                // Without a column it takes no byte: nobody can tell how many of them there are.
                now if now >= left => return Err(Unreadable),
                0 => return Ok(()),
                _ => {}
            }
        }
    }
}

impl<'a> Images<'a> {
    fn parse(
        mut cursor: Cursor<'a>,
        change: Change,
        has_extra: bool,
    ) -> Result<Images<'a>, Malformed> {
        if has_extra {
            // Its own two bytes count too.
            let Some(len) = cursor.u16()?.checked_sub(2) else {
                return malformed("what is beside rows");
            };
            cursor.bytes(usize::from(len))?;
        }
        let width = cursor.lenenc()?;
        if width > limits::COLUMNS_MAX {
            return malformed("a row's width");
        }
        let width = usize::try_from(width).unwrap_or(usize::MAX);
        let before = cursor.bytes(width.div_ceil(8))?;
        let after = match change {
            Change::Once => before,
            Change::Update | Change::PartialUpdate => cursor.bytes(width.div_ceil(8))?,
        };
        Ok(Images { width, present: [before, after], rows: Cow::Borrowed(cursor.rest()) })
    }

    fn inflate(self) -> Option<Images<'a>> {
        let rows = inflate::mariadb(&self.rows)?;
        Some(Images { rows: Cow::Owned(rows), ..self })
    }
}

/// How rows of this kind are written: the change, whether something stands beside them, and
/// whether they are compressed.
fn shape(kind: u8) -> (Change, bool, bool) {
    let change = |at: u8| if at == 1 { Change::Update } else { Change::Once };
    let from = |first: u8| kind.saturating_sub(first);
    match kind {
        kind::PARTIAL_ROWS => (Change::PartialUpdate, true, false),
        kind::ROWS_FIRST_V1..=kind::ROWS_LAST_V1 => {
            (change(from(kind::ROWS_FIRST_V1)), false, false)
        }
        kind::ROWS_FIRST..=kind::ROWS_LAST => (change(from(kind::ROWS_FIRST)), true, false),
        _ => match from(kind::MARIADB_ROWS_FIRST_V1) {
            at @ 0..=2 => (change(at), false, true),
            at => (change(at.saturating_sub(3)), true, true),
        },
    }
}

/// One image: a bit for each column in it that is NULL, then the others' values.
fn image<'a, const N: usize>(
    rows: &mut Cursor<'a>,
    columns: &[Column],
    present: &[usize],
    wanted: &[usize; N],
) -> Result<[Value<'a>; N], Malformed> {
    let nulls = rows.bytes(present.len().div_ceil(8))?;
    let mut values = [Value::Absent; N];
    let there = present.iter().filter_map(|at| Some((at, columns.get(*at)?)));
    for (number, (at, column)) in there.enumerate() {
        let value = if bit(nulls, number) { Value::Null } else { column.value(rows)? };
        let slots = values.iter_mut().zip(wanted).filter(|(_, wanted)| *wanted == at);
        slots.for_each(|(slot, _)| *slot = value);
    }
    Ok(values)
}

/// Which columns of the second image hold only what changed. Those are as long as they say, like
/// whole ones.
fn skip_partial_bits(rows: &mut Cursor<'_>, columns: &[Column]) -> Result<(), Malformed> {
    if rows.lenenc()? & PARTIAL_JSON != 0 {
        let json = columns.iter().filter(|column| column.is_json()).count();
        rows.bytes(json.div_ceil(8))?;
    }
    Ok(())
}

fn bit(bits: &[u8], at: usize) -> bool {
    bits.get(at >> 3).is_some_and(|byte| byte >> (at & 7) & 1 == 1)
}
