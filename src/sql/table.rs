//! A table as the text names it, and the schemas that are not a site's data.
//!
//! No base table or view is looked up here: a name is only text. Filled by `parse` and `rule`.

/// A table's name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Table {
    /// The schema, where the text names one.
    pub schema: Option<String>,
    /// The table, in the text's own letter case.
    pub name: String,
}

/// Whether a schema describes the server rather than holds data. A session whose current database
/// is one of these has no proved reads: unqualified names mean server facts there.
#[must_use]
pub fn is_system_schema(schema: &str) -> bool {
    ["information_schema", "performance_schema", "sys", "mysql"]
        .iter()
        .any(|known| known.eq_ignore_ascii_case(schema))
}

impl Table {
    /// Whether a read of this table says the same on a replica, as far as its name tells.
    pub(crate) fn replicates(&self) -> bool {
        /// The information_schema tables about schema objects; all others tell of the server,
        /// of sessions, of engines or of accounts.
        const OBJECTS: [&str; 7] = [
            "tables",
            "columns",
            "statistics",
            "key_column_usage",
            "table_constraints",
            "referential_constraints",
            "schemata",
        ];
        match &self.schema {
            None => true,
            Some(schema) if schema.eq_ignore_ascii_case("information_schema") => {
                OBJECTS.iter().any(|known| known.eq_ignore_ascii_case(&self.name))
            }
            Some(schema) => !is_system_schema(schema),
        }
    }
}
