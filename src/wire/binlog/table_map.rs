//! The table that the rows which follow belong to.
//!
//! Knows the columns by place and type, not by name: a name needs a look at the server.

use super::column::Column;
use crate::limits;
use crate::wire::cursor::Cursor;
use crate::wire::{Malformed, malformed};

/// A table, as its rows are written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableMap {
    /// What its rows call it, for a while.
    pub id: u64,
    /// Its schema.
    pub schema: Box<[u8]>,
    /// Its name.
    pub table: Box<[u8]>,
    /// How many columns it has.
    pub width: usize,
    /// `None`: there is a type among them whose length cannot be told.
    pub(super) columns: Option<Box<[Column]>>,
}

impl TableMap {
    // page_protocol_replication_binlog_event.html, TABLE_MAP_EVENT
    pub(super) fn parse(body: &[u8]) -> Result<TableMap, Malformed> {
        let mut cursor = Cursor::new(body);
        let id = table_id(&mut cursor)?;
        cursor.u16()?;
        let schema = name(&mut cursor)?;
        let table = name(&mut cursor)?;
        let width = cursor.lenenc()?;
        if width > limits::COLUMNS_MAX {
            return malformed("a table's width");
        }
        let width = usize::try_from(width).unwrap_or(usize::MAX);
        let kinds = cursor.bytes(width)?;
        let mut about = Cursor::new(cursor.lenenc_bytes()?);
        let mut columns = Some(Vec::with_capacity(width));
        for kind in kinds {
            let Some(column) = Column::parse(*kind, &mut about)? else {
                columns = None;
                break;
            };
            columns.iter_mut().for_each(|columns| columns.push(column));
        }
        let columns = columns.filter(|_| about.remaining() == 0).map(Vec::into_boxed_slice);
        Ok(TableMap { id, schema: schema.into(), table: table.into(), width, columns })
    }
}

/// Six bytes.
pub(super) fn table_id(cursor: &mut Cursor<'_>) -> Result<u64, Malformed> {
    let low = u64::from(cursor.u32()?);
    Ok(u64::from(cursor.u16()?) << 32 | low)
}

fn name<'a>(cursor: &mut Cursor<'a>) -> Result<&'a [u8], Malformed> {
    let name = cursor.lenenc_bytes()?;
    cursor.u8()?;
    Ok(name)
}
